#pragma once

#include <arrow/type.h>

#include <atomic>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "operator/batch_function.h"
#include "operator/keyed/key_states.h"
#include "operator/operator.h"
#include "operator/ordered/keyed_state.h"
#include "operator/time/row_time.h"
#include "state/row_codec.h"

namespace frazil {

// Gives the rows of each key, with the key's state and timers, to a user's function, which gives rows and the
// state as it is then. Behind an exchange by its keys, and behind a Reorder if there is a time: then rows of
// a key come in its order, and timers are fired when the watermark has passed them. All keys of a batch are
// one call.
//
// A call is a batch of one row, of which each column is a list:
//   what      (int8, no list) kRows, kTimers, kClock or kEnd
//   instance  (int64, no list) tells the operators of a process apart
//   until     (int64, no list) us: what comes out is not before it; of kTimers, timers before it are due
//   clock     (int64, no list) us by the machine's clock: timers of it up to and with then are due
//   over      (int64, no list) 1 at the end of time: all timers are due, and those of the clock are not set
//             any more
//   rows      the columns, those of one key together, in their order; none for kTimers and kEnd
//   offsets   (int32) where the rows of each key begin, and their number
//   times     (int64) us of the rows; null without a time
//   marks     the order marks of the rows; null if they have none
//   keys      the key columns of each key
//   states    the declared state of each key; null in all columns if it has none
//   timers    a list of times for each key, us, ascending
//   clock_timers  the same by the machine's clock, if the function has such
// The answer is as well: `rows`, of the output, and for each key `states`, `timers`, `clock_timers`, and
// `what` (uint8) is to be done with these: kKeep, kAssign, kForget. Timers of the clock that it sets are
// behind `clock`, so that a call fires no timer that it has set itself.
//
// At the end of time all timers are due, those of the clock first, and if the function has an end, it is
// called for every key. Without a time there is no such end: timers stay with the state.
class KeyedFunction : public Operator {
 public:
  enum Call : int8_t { kRows = 0, kTimers = 1, kEnd = 2, kClock = 3 };
  enum Outcome : uint8_t { kKeep = 0, kAssign = 1, kForget = 2 };

  // Reads {"keys","function","time":{"column","minus_us"} | null,"states": schema,"schema": of the output,
  // "ends": bool, "clock": bool?}.
  static Result<std::unique_ptr<KeyedFunction>> Make(const nlohmann::json& spec, const arrow::Schema& input,
                                                     BatchFunction function, const OperatorContext& context);

  Result<Progress> process(Batch batch, Output& out) override;
  Result<Progress> resume(Output& out) override { return emit(out); }
  Result<Progress> advance(int port, Timestamp to, Output& out) override;
  bool ticks() const override { return by_clock_; }
  Timestamp next_tick() const override { return states_->next(KeyStates::kOfClock); }
  Result<Progress> tick(Timestamp now, Output& out) override;

  bool stateful() const override { return true; }
  Status freeze(bool full) override { return states_->freeze(full); }
  Result<bool> save(int64_t rows_max, StateRows* rows) override { return states_->save(rows_max, rows); }
  Status restore(const std::shared_ptr<arrow::RecordBatch>& rows) override;
  int64_t state_bytes() const override { return bytes_.load(std::memory_order_relaxed); }

 private:
  using Entry = KeyStates::Entry;
  // What a call is about.
  struct Rows {
    std::shared_ptr<arrow::RecordBatch> rows;
    std::vector<int32_t> offsets;
    std::shared_ptr<arrow::Array> times, marks;
  };

  KeyedFunction(KeyColumns keys, RowCodec codec, BatchFunction function, const OperatorContext& context);

  Result<Rows> grouped(const Batch& batch, std::vector<Entry*>* groups);
  Status call(Call what, const Rows& rows, const std::vector<Entry*>& groups);
  Result<std::shared_ptr<arrow::RecordBatch>> request(Call what, const Rows& rows,
                                                      const std::vector<Entry*>& groups) const;
  Result<arrow::ArrayVector> of_keys(const std::vector<Entry*>& groups) const;
  Result<std::shared_ptr<arrow::Array>> timers_of(KeyStates::Timers kind,
                                                  const std::vector<Entry*>& groups) const;
  Status take(const arrow::RecordBatch& answer, const std::vector<Entry*>& groups);
  Status take_states(const arrow::RecordBatch& answer, const std::vector<Entry*>& groups);
  Result<Progress> emit(Output& out);
  // The next call that the clock or the watermark makes; false: there is none.
  Result<bool> call_due();
  bool has_more() const;
  // The end of time: nothing is waited for any more.
  bool over() const { return time_.has_value() && due_ == kWatermarkMax; }
  std::string place_of(std::string_view mark) const;
  Status located(const Status& error) const;

  const KeyColumns keys_;
  const RowCodec codec_;
  const BatchFunction function_;
  arrow::MemoryPool* const pool_;
  const PartitionNames* const partitions_;
  const int64_t instance_;
  std::string reference_;
  std::optional<RowTime> time_;
  bool ends_ = false;
  bool by_clock_ = false;  // has timers of the clock
  const SystemClock machine_;
  const Clock* clock_;
  std::shared_ptr<arrow::Schema> input_, output_;
  std::vector<std::string> key_names_;
  std::unique_ptr<KeyStates> states_;
  EncodedKeys encoded_;
  Timestamp due_ = kWatermarkMin;        // timers before then are to be fired
  Timestamp now_ = kWatermarkMin;        // by the clock, of the call at hand
  Timestamp clock_due_ = kWatermarkMin;  // timers of the clock before then are to be fired
  KeyStates::Scan ending_;               // of the calls at the end of time
  bool end_called_ = false;
  std::shared_ptr<arrow::RecordBatch> made_;  // rows that are being given
  int64_t given_ = 0;                         // of them
  std::atomic<int64_t> bytes_{0};
};

}  // namespace frazil
