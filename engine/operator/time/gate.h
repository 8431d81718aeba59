#pragma once

#include <arrow/type.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "operator/batch_function.h"
#include "operator/operator.h"
#include "operator/time/late_gate.h"

namespace frazil {

// Stands before the exchange of an operator that takes each row at its own time. Refuses rows behind the
// watermark of their own partition, and gives the others the mark that orders them (order_mark.h), which is
// the only one they keep. Whether a row is refused depends on its partition alone; rows that were computed
// are never late. Keeps nothing between batches.
class Gate : public Operator {
 public:
  // Reads {"time":{"column","minus_us"},"refuses": false}; the column is a timestamp without nulls. One that
  // does not refuse only marks: it stands before an operator that no row is too late for.
  static Result<std::unique_ptr<Gate>> Make(const nlohmann::json& spec, const arrow::Schema& input,
                                            const OperatorContext& context);

  Result<Progress> process(Batch batch, Output& out) override;
  void set_aside(Output* aside) override { gate_.set_aside(aside); }
  int64_t late_rows() const override { return gate_.count(); }

 private:
  Gate(bool refuses, const OperatorContext& context)
      : refuses_(refuses),
        pool_(context.pool),
        partitions_(context.partitions),
        gate_(context.pool, context.partitions) {}

  const bool refuses_;
  arrow::MemoryPool* const pool_;
  const PartitionNames* const partitions_;
  LateGate gate_;
};

}  // namespace frazil
