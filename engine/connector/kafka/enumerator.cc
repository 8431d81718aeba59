#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "connector/kafka/broker_error.h"
#include "connector/kafka/client.h"
#include "connector/kafka/kafka.h"
#include "connector/kafka/position.h"

namespace frazil {
namespace kafka {
namespace {

// How often a waiting call looks for a refused login.
constexpr int64_t kSliceMs = 250;
// A question about a topic ends early if no broker can be reached for this long: the caller says so and asks
// again.
constexpr int64_t kAwayMs = 2'000;

// As a time, these ask the broker for its last and first offset.
constexpr int64_t kLast = RD_KAFKA_OFFSET_END;
constexpr int64_t kFirst = RD_KAFKA_OFFSET_BEGINNING;

struct Key {
  std::string topic;
  int32_t number = 0;
  std::string name() const { return PartitionName(topic, number); }
};

struct ListDeleter {
  void operator()(rd_kafka_topic_partition_list_t* list) const {
    rd_kafka_topic_partition_list_destroy(list);
  }
};
using List = std::unique_ptr<rd_kafka_topic_partition_list_t, ListDeleter>;

List MakeList(const std::vector<Key>& keys, int64_t offset) {
  List list(rd_kafka_topic_partition_list_new(static_cast<int>(keys.size())));
  for (const auto& key : keys) {
    rd_kafka_topic_partition_list_add(list.get(), key.topic.c_str(), key.number)->offset = offset;
  }
  return list;
}

using Offsets = std::map<std::string, int64_t>;  // by partition name

class KafkaEnumerator : public Enumerator {
 public:
  explicit KafkaEnumerator(Options options) : options_(std::move(options)) {}
  Status known(const std::vector<PartitionPosition>& partitions) override;
  Result<std::vector<Partition>> discover(bool bounded) override;

 private:
  Result<int32_t> partition_count(const std::string& topic);
  Status missing(const std::string& topic);
  Status unreachable(rd_kafka_resp_err_t code, const std::string& what);
  Result<Offsets> offsets_at(const std::vector<Key>& keys, int64_t time);
  Result<Offsets> offsets_since(const std::vector<Key>& keys);
  Result<Offsets> offsets_of_group(const std::vector<Key>& keys);
  Result<Offsets> offsets_given(const std::vector<Key>& keys);
  Result<Offsets> starts(const std::vector<Key>& keys);

  const Options options_;
  std::unique_ptr<Client> client_;
  Offsets starts_;               // of all partitions found so far
  std::set<std::string> known_;  // partitions of the checkpoint: their start is not asked for
  bool first_ = true;            // later partitions are new ones and begin at their first row
};

Status KafkaEnumerator::known(const std::vector<PartitionPosition>& partitions) {
  for (const PartitionPosition& partition : partitions) known_.insert(partition.name);
  if (!known_.empty()) first_ = false;
  return Status::OK();
}

// The broker did not answer: the login's error if it refused us, else what is known of the connection.
Status KafkaEnumerator::unreachable(rd_kafka_resp_err_t code, const std::string& what) {
  client_->serve();
  FZ_TRY(client_->check());
  return BrokerError(code, what + " at " + options_.servers, IsTransient(code) ? client_->trouble() : "");
}

Status KafkaEnumerator::missing(const std::string& topic) {
  return Error(ErrorKind::kUser, "reading topic " + topic + ": there is no such topic at " +
                                     options_.servers + "; create it first, or correct its name in topics");
}

Result<int32_t> KafkaEnumerator::partition_count(const std::string& topic) {
  std::unique_ptr<rd_kafka_topic_t, void (*)(rd_kafka_topic_t*)> handle(
      rd_kafka_topic_new(client_->handle(), topic.c_str(), nullptr), &rd_kafka_topic_destroy);
  const std::string what = "reading topic " + topic;
  if (handle == nullptr)
    return Error(ErrorKind::kConfig, what + ": " + rd_kafka_err2str(rd_kafka_last_error()));
  const int64_t begin = SteadyMs();
  for (int64_t slice = kSliceMs;; slice = std::min(slice * 2, options_.timeout_ms)) {
    const struct rd_kafka_metadata* found = nullptr;
    auto code = rd_kafka_metadata(client_->handle(), 0, handle.get(), &found, static_cast<int>(slice));
    int32_t count = 0;
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
      if (found->topic_cnt == 1) {
        code = found->topics[0].err;
        count = found->topics[0].partition_cnt;
      } else {
        code = RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
      }
      rd_kafka_metadata_destroy(found);
    }
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR && count > 0) return count;
    client_->serve();
    FZ_TRY(client_->check());
    const int64_t waited = SteadyMs() - begin;
    if (IsUnknownTopic(code)) {
      if (waited >= limits::kKafkaTopicMissingMs) return missing(topic);
    } else if (code != RD_KAFKA_RESP_ERR_NO_ERROR && !IsTransient(code)) {
      return unreachable(code, what);
    } else if (waited >= options_.timeout_ms || (waited >= kAwayMs && !client_->condition().empty())) {
      return unreachable(code == RD_KAFKA_RESP_ERR_NO_ERROR ? RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE : code,
                         what);
    }
    rd_kafka_poll(client_->handle(), 50);
  }
}

// The first offset with this time or a later one; -1 where there is none.
Result<Offsets> KafkaEnumerator::offsets_at(const std::vector<Key>& keys, int64_t time) {
  Offsets offsets;
  if (keys.empty()) return offsets;
  const std::string what = "asking for the offsets of ";
  for (const int64_t begin = SteadyMs();;) {
    const List list = MakeList(keys, time);
    auto code =
        rd_kafka_offsets_for_times(client_->handle(), list.get(), static_cast<int>(options_.timeout_ms));
    std::string where = "topic " + keys[0].topic;
    offsets.clear();
    for (int i = 0; i < list->cnt && code == RD_KAFKA_RESP_ERR_NO_ERROR; ++i) {
      const auto& element = list->elems[i];
      where = PartitionName(element.topic, element.partition);
      code = element.err;
      offsets[where] = element.offset;
    }
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) return offsets;
    // The topic is there, so a partition that is unknown is a new one: not yet in the client's memory, or led
    // by none.
    if (!IsUnknownTopic(code) && !IsTransient(code)) return unreachable(code, what + where);
    if (SteadyMs() - begin >= options_.timeout_ms) {
      if (IsTransient(code)) return unreachable(code, what + where);
      return Error(ErrorKind::kConnect,
                   what + where + " at " + options_.servers + ": " + rd_kafka_err2str(code),
                   /*retryable=*/true);
    }
    FZ_TRY(partition_count(keys[0].topic).status());
    rd_kafka_poll(client_->handle(), static_cast<int>(kSliceMs));
  }
}

Result<Offsets> KafkaEnumerator::offsets_since(const std::vector<Key>& keys) {
  // In this order: a row that arrives between the two questions is in the second answer or behind the first.
  FZ_ASSIGN(auto offsets, offsets_at(keys, kLast));
  FZ_ASSIGN(const auto since, offsets_at(keys, options_.start.timestamp_ms));
  for (const auto& [name, offset] : since) {
    if (offset >= 0) offsets[name] = offset;
  }
  return offsets;
}

Result<Offsets> KafkaEnumerator::offsets_of_group(const std::vector<Key>& keys) {
  FZ_ASSIGN(auto offsets, offsets_at(keys, kFirst));
  const List list = MakeList(keys, RD_KAFKA_OFFSET_INVALID);
  const auto code = rd_kafka_committed(client_->handle(), list.get(), static_cast<int>(options_.timeout_ms));
  const std::string what = "reading the offsets of group " + options_.group;
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR) return unreachable(code, what);
  for (int i = 0; i < list->cnt; ++i) {
    const auto& element = list->elems[i];
    if (element.err != RD_KAFKA_RESP_ERR_NO_ERROR) return unreachable(element.err, what);
    if (element.offset >= 0) offsets[PartitionName(element.topic, element.partition)] = element.offset;
  }
  return offsets;
}

Result<Offsets> KafkaEnumerator::offsets_given(const std::vector<Key>& keys) {
  FZ_ASSIGN(const auto low, offsets_at(keys, kFirst));
  FZ_ASSIGN(const auto high, offsets_at(keys, kLast));
  Offsets given = options_.start.offsets;
  Offsets offsets;
  for (const auto& [name, first] : low) {
    const auto it = given.find(name);
    if (it == given.end()) {
      return Error(ErrorKind::kUser,
                   "starting " + name + ": start gives no offset for it; name every partition");
    }
    const int64_t last = high.at(name);
    if (it->second < first || it->second > last) {
      return Error(ErrorKind::kUser, "starting " + name + ": start gives offset " +
                                         std::to_string(it->second) + ", the topic has " +
                                         std::to_string(first) + " to " + std::to_string(last));
    }
    offsets[name] = it->second;
    given.erase(it);
  }
  if (!given.empty()) {
    return Error(ErrorKind::kUser,
                 "starting " + given.begin()->first + ": start names it, but there is no such partition");
  }
  return offsets;
}

Result<Offsets> KafkaEnumerator::starts(const std::vector<Key>& keys) {
  // What is new since the first look or since the checkpoint has only rows that were never read.
  if (!first_) return offsets_at(keys, kFirst);
  switch (options_.start.kind) {
    case StartKind::kEarliest:
      return offsets_at(keys, kFirst);
    case StartKind::kLatest:
      return offsets_at(keys, kLast);
    case StartKind::kTimestamp:
      return offsets_since(keys);
    case StartKind::kGroup:
      return offsets_of_group(keys);
    case StartKind::kOffsets:
      return offsets_given(keys);
  }
  return Offsets{};
}

Result<std::vector<Partition>> KafkaEnumerator::discover(bool bounded) {
  if (client_ == nullptr) {
    FZ_ASSIGN(client_, Client::Make(options_, 1, nullptr));
  }
  std::vector<Key> all;
  std::vector<Key> fresh;
  for (const auto& topic : options_.topics) {
    FZ_ASSIGN(const int32_t count, partition_count(topic));
    for (int32_t number = 0; number < count; ++number) {
      all.push_back({topic, number});
      const auto name = all.back().name();
      if (known_.count(name) == 0 && starts_.count(name) == 0) fresh.push_back(all.back());
    }
  }
  FZ_ASSIGN(const auto found, starts(fresh));
  Offsets ends;
  if (bounded) {
    FZ_ASSIGN(ends, offsets_at(all, kLast));
  }
  starts_.insert(found.begin(), found.end());
  first_ = false;
  std::vector<Partition> partitions;
  for (const auto& key : all) {
    const auto name = key.name();
    const auto start = starts_.find(name);
    partitions.push_back({name, start == starts_.end() ? PositionOf(0) : PositionOf(start->second),
                          bounded ? PositionOf(ends.at(name)) : std::string()});
  }
  std::sort(partitions.begin(), partitions.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  return partitions;
}

}  // namespace
}  // namespace kafka

Result<std::unique_ptr<Enumerator>> MakeKafkaEnumerator(const nlohmann::json& options) {
  FZ_ASSIGN(auto parsed, kafka::ParseOptions(options));
  return std::make_unique<kafka::KafkaEnumerator>(std::move(parsed));
}

}  // namespace frazil
