#pragma once

#include <arrow/type.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "operator/batch_function.h"
#include "operator/operator.h"
#include "operator/time/late_gate.h"
#include "operator/time/row_time.h"
#include "operator/time/window.h"

namespace frazil {

// The columns of the input, then window_start and window_end.
std::shared_ptr<arrow::Schema> AssignedSchema(const arrow::Schema& input);

// Gives each row once for each window that it is in, with the bounds of the window; the event time of what it
// gives is a microsecond before the end. Not for sessions. A row is refused for the windows that the
// watermark of its own partition has left behind by the lateness; for the others it is in time, however late
// it is. With a lateness what it gives may be behind the watermark: only for an operator that goes by the
// same lateness. Keeps nothing between batches.
class AssignWindow : public Operator {
 public:
  // Reads {"time":{"column","minus_us"},"window","lateness_us"}.
  static Result<std::unique_ptr<AssignWindow>> Make(const nlohmann::json& spec, const arrow::Schema& input,
                                                    const OperatorContext& context);

  Result<Progress> process(Batch batch, Output& out) override;
  Result<Progress> resume(Output& out) override;
  void set_aside(Output* aside) override { gate_.set_aside(aside); }
  int64_t late_rows() const override { return gate_.count(); }

 private:
  AssignWindow(const WindowSpec& window, RowTime time, std::shared_ptr<arrow::Schema> output,
               const OperatorContext& context)
      : panes_(window),
        time_(time),
        output_(std::move(output)),
        pool_(context.pool),
        gate_(context.pool, context.partitions) {}

  // Puts row next_ into its windows.
  void assign(const arrow::Int64Array* watermarks);
  Result<Batch> assigned() const;

  const Panes panes_;
  const RowTime time_;
  const std::shared_ptr<arrow::Schema> output_;
  arrow::MemoryPool* const pool_;
  LateGate gate_;
  int64_t lateness_ = 0;  // us
  // The batch at hand, and how far it has been given.
  Batch batch_;
  std::vector<Timestamp> times_;
  int64_t next_ = 0;
  // Rows to be given next, with their windows.
  std::vector<int32_t> rows_;
  std::vector<int64_t> starts_, ends_;
};

}  // namespace frazil
