#pragma once

#include <arrow/memory_pool.h>
#include <arrow/type.h>

#include <array>
#include <atomic>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "operator/batch_function.h"
#include "operator/join/join_output.h"
#include "operator/join/join_saved.h"
#include "operator/join/join_side.h"
#include "operator/join/row_timers.h"
#include "operator/join/time_lists.h"
#include "operator/operator.h"
#include "state/key_codec.h"
#include "state/table.h"

namespace frazil {

// Joins two inputs, each behind a Gate and an exchange by the keys: a left row l and a right row r belong
// together if their keys are equal, none of them null, and l.t - before <= r.t <= l.t + after. Inner rows are
// given when the second of the two arrives. A row of an outer side without a match is given when the other
// watermark says that none can come: a left one when W_right > l.t + after.
//
// The event time of what is given is that of the left row; of `right` the right row's, of `full` the left one
// or where there is none the right one.
//
// Nothing is noted of which rows had a match: a row is kept as long as the other side's rows may need it, for
// a match or to find out that they had one, and at the end of its time a row of an outer side looks again. So
// the state is the rows that came, less those before a time that follows from the watermarks.
//
// For checkpoints see JoinSaved. Earlier files may have rows that are settled by the latest watermarks; they
// are forgotten.
class IntervalJoin : public Operator {
 public:
  // Reads {"left","right","how","before_us","after_us","columns","schema"}; see JoinInput and JoinOutput.
  static Result<std::unique_ptr<IntervalJoin>> Make(const nlohmann::json& spec,
                                                    const std::vector<std::shared_ptr<arrow::Schema>>& inputs,
                                                    const OperatorContext& context);
  ~IntervalJoin() override;

  Result<Progress> process(Batch, Output&) override;
  Result<Progress> process(int port, Batch batch, Output& out) override;
  Result<Progress> resume(Output& out) override;
  Result<Progress> advance(int port, Timestamp to, Output& out) override;

  bool stateful() const override { return true; }
  Status restore(const std::shared_ptr<arrow::RecordBatch>& rows) override;
  int64_t state_bytes() const override { return bytes_.load(std::memory_order_relaxed); }

 private:
  Result<StateRows> state_changes(bool full) override;

  enum class How { kInner, kLeft, kRight, kFull, kSemi, kAnti };
  // The payload of a key.
  struct KeyRows {
    std::array<TimeLists::List, 2> lists;
    int64_t timers;  // rows of it that are in a list of timers
  };
  struct Side {
    Side(BoundInput bound, arrow::MemoryPool* pool)
        : input(std::move(bound.input)),
          keys(std::move(bound.keys)),
          rows(input.schema, pool),
          judging(pool),
          leaving(pool) {}
    JoinInput input;
    KeyCodec keys;
    JoinSide rows;
    RowTimers judging;  // rows that have to look for a match when they are settled; if judged apart
    RowTimers leaving;  // all
    Timestamp watermark = kWatermarkMin;
    int64_t back = 0, ahead = 0;  // us: matches are in [t - back, t + ahead]
    bool gives_alone = false;     // rows without a match are given
    bool looks_again = false;     // whether a row had a match matters to the end
  };
  // The batch that is being looked up.
  struct Arriving {
    int side = 0;
    std::shared_ptr<arrow::RecordBatch> rows;  // null: none
    std::vector<Timestamp> times;
    std::vector<std::byte*> keys;  // null: no row has this key yet, or it is null
    std::vector<uint8_t> keyed;
    size_t row = 0;
    TimeLists::Place place;
    bool begun = false;  // with the row
    bool matched = false;
    std::vector<int32_t> kept;
  };
  // What is to be given, until there is a batch of it.
  struct Found {
    std::vector<int32_t> rows;      // of the arriving batch
    std::vector<uint32_t> others;   // held rows that belong to these
    std::vector<int32_t> alone;     // of the arriving batch
    std::vector<uint32_t> matched;  // held left rows that found their first match (semi)
    std::vector<uint32_t> held;     // held rows of the pass that found none
    size_t size() const { return rows.size() + alone.size() + matched.size() + held.size(); }
  };

  IntervalJoin(How how, std::array<BoundInput, 2> inputs, JoinOutput output, const OperatorContext& context);

  bool first_match_only() const { return how_ == How::kSemi || how_ == How::kAnti; }
  Timestamp settled(int side) const;
  Timestamp needed(int side) const;
  Timestamp promised() const;
  size_t batch_rows() const;

  Result<Progress> look_up(Output& out);
  Result<bool> look_up_row(Output& out);
  Result<bool> take_first_matches(KeyRows* key, Timestamp from, Timestamp to, Output& out);
  void arrived();
  Status keep(int side, const std::shared_ptr<arrow::RecordBatch>& rows, const std::vector<Timestamp>& times,
              const std::vector<int32_t>& which);
  Result<bool> flush(Output& out);

  Result<Progress> go_on(Output& out);
  Result<bool> pass(Output& out);
  bool has_match(int side, const RowTimers::Timer& timer) const;
  Status leave(int side, const RowTimers::Timer& timer);
  Status forget_timer(std::byte* key);
  Status finish_restore();
  Status keep_restored(int side, const std::shared_ptr<arrow::RecordBatch>& rows);
  Status drop_matched();
  void count_bytes();

  const How how_;
  std::array<Side, 2> sides_;
  const JoinOutput output_;
  arrow::MemoryPool* const pool_;
  EncodedKeys encoded_;
  std::unique_ptr<StateTable> table_;
  TimeLists lists_;
  const JoinSaved saved_;
  Arriving arriving_;
  Found found_;
  size_t limit_ = 0;  // rows of found_ that are a batch
  // What a watermark brings is done in passes: judging, then leaving.
  struct Pass {
    int side;
    bool judging;  // apart from leaving
  };
  std::vector<Pass> passes_;
  size_t pass_ = 0;  // passes_.size(): nothing is under way
  std::vector<RowTimers::Timer> due_;
  size_t due_done_ = 0;
  JoinSaved::Restored restored_;  // rows not yet looked at
  bool note_due_ = false;         // a watermark has settled rows since the last checkpoint
  std::atomic<int64_t> bytes_{0};
};

}  // namespace frazil
