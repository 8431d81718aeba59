#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "operator/batch_function.h"
#include "operator/operator.h"
#include "operator/ordered/keyed_state.h"
#include "operator/time/row_time.h"
#include "operator/time/window.h"
#include "state/held_rows.h"

namespace frazil {

// The columns of the input; those that may be null in a row that was made up are nullable.
Result<std::shared_ptr<arrow::Schema>> FilledSchema(const nlohmann::json& spec, const arrow::Schema& input);

// Gives the results of windows on, and rows for windows in which a key had none: for each one behind a window
// in which it had a row, up to `most` of them in a row. A made up row is given when the watermark has passed
// the end of its window, behind the rows of earlier windows. Behind a Reorder.
//
// As a checkpoint the state is rows of (hash, key, end, filled, row): of each key the end of the last window
// that was given (us), how many of the last ones were made up, and of the last that was not what made up rows
// need of it. A key that is gone has no end.
class FillGaps : public Operator {
 public:
  // Reads {"keys","time","window","most","fills":[{"column","how":"null"|"zero"|"previous"}]}, where `fills`
  // has the columns that are neither keys nor bounds of the window.
  static Result<std::unique_ptr<FillGaps>> Make(const nlohmann::json& spec, const arrow::Schema& input,
                                                const OperatorContext& context);

  Result<Progress> process(Batch batch, Output& out) override;
  Result<Progress> resume(Output& out) override { return run(out); }
  Result<Progress> advance(int port, Timestamp to, Output& out) override;

  bool stateful() const override { return true; }
  Result<StateRows> snapshot(bool full) override;
  Status restore(const std::shared_ptr<arrow::RecordBatch>& rows) override;
  int64_t state_bytes() const override { return bytes_.load(std::memory_order_relaxed); }

 private:
  // Payload of the table.
  struct Key {
    Timestamp end;   // of the last window that was given
    Timestamp next;  // end of the one behind it
    int64_t filled;
    HeldRow row;
  };
  // Where a column of a made up row comes from.
  struct From {
    enum class Kind { kHeld, kStart, kEnd, kConstant } kind = Kind::kConstant;
    int held = 0;                             // column of held rows
    std::shared_ptr<arrow::Scalar> constant;  // null, or a zero
  };
  // The batch at hand: rows from `at` on are still to be given.
  struct Current {
    std::shared_ptr<arrow::RecordBatch> rows;
    std::vector<Timestamp> times;
    uint32_t block = 0;
    int64_t at = 0;
  };
  struct Made;

  FillGaps(KeyColumns keys, RowTime time, const WindowSpec& window, std::shared_ptr<arrow::Schema> held,
           const OperatorContext& context);

  static Key* KeyOf(std::byte* payload) { return reinterpret_cast<Key*>(payload); }
  Result<Progress> run(Output& out);
  bool due(Timestamp end, Timestamp now) const;
  Status fill(Output& out);
  Status pass_on(Output& out);
  Status note(std::byte* payload, bool inserted, Timestamp end, HeldRow row);
  void wait(std::byte* payload);
  Status put_in_order();
  Result<std::shared_ptr<arrow::RecordBatch>> saved(const std::vector<StateTable::Change>& keys) const;
  Status compact();
  void count_bytes();

  const KeyColumns keys_;
  const RowTime time_;
  const Panes panes_;
  int64_t most_ = 0;
  arrow::MemoryPool* const pool_;
  std::shared_ptr<arrow::Schema> output_, saved_schema_;
  std::vector<int> held_columns_;  // of the input
  std::vector<From> from_;         // for each column
  HeldRows rows_;
  std::unique_ptr<StateTable> table_;
  // Keys by the end of the window they are filled in next. One that has had a row there stands for nothing.
  std::map<Timestamp, std::vector<std::byte*>> waiting_;
  bool in_order_ = true;  // waiting_ is there; not so while state is restored
  Current current_;
  Timestamp due_ = kWatermarkMin;
  EncodedKeys encoded_;
  std::atomic<int64_t> bytes_{0};
};

}  // namespace frazil
