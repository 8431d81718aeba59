#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "connector/sink.h"
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
// batch to every consumer, fused ones by a call, others through channels. The worker's thread only, but for
// the counters.
class StageNode : public Output {
 public:
  explicit StageNode(const PlanNode* plan) : plan_(plan) {}

  Status push(Batch batch) override;
  Status push_rejected(const Batch& batch);
  bool full() const override;

  // Takes a batch as input.
  Status process(Batch batch);
  // Goes on with an emission that stopped because the output was full, or with input that waited for it.
  Status resume();
  bool unfinished() const { return unfinished_ || !waiting_.empty(); }

  const PlanNode& plan() const { return *plan_; }
  SourceTask* source() const { return source_.get(); }
  Sink* sink() const { return sink_.get(); }
  int64_t rows_in() const { return rows_in_.load(std::memory_order_relaxed); }
  int64_t rows_out() const { return rows_out_.load(std::memory_order_relaxed); }

  // Wiring, before the run.
  void set(std::unique_ptr<Operator> op) { operator_ = std::move(op); }
  void set(std::unique_ptr<Sink> sink) { sink_ = std::move(sink); }
  void set(std::unique_ptr<SourceTask> source) { source_ = std::move(source); }
  void set_keys(std::vector<ExchangeKey> keys, arrow::MemoryPool* pool) {
    keys_ = std::move(keys);
    pool_ = pool;
  }
  void feed(StageNode* consumer, bool rejected) { (rejected ? fused_rejected_ : fused_).push_back(consumer); }
  void feed(Channel* channel, bool rejected) { (rejected ? forward_rejected_ : forward_).push_back(channel); }
  // An edge to every worker: channels by receiver.
  void feed(std::vector<Channel*> channels) { exchange_.push_back(std::move(channels)); }
  const std::vector<Channel*>& all_channels() const { return all_channels_; }
  void finish_wiring();

 private:
  Status scatter(const Batch& batch);
  Status answer(Result<Progress> progress);

  const PlanNode* const plan_;
  std::unique_ptr<Operator> operator_;
  std::unique_ptr<Sink> sink_;
  std::unique_ptr<SourceTask> source_;
  std::vector<ExchangeKey> keys_;
  arrow::MemoryPool* pool_ = nullptr;  // for transformed keys
  std::vector<StageNode*> fused_, fused_rejected_;
  std::vector<Channel*> forward_, forward_rejected_;
  std::vector<std::vector<Channel*>> exchange_;
  std::vector<Channel*> all_channels_;
  bool unfinished_ = false;
  std::deque<Batch> waiting_;  // bounded by what one input of the stage makes
  std::atomic<int64_t> rows_in_{0}, rows_out_{0};
};

}  // namespace frazil
