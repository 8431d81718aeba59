#include <algorithm>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/check.h"
#include "connector/kafka/client.h"
#include "connector/kafka/kafka.h"
#include "connector/kafka/partition.h"
#include "connector/kafka/position.h"

namespace frazil {
namespace kafka {
namespace {

constexpr int64_t kAskTimeoutMs = 3'000;  // destroying the source may have to wait for this
constexpr int64_t kAskAgainMs = 250;

class KafkaSource : public Source {
 public:
  KafkaSource(Options options, arrow::MemoryPool* pool) : options_(std::move(options)), pool_(pool) {}
  ~KafkaSource() override;

  Status assign(const std::vector<Assignment>& partitions, std::function<void()> waker) override;
  Result<Poll> poll(const Budget& budget) override;
  bool behind(int32_t ordinal) const override;
  std::vector<PartitionPosition> positions() const override;
  Status committed(const std::vector<PartitionPosition>& positions) override;
  std::string condition() const override;

 private:
  Result<rd_kafka_topic_t*> topic(const std::string& name);
  Result<bool> read(PartitionReader* partition, const Budget& budget, Poll* poll);
  Status resolve(PartitionReader* partition);
  Status resume(PartitionReader* partition, const Watermarks& marks);
  void commit();

  const Options options_;
  arrow::MemoryPool* const pool_;
  std::unique_ptr<ReadyList> ready_;
  std::unique_ptr<Client> client_;
  std::map<std::string, rd_kafka_topic_t*> topics_;
  std::vector<std::unique_ptr<PartitionReader>> partitions_;
  std::map<std::string, int64_t> to_commit_;  // newest offsets not yet sent to the group
  std::vector<std::string> notices_;
  int64_t jumps_ = 0;
};

KafkaSource::~KafkaSource() {
  if (client_ != nullptr) {
    client_->serve();
    commit();
    const int64_t until = SteadyMs() + limits::kKafkaFlushMs;
    while (client_->commit_in_flight() && SteadyMs() < until) {
      rd_kafka_poll(client_->handle(), 50);
      commit();
    }
  }
  partitions_.clear();
  for (const auto& [name, topic] : topics_) rd_kafka_topic_destroy(topic);
}

Result<rd_kafka_topic_t*> KafkaSource::topic(const std::string& name) {
  const auto found = topics_.find(name);
  if (found != topics_.end()) return found->second;
  if (std::find(options_.topics.begin(), options_.topics.end(), name) == options_.topics.end()) {
    return Error(ErrorKind::kState, "reading topic " + name + ": it is in the checkpoint but not in topics");
  }
  rd_kafka_topic_t* topic = rd_kafka_topic_new(client_->handle(), name.c_str(), nullptr);
  if (topic == nullptr) {
    return Error(ErrorKind::kConfig,
                 "reading topic " + name + ": " + rd_kafka_err2str(rd_kafka_last_error()));
  }
  topics_[name] = topic;
  return topic;
}

Status KafkaSource::assign(const std::vector<Assignment>& partitions, std::function<void()> waker) {
  if (ready_ == nullptr) ready_ = std::make_unique<ReadyList>(std::move(waker));
  if (partitions.empty()) return Status::OK();
  if (client_ == nullptr) {
    FZ_ASSIGN(client_, Client::Make(options_, static_cast<int64_t>(partitions.size()),
                                    [ready = ready_.get()] { ready->wake(); }));
  }
  for (const auto& assignment : partitions) {
    for (const auto& known : partitions_) FZ_CHECK(known->name() != assignment.name);
    FZ_ASSIGN(const auto name, ParsePartitionName(assignment.name));
    FZ_ASSIGN(rd_kafka_topic_t* const handle, topic(name.first));
    FZ_ASSIGN(const int64_t position, OffsetOf(assignment.position));
    std::optional<int64_t> end;
    if (!assignment.end.empty()) {
      FZ_ASSIGN(end, OffsetOf(assignment.end));
    }
    partitions_.push_back(std::make_unique<PartitionReader>(client_->handle(), handle, name.second,
                                                            assignment, position, end, ready_.get()));
    FZ_TRY(partitions_.back()->restart());
  }
  return Status::OK();
}

Result<Poll> KafkaSource::poll(const Budget& budget) {
  FZ_CHECK(ready_ != nullptr);
  if (client_ != nullptr) {
    client_->serve();
    FZ_TRY(client_->check());
    commit();
  }
  Poll poll;
  std::vector<PartitionReader*> held;
  const auto put_back = [&] {
    for (PartitionReader* partition : held) ready_->put_back(partition);
  };
  while (PartitionReader* partition = ready_->pop()) {
    if (budget.holds(partition->ordinal())) {
      held.push_back(partition);
      continue;
    }
    FZ_ASSIGN(const bool rows, read(partition, budget, &poll));
    if (!rows) continue;
    put_back();
    return poll;
  }
  put_back();
  const bool ended =
      std::all_of(partitions_.begin(), partitions_.end(), [](const auto& p) { return p->ended(); });
  poll.kind = ended ? Poll::Kind::kEnd : Poll::Kind::kIdle;
  return poll;
}

bool KafkaSource::behind(int32_t ordinal) const {
  return std::any_of(partitions_.begin(), partitions_.end(), [&](const auto& partition) {
    return partition->ordinal() == ordinal && !partition->ended() && partition->lag() > 0;
  });
}

// True if the partition gave rows, good or rejected, or moved on without any.
Result<bool> KafkaSource::read(PartitionReader* partition, const Budget& budget, Poll* poll) {
  std::vector<Record> records;
  const int64_t before = partition->position();
  if (partition->trouble() != PartitionReader::Trouble::kNone) {
    FZ_TRY(resolve(partition));
  } else {
    const int64_t topic_errors = client_->topic_errors();
    FZ_ASSIGN(const bool more, partition->take(budget, &records));
    if (client_->topic_errors() != topic_errors) partition->doubt();
    if (more) ready_->put_back(partition);
    if (partition->trouble() != PartitionReader::Trouble::kNone) partition->ask(kAskTimeoutMs, 0);
  }
  // A position that moves without rows (aborted records, tombstones left out, rows that are gone) is news for
  // the checkpoint, too: else the next run would ask again for what may be gone by then.
  if (records.empty() && partition->position() == before) return false;
  FZ_ASSIGN(auto raw, CopyRecords(records, options_, partition->name(), pool_));
  poll->kind = Poll::Kind::kRows;
  poll->origin = {partition->ordinal(), records.empty() ? before : records.front()->offset,
                  partition->position()};
  poll->raw = std::move(raw);
  return true;
}

// Decides about a partition in trouble when the broker's answer is there.
Status KafkaSource::resolve(PartitionReader* partition) {
  auto answer = partition->answer();
  if (!answer.has_value()) return Status::OK();
  if (answer->ok()) {
    partition->unknown_since_ms = -1;
    return resume(partition, **answer);
  }
  const Status& error = answer->status();
  if (IsRetryable(error)) {
    partition->ask(kAskTimeoutMs, kAskAgainMs);
    return Status::OK();
  }
  if (KindOf(error) != ErrorKind::kUser) return Prefixed(error, "reading " + partition->place());
  // A broker that has just started may not know its topics yet.
  const int64_t now = SteadyMs();
  if (partition->unknown_since_ms < 0) partition->unknown_since_ms = now;
  if (now - partition->unknown_since_ms < options_.timeout_ms) {
    partition->ask(kAskTimeoutMs, kAskAgainMs);
    return Status::OK();
  }
  return Prefixed(error, "reading " + partition->place() + " from " + options_.servers);
}

Status KafkaSource::resume(PartitionReader* partition, const Watermarks& marks) {
  const int64_t position = partition->position();
  const std::string range = std::to_string(marks.low) + " to " + std::to_string(marks.high);
  if (position > marks.high) {
    return Error(ErrorKind::kUser,
                 "reading " + partition->place() + ": the topic has the offsets " + range +
                     ", less than were read before; it was made anew or lost rows. Start it under "
                     "a new pipeline name, or rewind the checkpoint");
  }
  if (position >= marks.low) {  // it was a passing error
    if (++partition->restarts > limits::kKafkaRestarts) {
      return Error(ErrorKind::kConnect, "reading " + partition->place() +
                                            ": the broker refuses this offset though " + "it has " + range +
                                            "; check the broker's log");
    }
    return partition->restart();
  }
  const std::string lost = "the rows from " + std::to_string(position) + " to " +
                           std::to_string(marks.low - 1) +
                           " are no longer in the topic (retention or DeleteRecords)";
  if (options_.on_truncated == OnTruncated::kFail) {
    return Error(ErrorKind::kUser,
                 "reading " + partition->place() + ": " + lost +
                     "; choose on_truncated=\"earliest\" or \"latest\" to go on without them");
  }
  const int64_t target = options_.on_truncated == OnTruncated::kEarliest ? marks.low : marks.high;
  const std::string notice = partition->place() + ": " + lost + "; reading on at " + std::to_string(target);
  ++jumps_;
  if (notices_.size() < limits::kKafkaNotices) notices_.push_back(notice);
  partition->jump(target);
  return partition->restart();
}

std::vector<PartitionPosition> KafkaSource::positions() const {
  std::vector<PartitionPosition> positions;
  positions.reserve(partitions_.size());
  for (const auto& partition : partitions_) {
    positions.push_back({partition->name(), PositionOf(partition->position()), partition->lag()});
  }
  return positions;
}

Status KafkaSource::committed(const std::vector<PartitionPosition>& positions) {
  if (options_.group.empty() || client_ == nullptr) return Status::OK();
  for (const auto& position : positions) {
    FZ_ASSIGN(to_commit_[position.name], OffsetOf(position.position));
  }
  commit();
  return Status::OK();
}

// Sends the newest offsets to the group, one request at a time; failures are only counted.
void KafkaSource::commit() {
  if (to_commit_.empty() || client_->commit_in_flight()) return;
  auto* list = rd_kafka_topic_partition_list_new(static_cast<int>(to_commit_.size()));
  for (const auto& [name, offset] : to_commit_) {
    const auto parsed = ParsePartitionName(name);
    if (parsed.ok())
      rd_kafka_topic_partition_list_add(list, parsed->first.c_str(), parsed->second)->offset = offset;
  }
  to_commit_.clear();
  if (rd_kafka_commit(client_->handle(), list, /*async=*/1) == RD_KAFKA_RESP_ERR_NO_ERROR) {
    client_->commit_started();
  } else {
    client_->commit_refused();
  }
  rd_kafka_topic_partition_list_destroy(list);
}

std::string KafkaSource::condition() const {
  std::string text = client_ == nullptr ? std::string() : client_->condition();
  const auto add = [&](const std::string& more) { text += (text.empty() ? "" : "; ") + more; };
  for (const auto& partition : partitions_) {
    if (partition->unknown_since_ms >= 0) add(partition->name() + " is unknown to the broker");
  }
  for (const auto& notice : notices_) add(notice);
  if (jumps_ > static_cast<int64_t>(notices_.size())) {
    add(std::to_string(jumps_ - static_cast<int64_t>(notices_.size())) + " more such jumps");
  }
  return text;
}

}  // namespace
}  // namespace kafka

Result<std::unique_ptr<Source>> MakeKafkaSource(const nlohmann::json& options, arrow::MemoryPool* pool) {
  FZ_ASSIGN(auto parsed, kafka::ParseOptions(options));
  return std::make_unique<kafka::KafkaSource>(std::move(parsed), pool);
}

}  // namespace frazil
