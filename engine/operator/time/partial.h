#pragma once

#include <arrow/type.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>
#include <vector>

#include "aggregate/aggregate.h"
#include "operator/batch_function.h"
#include "operator/operator.h"
#include "operator/time/accumulators.h"
#include "operator/time/late_gate.h"
#include "operator/time/window.h"

namespace frazil {

// What the first half of a windowed aggregate is told by its node, bound to its input.
struct PartialSpec {
  // Reads {"keys","time":{"column","minus_us"},"window","lateness_us"}.
  static Result<PartialSpec> Make(const nlohmann::json& spec, const arrow::Schema& input);

  WindowSpec window;
  arrow::DataTypeVector key_types;
  std::vector<int> key_columns;
  int time_column = 0;
  int64_t minus = 0;     // us taken from the time column
  int64_t lateness = 0;  // us
  std::shared_ptr<arrow::Schema> output;
};

// Columns between the two halves: the keys, two times of the group (int64, us: `pane` and `floor`, or `first`
// and `last` of sessions), and the saved accumulators.
Result<std::shared_ptr<arrow::Schema>> PartialSchema(const nlohmann::json& spec, const arrow::Schema& input);

// The first half of a windowed aggregate, before the exchange: refuses late rows, and aggregates the rows of
// one batch, so that few rows travel. Keeps nothing between batches.
class Partial : public Operator {
 public:
  Result<Progress> process(Batch batch, Output& out) override;
  void set_aside(Output* aside) override { gate_.set_aside(aside); }
  int64_t late_rows() const override { return gate_.count(); }

 protected:
  // What is emitted, by group.
  struct Groups {
    std::span<const int32_t> rows;      // one of each
    std::span<const int64_t> from, to;  // the two times
    std::span<std::byte* const> accumulators;
    std::span<const uint64_t> hashes;  // of the keys
  };

  Partial(PartialSpec spec, Accumulators accumulators, const OperatorContext& context)
      : spec_(std::move(spec)),
        accumulators_(std::move(accumulators)),
        pool_(context.pool),
        gate_(context.pool, context.partitions),
        partitions_(context.partitions) {}

  // Puts the rows that some window takes into accepted_, in their order, and gives the others to the gate.
  virtual Status assign(const Batch& batch, const arrow::Int64Array& times) = 0;
  // Emits the partial aggregates of the accepted rows. `order` is empty if no aggregate needs it.
  virtual Status aggregate(const Batch& batch, const std::vector<OrderKey>& order, Output& out) = 0;

  arrow::ArrayVector keys_of(const Batch& batch) const;
  Status emit(const Batch& batch, const Groups& groups, Output& out) const;

  const PartialSpec spec_;
  Accumulators accumulators_;
  arrow::MemoryPool* const pool_;
  LateGate gate_;
  std::vector<int32_t> accepted_;  // of the batch at hand

 private:
  std::vector<OrderKey> order(const Batch& batch, const arrow::Int64Array& times) const;

  const PartitionNames* const partitions_;
};

}  // namespace frazil
