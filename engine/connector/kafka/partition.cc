#include "connector/kafka/partition.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "base/check.h"
#include "connector/kafka/broker_error.h"

namespace frazil::kafka {

bool ReadyList::list(PartitionReader* partition) {
  const std::lock_guard lock(mutex_);
  if (partition->listed_) return false;
  partition->listed_ = true;
  list_.push_back(partition);
  return true;
}

void ReadyList::push(PartitionReader* partition) {
  if (list(partition)) waker_();
}

void ReadyList::put_back(PartitionReader* partition) { (void)list(partition); }

PartitionReader* ReadyList::pop() {
  const std::lock_guard lock(mutex_);
  if (list_.empty()) return nullptr;
  PartitionReader* partition = list_.front();
  list_.pop_front();
  partition->listed_ = false;
  return partition;
}

PartitionReader::PartitionReader(rd_kafka_t* client, rd_kafka_topic_t* topic, int32_t number,
                                 const Assignment& assignment, int64_t position, std::optional<int64_t> end,
                                 ReadyList* ready)
    : client_(client),
      topic_(topic),
      number_(number),
      ordinal_(assignment.ordinal),
      name_(assignment.name),
      position_(position),
      end_(end),
      ready_(ready) {
  // A position behind the end is not believed: reading tells whether the topic still reaches it.
  ended_ = end_.has_value() && position_ == *end_;
}

PartitionReader::~PartitionReader() {
  if (asking_.joinable()) asking_.join();
  if (queue_ != nullptr) rd_kafka_queue_cb_event_enable(queue_, nullptr, nullptr);
  if (started_) rd_kafka_consume_stop(topic_, number_);
  if (queue_ == nullptr) return;
  // What is left in the queue of a stopped partition keeps librdkafka's partition and its broker's thread
  // alive, and rd_kafka_destroy() waits for that thread for ever when the topic is gone.
  taken_.resize(limits::kKafkaPollRecords);
  ssize_t left = 0;
  while ((left = rd_kafka_consume_batch_queue(queue_, 0, taken_.data(), taken_.size())) > 0) {
    for (ssize_t i = 0; i < left; ++i) rd_kafka_message_destroy(taken_[static_cast<size_t>(i)]);
  }
  rd_kafka_queue_destroy(queue_);
}

Status PartitionReader::restart() {
  if (ended_) return Status::OK();
  if (rd_kafka_consume_start(topic_, number_, position_) != 0) {
    return BrokerError(rd_kafka_last_error(), "reading " + place());
  }
  started_ = true;
  trouble_ = Trouble::kNone;
  if (queue_ == nullptr) {
    queue_ = rd_kafka_queue_get_partition(client_, topic(), number_);
    FZ_CHECK(queue_ != nullptr);
    rd_kafka_queue_cb_event_enable(
        queue_,
        [](rd_kafka_t*, void* self) {
          auto* partition = static_cast<PartitionReader*>(self);
          partition->ready_->push(partition);
        },
        this);
  }
  ready_->push(this);
  return Status::OK();
}

Result<bool> PartitionReader::take(const Budget& budget, std::vector<Record>* records) {
  const auto rows_max = std::clamp<int64_t>(budget.rows, 1, limits::kKafkaPollRecords);
  int64_t rows = 0;
  int64_t bytes = 0;
  if (queue_ == nullptr) return false;
  while (rows < rows_max && (rows == 0 || bytes < budget.bytes) && !ended_ && trouble_ == Trouble::kNone) {
    const auto want = std::clamp<int64_t>((budget.bytes - bytes) / record_bytes_, 1, rows_max - rows);
    taken_.resize(static_cast<size_t>(want));
    const auto got = rd_kafka_consume_batch_queue(queue_, 0, taken_.data(), taken_.size());
    if (got < 0) return BrokerError(rd_kafka_last_error(), "reading " + place());
    if (got == 0) return false;
    Status status;
    int64_t got_bytes = 0;
    for (size_t i = 0; i < static_cast<size_t>(got); ++i) {
      Record record(taken_[i]);
      if (!status.ok() || ended_ || trouble_ != Trouble::kNone) continue;
      if (record->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        status = take_event(record.get());
      } else if (end_.has_value() && record->offset >= *end_) {
        reach(record->offset);
      } else if (record->offset >= position_) {
        got_bytes += static_cast<int64_t>(record->len);
        reach(record->offset + 1);
        high_at_end_ = -1;
        restarts = 0;
        records->push_back(std::move(record));
      }
    }
    FZ_TRY(status);
    rows += got;
    bytes += got_bytes;
    record_bytes_ = std::max<int64_t>((record_bytes_ * 3 + got_bytes / got) / 4, 1);
  }
  return !ended_ && trouble_ == Trouble::kNone;
}

// Moves on to `offset`, of a record or of the end of what can be read; everything before it was seen.
void PartitionReader::reach(int64_t offset) {
  position_ = std::max(position_, end_.has_value() ? std::min(offset, *end_) : offset);
  ended_ = end_.has_value() && offset >= *end_;
}

Status PartitionReader::take_event(const rd_kafka_message_t* event) {
  if (event->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
    // The end may lie behind aborted, compacted or control records: position moves over them.
    reach(event->offset);
    // Only a position the topic does not reach any more can stand behind what can be read.
    int64_t low = -1;
    (void)rd_kafka_get_watermark_offsets(client_, topic(), number_, &low, &high_at_end_);
    restarts = 0;
    return Status::OK();
  }
  if (event->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET ||
      event->err == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE) {
    trouble_ = Trouble::kOutOfRange;
    return Status::OK();
  }
  if (IsUnknownTopic(event->err)) {
    trouble_ = Trouble::kUnknownTopic;
    return Status::OK();
  }
  if (IsTransient(event->err)) return Status::OK();  // librdkafka tries again
  const auto offset = event->offset >= 0 ? event->offset : position_;
  return BrokerError(event->err, "reading " + name_ + "@" + std::to_string(offset),
                     rd_kafka_message_errstr(event));
}

void PartitionReader::ask(int64_t timeout_ms, int64_t delay_ms) {
  if (asking_.joinable()) asking_.join();
  asking_ = std::thread([this, timeout_ms, delay_ms] {
    std::this_thread::sleep_for(std::chrono::milliseconds(delay_ms));
    Watermarks found;
    const auto code = rd_kafka_query_watermark_offsets(client_, topic(), number_, &found.low, &found.high,
                                                       static_cast<int>(timeout_ms));
    Result<Watermarks> answer = found;
    if (IsUnknownTopic(code)) {
      answer = Error(ErrorKind::kUser, "the topic or partition does not exist any more");
    } else if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
      answer = BrokerError(code, "asking for the offsets of " + name_);
    }
    {
      const std::lock_guard lock(answer_mutex_);
      answer_ = std::move(answer);
    }
    ready_->push(this);
  });
}

std::optional<Result<Watermarks>> PartitionReader::answer() {
  const std::lock_guard lock(answer_mutex_);
  return std::exchange(answer_, std::nullopt);
}

void PartitionReader::jump(int64_t offset) { reach(offset); }

int64_t PartitionReader::lag() const {
  if (end_.has_value()) return *end_ - position_;
  int64_t low = -1;
  int64_t high = -1;
  if (rd_kafka_get_watermark_offsets(client_, topic(), number_, &low, &high) != RD_KAFKA_RESP_ERR_NO_ERROR)
    return -1;
  if (high < 0) return -1;
  return std::max<int64_t>(high - std::max(position_, high_at_end_), 0);
}

}  // namespace frazil::kafka
