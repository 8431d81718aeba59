#pragma once

#include <gtest/gtest.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include <array>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "connector/kafka/kafka.h"

namespace frazil::kafka {

// For tests: librdkafka's own mock broker (no process, no disk), with a producer to it.
class MockCluster {
 public:
  explicit MockCluster(int brokers = 1) {
    std::array<char, 512> text{};
    rd_kafka_conf_t* conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "test.mock.num.brokers", std::to_string(brokers).c_str(), text.data(),
                      text.size());
    rd_kafka_conf_set(conf, "linger.ms", "0", text.data(), text.size());
    rd_kafka_conf_set(conf, "log_level", "0", text.data(), text.size());
    producer_ = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text.data(), text.size());
    EXPECT_NE(producer_, nullptr) << text.data();
    cluster_ = rd_kafka_handle_mock_cluster(producer_);
  }
  ~MockCluster() { rd_kafka_destroy(producer_); }

  std::string servers() const { return rd_kafka_mock_cluster_bootstraps(cluster_); }
  rd_kafka_mock_cluster_t* get() const { return cluster_; }

  void create(const std::string& topic, int partitions) const {
    ASSERT_EQ(rd_kafka_mock_topic_create(cluster_, topic.c_str(), partitions, 1), RD_KAFKA_RESP_ERR_NO_ERROR);
  }

  // Sends one record; value nullptr = a tombstone. flush() waits for all.
  void send(const std::string& topic, int partition, const char* value, const char* key = nullptr,
            int64_t timestamp_ms = 1'700'000'000'000, rd_kafka_headers_t* headers = nullptr) const {
    const std::string text = value == nullptr ? "" : value;
    send_bytes(topic, partition, value == nullptr ? nullptr : &text, key, timestamp_ms, headers);
  }

  void send_bytes(const std::string& topic, int partition, const std::string* value,
                  const char* key = nullptr, int64_t timestamp_ms = 1'700'000'000'000,
                  rd_kafka_headers_t* headers = nullptr) const {
    const std::string key_text = key == nullptr ? "" : key;
    void* data = value == nullptr ? nullptr : const_cast<char*>(value->data());
    const size_t size = value == nullptr ? 0 : value->size();
    const void* key_data = key == nullptr ? nullptr : key_text.data();
    const auto code =
        rd_kafka_producev(producer_, RD_KAFKA_V_TOPIC(topic.c_str()), RD_KAFKA_V_PARTITION(partition),
                          RD_KAFKA_V_VALUE(data, size), RD_KAFKA_V_KEY(key_data, key_text.size()),
                          RD_KAFKA_V_TIMESTAMP(timestamp_ms), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                          RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
    ASSERT_EQ(code, RD_KAFKA_RESP_ERR_NO_ERROR) << rd_kafka_err2str(code);
  }

  void flush() const { ASSERT_EQ(rd_kafka_flush(producer_, 10'000), RD_KAFKA_RESP_ERR_NO_ERROR); }

  nlohmann::json options(const std::string& topic) const {
    return {{"servers", servers()}, {"topics", {topic}}};
  }

 private:
  rd_kafka_t* producer_ = nullptr;
  rd_kafka_mock_cluster_t* cluster_ = nullptr;
};

// A source with the waiting a worker does: sleeps until the waker is called.
class Reader {
 public:
  explicit Reader(const nlohmann::json& options) {
    auto made = MakeKafkaSource(options, arrow::default_memory_pool());
    EXPECT_TRUE(made.ok()) << made.status();
    if (made.ok()) source_ = std::move(*made);
  }

  Source& source() { return *source_; }

  Status assign(const std::vector<Partition>& partitions) {
    std::vector<Assignment> assignments;
    for (const auto& partition : partitions) {
      assignments.push_back({ordinal_++, partition.name, partition.start, partition.end});
    }
    return source_->assign(assignments, [this] {
      const std::lock_guard lock(mutex_);
      woken_ = true;
      changed_.notify_all();
    });
  }

  // Sleeps until the waker is called; false after `timeout`.
  bool sleep(std::chrono::milliseconds timeout = std::chrono::seconds(20)) {
    std::unique_lock lock(mutex_);
    const bool woken = changed_.wait_for(lock, timeout, [this] { return woken_; });
    woken_ = false;
    return woken;
  }

  // The next poll that is not idle.
  Result<Poll> next(const Budget& budget = {16 * 1024, 1 << 20}) {
    while (true) {
      FZ_ASSIGN(auto poll, source_->poll(budget));
      if (poll.kind != Poll::Kind::kIdle) return poll;
      if (!sleep()) return Error(ErrorKind::kInternal, "the source did not wake its worker in 20 s");
    }
  }

  // Values of the next `count` rows (as "orders-0@3=value"), or of all until the end.
  Result<std::vector<std::string>> rows(size_t count, const Budget& budget = {16 * 1024, 1 << 20}) {
    std::vector<std::string> values;
    while (values.size() < count) {
      FZ_ASSIGN(const auto poll, next(budget));
      if (poll.kind == Poll::Kind::kEnd) break;
      for (int64_t i = 0; i < poll.raw->rows(); ++i) {
        const auto at = static_cast<size_t>(i);
        const bool null = poll.raw->length[at] == RawBatch::kNullRow;
        values.push_back(poll.raw->place + "@" + std::to_string(poll.raw->position[at]) + "=" +
                         (null ? std::string("(null)") : std::string(poll.raw->row(i))));
      }
    }
    return values;
  }

  std::string position(const std::string& name) {
    for (const auto& position : source_->positions()) {
      if (position.name == name) return position.position;
    }
    return "none";
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool woken_ = false;
  int32_t ordinal_ = 0;
  std::unique_ptr<Source> source_;  // last: its threads call the waker until it is gone
};

inline Result<std::vector<Partition>> Discover(const nlohmann::json& options, bool bounded) {
  FZ_ASSIGN(auto enumerator, MakeKafkaEnumerator(options));
  return enumerator->discover(bounded);
}

}  // namespace frazil::kafka
