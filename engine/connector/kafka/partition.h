#pragma once

#include <librdkafka/rdkafka.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/status.h"
#include "connector/kafka/records.h"
#include "connector/source.h"

namespace frazil::kafka {

class PartitionReader;

// The partitions that may have something, each once, first come first served. push(), from any thread, also
// wakes the worker; put_back() is for the worker itself.
class ReadyList {
 public:
  explicit ReadyList(std::function<void()> waker) : waker_(std::move(waker)) {}
  void push(PartitionReader* partition);
  void put_back(PartitionReader* partition);
  PartitionReader* pop();  // nullptr if there is none
  void wake() const { waker_(); }

 private:
  bool list(PartitionReader* partition);

  const std::function<void()> waker_;
  std::mutex mutex_;
  std::deque<PartitionReader*> list_;
};

// First and one past the last offset that can be read now (the last stable one for read_committed).
struct Watermarks {
  int64_t low = 0;
  int64_t high = 0;
};

// One partition: librdkafka's queue of what it has fetched, unforwarded, and the offset to read next. Not
// taking from the queue is the pause: fetching stops when it is full. Called by the worker's thread;
// `client`, `topic` and `ready` outlive it.
class PartitionReader {
 public:
  // What take() has met besides records; the source decides. take() gives nothing more until restart().
  enum class Trouble { kNone, kOutOfRange, kUnknownTopic };

  PartitionReader(rd_kafka_t* client, rd_kafka_topic_t* topic, int32_t number, const Assignment& assignment,
                  int64_t position, std::optional<int64_t> end, ReadyList* ready);
  ~PartitionReader();
  PartitionReader(const PartitionReader&) = delete;
  PartitionReader& operator=(const PartitionReader&) = delete;

  // Begins to fetch at position(); also after trouble. Never blocks.
  Status restart();

  // Takes records out of the queue, about `budget`, and moves position() behind them and behind gaps. False:
  // the queue is empty now, and the partition comes into the ready list when that changes. True: there may be
  // more.
  Result<bool> take(const Budget& budget, std::vector<Record>* records);

  // The partition may be gone: trouble() until the broker was asked.
  void doubt() { trouble_ = Trouble::kUnknownTopic; }

  // Asks the broker for the watermarks, in a thread of its own, after `delay_ms`; the partition is in the
  // ready list when the answer is there. answer() is empty before.
  void ask(int64_t timeout_ms, int64_t delay_ms);
  std::optional<Result<Watermarks>> answer();

  // Goes on at another offset; the caller has a reason.
  void jump(int64_t offset);

  int64_t lag() const;
  bool ended() const { return ended_; }
  Trouble trouble() const { return trouble_; }
  int64_t position() const { return position_; }
  int32_t ordinal() const { return ordinal_; }
  int32_t number() const { return number_; }
  const std::string& name() const { return name_; }
  const char* topic() const { return rd_kafka_topic_name(topic_); }
  std::string place() const { return name_ + "@" + std::to_string(position_); }

  // Times restart() was called after trouble without a record since, and since when the topic is unknown.
  int32_t restarts = 0;
  int64_t unknown_since_ms = -1;

 private:
  friend class ReadyList;
  Status take_event(const rd_kafka_message_t* event);
  void reach(int64_t offset);

  rd_kafka_t* const client_;
  rd_kafka_topic_t* const topic_;
  const int32_t number_;
  const int32_t ordinal_;
  const std::string name_;
  int64_t position_;
  const std::optional<int64_t> end_;
  ReadyList* const ready_;
  rd_kafka_queue_t* queue_ = nullptr;
  bool listed_ = false;  // in the ready list; under its mutex
  bool started_ = false;
  bool ended_ = false;
  Trouble trouble_ = Trouble::kNone;
  int64_t high_at_end_ = -1;    // the broker's end when we last stood at what can be read
  int64_t record_bytes_ = 256;  // mean of the last records
  std::vector<rd_kafka_message_t*> taken_;
  std::thread asking_;
  std::mutex answer_mutex_;
  std::optional<Result<Watermarks>> answer_;
};

}  // namespace frazil::kafka
