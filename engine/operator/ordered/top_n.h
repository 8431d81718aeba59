#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "operator/batch_function.h"
#include "operator/operator.h"
#include "operator/ordered/keyed_state.h"
#include "operator/time/row_time.h"

namespace frazil {

// The columns of the input, then the rank, if the node asks for it.
Result<std::shared_ptr<arrow::Schema>> TopNSchema(const nlohmann::json& spec, const arrow::Schema& input);

// Gives the first n rows of each key, by some columns and then by their order mark, when the watermark has
// passed their time. Made for windows: rows of a window have one time, and its bounds are part of the key.
// What is given does not depend on how rows arrived. Behind a Gate and the exchange by the keys.
//
// It holds rows by their time. Now and then, and before a checkpoint, those that are beyond the first n are
// let go, so that about as many are held again at most as are needed.
//
// As a checkpoint the state is rows of (hash, done, ord, row): the rows, and one for every worker with the
// time before which all has been given (done, us). Earlier files may have rows that are let go by now.
class TopN : public Operator {
 public:
  // Reads {"keys","time","n","by":[{"column","descending"}],"rank": name | null}.
  static Result<std::unique_ptr<TopN>> Make(const nlohmann::json& spec,
                                            const std::shared_ptr<arrow::Schema>& input,
                                            const OperatorContext& context);

  Result<Progress> process(Batch batch, Output& out) override;
  Result<Progress> resume(Output& out) override { return emit(out); }
  Result<Progress> advance(int port, Timestamp to, Output& out) override;

  bool stateful() const override { return true; }
  Status restore(const std::shared_ptr<arrow::RecordBatch>& rows) override;
  int64_t state_bytes() const override { return bytes_.load(std::memory_order_relaxed); }

 private:
  Result<StateRows> state_changes(bool full) override;

  struct By {
    int column;
    bool descending;
  };
  // Rows of one time.
  struct Held {
    arrow::RecordBatchVector saved, fresh;  // fresh: not in a checkpoint yet
    int64_t saved_rows = 0, fresh_rows = 0;
    int64_t needed = 0;  // rows that were left when it was pruned
    int64_t bytes = 0;   // about
  };
  // The first n of each key, those of a key side by side and in order.
  struct Best {
    std::shared_ptr<arrow::RecordBatch> rows;  // all there are
    std::vector<int32_t> which;                // of them
    std::vector<int64_t> ranks;
  };

  TopN(KeyColumns keys, RowTime time, const std::shared_ptr<arrow::Schema>& input,
       const OperatorContext& context);

  Status hold(const std::shared_ptr<arrow::RecordBatch>& rows, bool fresh);
  void add(Held* held, std::shared_ptr<arrow::RecordBatch> rows, bool fresh);
  Result<Best> best(const Held& held) const;
  Status prune(Held* held);
  Result<Progress> emit(Output& out);
  Result<Batch> slice(size_t from, size_t to) const;
  Result<std::shared_ptr<arrow::RecordBatch>> saved(const std::shared_ptr<arrow::RecordBatch>& rows) const;
  void count_bytes();

  const KeyColumns keys_;
  const RowTime time_;
  std::vector<By> by_;
  int64_t n_ = 1;
  arrow::MemoryPool* const pool_;
  const std::shared_ptr<arrow::Schema> input_, held_schema_;
  std::shared_ptr<arrow::Schema> output_, saved_schema_;
  std::map<Timestamp, Held> held_;
  std::unique_ptr<Best> giving_;
  size_t given_ = 0;  // of giving_
  Timestamp due_ = kWatermarkMin;
  Timestamp done_ = kWatermarkMin;
  Timestamp noted_ = kWatermarkMin;  // done_ of the last snapshot
  std::atomic<int64_t> bytes_{0};
};

}  // namespace frazil
