#pragma once

#include <arrow/type.h>

#include <atomic>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "operator/batch_function.h"
#include "operator/operator.h"
#include "operator/time/row_time.h"
#include "state/held_rows.h"

namespace frazil {

// Gives rows in the order of their event time: holds each until the watermark has passed its time, then gives
// it after all rows of an earlier time, and those of the same time by their order mark (order_mark.h), which
// every row has. It stands behind a Gate and the exchange by `keys`; what an operator behind it sees of a key
// does not depend on how rows arrived. It promises the watermark once all rows before it are given.
//
// As a checkpoint the state is rows of (hash, done, ord, row): the rows it holds, hashed by `keys`, and one
// row, for every worker, with the time before which all have been given (done, us). Earlier files may have
// rows from before that; they are forgotten.
class Reorder : public Operator {
 public:
  // Reads {"keys":["user"],"time":{"column","minus_us"}}.
  static Result<std::unique_ptr<Reorder>> Make(const nlohmann::json& spec,
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

  struct Waiting {
    Timestamp time;
    HeldRow row;
  };

  Reorder(RowTime time, std::vector<int> keys, const std::shared_ptr<arrow::Schema>& input,
          const OperatorContext& context);

  Status hold(const std::shared_ptr<arrow::RecordBatch>& rows);
  Status hold_restored(std::shared_ptr<arrow::RecordBatch> rows, std::vector<int32_t> which);
  void collect_due();
  Result<Progress> emit(Output& out);
  Status compact();
  Result<std::shared_ptr<arrow::RecordBatch>> saved(const std::vector<HeldRow>& rows) const;
  Result<std::shared_ptr<arrow::RecordBatch>> note() const;
  void count_bytes();

  const RowTime time_;
  const std::vector<int> keys_;  // columns
  const std::shared_ptr<arrow::Schema> input_;
  std::shared_ptr<arrow::Schema> saved_schema_;
  arrow::MemoryPool* const pool_;
  HeldRows rows_;                                    // the columns, then the order mark
  std::map<int64_t, std::vector<Waiting>> waiting_;  // by second
  int64_t count_ = 0;                                // of rows in waiting_
  std::vector<Waiting> due_rows_;                    // being given, in order
  size_t given_ = 0;                                 // of them
  Timestamp due_ = kWatermarkMin;                    // rows before then are to be given
  Timestamp done_ = kWatermarkMin;                   // and before then are
  std::atomic<int64_t> bytes_{0};
};

}  // namespace frazil
