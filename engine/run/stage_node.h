#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "connector/sink.h"
#include "operator/function_times.h"
#include "operator/operator.h"
#include "plan/plan.h"
#include "run/channel.h"
#include "run/source_task.h"

namespace frazil {

// A key of an exchange: a column, or a partition transform of it, so that rows of a table's partition meet.
struct ExchangeKey {
  std::string column;
  std::string transform = "identity";
  int64_t param = 0;
};

// Reads the keys of an exchange: {"keys":["a"],"transforms":[{"name","param"}]?}, transforms as many as keys.
Result<std::vector<ExchangeKey>> ParseExchangeKeys(const nlohmann::json& spec);

// One node of the plan in one worker, and where its rows go. It is the Output of its operator: push() hands a
// batch to every consumer, fused ones by a call, others through channels. Watermarks go the same way. The
// worker's thread only, but for the counters.
class StageNode : public Output {
 public:
  explicit StageNode(const PlanNode* plan) : plan_(plan) {}

  Status push(Batch batch) override;
  bool full() const override;
  // Where rows go that the node sets aside.
  Output* aside() { return &aside_; }

  // Takes a batch on an input.
  Status process(int port, Batch batch);
  // The watermark of one sender of an input is now `to`.
  Status advance(int sender, Timestamp to);
  // Goes on with an emission that stopped because the output was full, or with input that waited for it.
  Status resume();
  bool unfinished() const { return unfinished_ || !waiting_.empty(); }
  // As of its operator; what is not to be done now has no time.
  bool ticks() const { return operator_ != nullptr && operator_->ticks(); }
  Timestamp next_tick() const { return unfinished() ? kWatermarkMax : operator_->next_tick(); }
  Status tick(Timestamp now);
  // Tells consumers the watermark that the operator can promise, if it has grown.
  Status forward();

  const PlanNode& plan() const { return *plan_; }
  SourceTask* source() const { return source_.get(); }
  Sink* sink() const { return sink_.get(); }
  Operator* op() const { return operator_.get(); }
  // What checkpoints have of its operator or sink; see there.
  bool stateful() const;
  Status freeze(bool full) const;
  Result<bool> save(int64_t rows_max, StateRows* rows) const;
  Status restore(const std::shared_ptr<arrow::RecordBatch>& rows) const;
  int64_t state_bytes() const;
  int64_t rows_in() const { return rows_in_.load(std::memory_order_relaxed); }
  int64_t rows_out() const { return rows_out_.load(std::memory_order_relaxed); }
  const FunctionTimes& function_times() const { return function_times_; }
  Timestamp watermark() const { return forwarded_.load(std::memory_order_relaxed); }

  // Wiring, before the run.
  void set(std::unique_ptr<Operator> op) { operator_ = std::move(op); }
  void set(std::unique_ptr<Sink> sink) { sink_ = std::move(sink); }
  void set(std::unique_ptr<SourceTask> source) { source_ = std::move(source); }
  void set_keys(std::vector<ExchangeKey> keys, bool hashed, arrow::MemoryPool* pool) {
    keys_ = std::move(keys);
    hashed_ = hashed;
    pool_ = pool;
  }
  // Adds a sender to an input; gives its number for advance().
  int add_sender(int port);
  void feed(StageNode* consumer, int port, bool aside);
  void feed(Channel* channel, bool aside) { (aside ? aside_.forward : rows_.forward).push_back(channel); }
  // An edge to every worker: channels by receiver.
  void feed(std::vector<Channel*> channels) { exchange_.push_back(std::move(channels)); }
  const std::vector<Channel*>& all_channels() const { return all_channels_; }
  void finish_wiring();

 private:
  struct Consumer {
    StageNode* node = nullptr;
    int port = 0;
    int sender = 0;
  };
  // The consumers of one output.
  struct Consumers {
    std::vector<Consumer> fused;
    std::vector<Channel*> forward;
    Status push(const Batch& batch) const;
    bool full() const;
  };
  struct Aside : public Output, public Consumers {
    Status push(Batch batch) override { return batch.rows() == 0 ? Status::OK() : Consumers::push(batch); }
    bool full() const override { return Consumers::full(); }
  };
  struct Sender {
    int port = 0;
    Timestamp watermark = kWatermarkMin;
  };
  // What came while an emission was unfinished: a batch of an input, or the watermark of a sender.
  struct Waiting {
    int number = 0;
    Batch batch;
    Timestamp watermark = kWatermarkMin;
  };

  Status scatter(const Batch& batch);
  Result<std::vector<uint64_t>> hashes(const Batch& batch) const;
  Status answer(Result<Progress> progress);
  Timestamp watermark_of(int port) const;
  Status taken(Status status) const;

  const PlanNode* const plan_;
  std::unique_ptr<Operator> operator_;
  std::unique_ptr<Sink> sink_;
  std::unique_ptr<SourceTask> source_;
  std::vector<ExchangeKey> keys_;
  bool hashed_ = false;                // batches carry the hash of the key
  arrow::MemoryPool* pool_ = nullptr;  // for transformed keys
  Consumers rows_;
  Aside aside_;
  std::vector<std::vector<Channel*>> exchange_;
  std::vector<Channel*> all_channels_;
  std::vector<Sender> senders_;
  bool unfinished_ = false;
  std::deque<Waiting> waiting_;  // bounded by what one input of the stage makes
  std::atomic<int64_t> rows_in_{0}, rows_out_{0};
  FunctionTimes function_times_;
  std::atomic<Timestamp> forwarded_{kWatermarkMin};
};

}  // namespace frazil
