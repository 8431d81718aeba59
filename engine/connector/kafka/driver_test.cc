#include <gtest/gtest.h>
#include <sys/resource.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>

#include "connector/kafka/mock_cluster.h"

// The Kafka source as a process that tests/e2e/test_kafka_source.py drives against a real broker: one JSON
// command a line on stdin, one JSON answer a line on stdout, behind "@". Without FRAZIL_TEST_KAFKA in the
// environment it is skipped.
namespace frazil::kafka {
namespace {

using nlohmann::json;

json Failed(const Status& status) {
  return {
      {"error", MessageOf(status)}, {"kind", KindName(KindOf(status))}, {"retryable", IsRetryable(status)}};
}

double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// Of this process alone; getrusage() tells the parent's if that was larger.
int64_t PeakMb() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("VmHWM:", 0) == 0) return std::stoll(line.substr(6)) / 1024;
  }
  return -1;
}

class Driver {
 public:
  json answer(const json& command) {
    const std::string what = command["do"];
    if (what == "enumerator") return enumerator(command);
    if (what == "discover") return discover(command["bounded"]);
    if (what == "source") return source(command["options"]);
    if (what == "assign") return assign(command["partitions"]);
    if (what == "read") return read(command);
    if (what == "measure") return measure(command["rows"]);
    if (what == "positions") return positions();
    if (what == "committed") return committed(command["positions"]);
    reader_ = nullptr;  // "close"
    return json::object();
  }

 private:
  json enumerator(const json& command) {
    auto made = MakeKafkaEnumerator(command["options"]);
    if (!made.ok()) return Failed(made.status());
    enumerator_ = std::move(*made);
    std::vector<PartitionPosition> known;
    for (const json& name : command["known"]) known.push_back({name.get<std::string>(), "{}"});
    const Status taken = enumerator_->known(known);
    if (!taken.ok()) return Failed(taken);
    return json::object();
  }

  json discover(bool bounded) {
    const auto found = enumerator_->discover(bounded);
    if (!found.ok()) return Failed(found.status());
    json partitions = json::array();
    for (const auto& partition : *found) {
      partitions.push_back({{"name", partition.name}, {"start", partition.start}, {"end", partition.end}});
    }
    return {{"partitions", partitions}};
  }

  json source(const json& options) {
    auto made = MakeKafkaSource(options, arrow::default_memory_pool());
    if (!made.ok()) return Failed(made.status());
    reader_ = std::make_unique<Reader>(options);
    return json::object();
  }

  json assign(const json& partitions) {
    std::vector<Partition> list;
    for (const auto& partition : partitions)
      list.push_back({partition["name"], partition["start"], partition["end"]});
    const auto status = reader_->assign(list);
    return status.ok() ? json::object() : Failed(status);
  }

  // Polls until there are `rows` rows or rejected rows, the end, a condition if one is waited for, or the
  // time is over.
  json read(const json& command) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(command["timeout_ms"]);
    const size_t count = command["rows"];
    json rows = json::array();
    json rejected = json::array();
    bool end = false;
    while (rows.size() + rejected.size() < count && !end && std::chrono::steady_clock::now() < until) {
      const auto poll = reader_->source().poll({command["batch"], 1 << 20});
      if (!poll.ok()) return Failed(poll.status());
      if (command["condition"].get<bool>() && !reader_->source().condition().empty()) break;
      end = poll->kind == Poll::Kind::kEnd;
      if (poll->kind == Poll::Kind::kIdle) reader_->sleep(std::chrono::milliseconds(100));
      if (!poll->raw.has_value()) continue;
      for (int64_t i = 0; i < poll->raw->rows(); ++i) {
        const auto at = static_cast<size_t>(i);
        rows.push_back({poll->raw->place, poll->raw->position[at], poll->raw->row(i)});
      }
      for (const auto& row : poll->raw->rejected) {
        rejected.push_back({row.place, row.position, row.reason, row.raw_bytes});
      }
    }
    return {
        {"rows", rows}, {"rejected", rejected}, {"end", end}, {"condition", reader_->source().condition()}};
  }

  json measure(int64_t count) {
    const double before = CpuSeconds();
    const auto begin = std::chrono::steady_clock::now();
    int64_t rows = 0;
    int64_t bytes = 0;
    while (rows < count) {
      const auto poll = reader_->next();
      if (!poll.ok()) return Failed(poll.status());
      if (poll->kind == Poll::Kind::kEnd) break;
      rows += poll->raw->rows();
      bytes += poll->raw->data->size();
    }
    const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - begin;
    return {{"rows", rows},
            {"bytes", bytes},
            {"cpu_s", CpuSeconds() - before},
            {"wall_s", wall.count()},
            {"peak_mb", PeakMb()}};
  }

  json positions() {
    json list = json::array();
    for (const auto& position : reader_->source().positions()) {
      list.push_back({{"name", position.name}, {"position", position.position}, {"lag", position.lag}});
    }
    return {{"positions", list}};
  }

  json committed(const json& positions) {
    std::vector<PartitionPosition> list;
    for (const auto& position : positions) list.push_back({position["name"], position["position"]});
    const auto status = reader_->source().committed(list);
    return status.ok() ? json::object() : Failed(status);
  }

  std::unique_ptr<Enumerator> enumerator_;
  std::unique_ptr<Reader> reader_;
};

TEST(KafkaDriver, Serves) {
  if (std::getenv("FRAZIL_TEST_KAFKA") == nullptr) GTEST_SKIP() << "tests/e2e/test_kafka_source.py runs it";
  Driver driver;
  std::string line;
  while (std::getline(std::cin, line)) {
    const auto answer = driver.answer(json::parse(line));
    std::cout << "@" << answer.dump(-1, ' ', false, json::error_handler_t::replace) << std::endl;
  }
}

}  // namespace
}  // namespace frazil::kafka
