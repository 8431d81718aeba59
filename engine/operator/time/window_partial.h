#pragma once

#include <memory>
#include <string>
#include <vector>

#include "operator/operator.h"
#include "operator/time/accumulators.h"
#include "operator/time/batch_groups.h"
#include "operator/time/late_gate.h"
#include "operator/time/window.h"

namespace frazil {

// The first half of a windowed aggregate, before the exchange: refuses late rows, finds the pane of each row,
// and aggregates the rows of one batch. Gives rows of key, pane and floor with the saved accumulators
// (PartialSchema), and the hash of the key as kHashMark: one each, or several where that costs less
// (BatchGroups). Keeps nothing between batches.
//
// A row that is late for the first windows of its pane but not for later ones has a floor, the end of the
// first window that takes it: which windows have it must not depend on which of them are still open.
class WindowPartial : public Operator {
 public:
  // Reads {"keys","time":{"column","minus_us"},"window","lateness_us","aggregates"}.
  static Result<std::unique_ptr<WindowPartial>> Make(const nlohmann::json& spec, const arrow::Schema& input,
                                                     const OperatorContext& context);

  Result<Progress> process(Batch batch, Output& out) override;
  void set_aside(Output* aside) override { gate_.set_aside(aside); }
  int64_t late_rows() const override { return gate_.count(); }

 private:
  WindowPartial(WindowSpec window, Accumulators accumulators, BatchGroups groups,
                const OperatorContext& context)
      : window_(window),
        panes_(window),
        accumulators_(std::move(accumulators)),
        groups_(std::move(groups)),
        pool_(context.pool),
        gate_(context.pool, context.partitions),
        partitions_(context.partitions) {}

  Status assign(const Batch& batch, const arrow::Int64Array& times);
  void assign_late(int64_t row, Timestamp watermark);
  std::vector<OrderKey> order(const Batch& batch, const arrow::Int64Array& times) const;
  Status aggregate(const Batch& batch, const std::vector<OrderKey>& order, Output& out);
  Status emit(arrow::ArrayVector columns, Output& out);

  const WindowSpec window_;
  const Panes panes_;
  std::vector<int> key_columns_;
  int time_column_ = 0;
  int64_t minus_ = 0;     // us taken from the time column
  int64_t lateness_ = 0;  // us
  std::shared_ptr<arrow::Schema> output_;
  Accumulators accumulators_;
  BatchGroups groups_;
  arrow::MemoryPool* const pool_;
  LateGate gate_;
  const PartitionNames* const partitions_;
  // Of the batch at hand, kept for their memory.
  std::vector<int64_t> pane_, floor_;
  std::vector<int32_t> accepted_;
};

// Columns between the two halves: the keys, `pane` and `floor` (int64, us), and the saved accumulators.
Result<std::shared_ptr<arrow::Schema>> PartialSchema(const nlohmann::json& spec, const arrow::Schema& input);

}  // namespace frazil
