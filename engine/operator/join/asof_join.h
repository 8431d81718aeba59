#pragma once

#include <arrow/memory_pool.h>
#include <arrow/type.h>

#include <array>
#include <atomic>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
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

// Joins two inputs, each behind a Gate and an exchange by the keys: to each left row belongs the latest right
// row of its key whose time is not after its own, and not before that by more than the tolerance. Of right
// rows with one key and time the one with the largest order mark counts. A left row is given when the right
// watermark is past its time, with nulls or not at all if there is no such row; a null key has none.
//
// The event time of what is given is that of the left row.
//
// Left rows are kept until then. A right row is kept until there is a later one that no left row to come can
// be before: per key one row, and those after the lesser watermark; with a tolerance none that is older than
// that.
//
// For checkpoints see JoinSaved. Earlier files may have left rows that are given by the latest watermarks,
// and right rows that are of no use any more; they are forgotten.
class AsofJoin : public Operator {
 public:
  // Reads {"left","right","how","tolerance_us","columns","schema"}; see JoinInput and JoinOutput.
  static Result<std::unique_ptr<AsofJoin>> Make(const nlohmann::json& spec,
                                                const std::vector<std::shared_ptr<arrow::Schema>>& inputs,
                                                const OperatorContext& context);
  ~AsofJoin() override;

  Result<Progress> process(Batch, Output&) override;
  Result<Progress> process(int port, Batch batch, Output& out) override;
  Result<Progress> resume(Output& out) override { return go_on(out); }
  Result<Progress> advance(int port, Timestamp to, Output& out) override;

  bool stateful() const override { return true; }
  Status restore(const std::shared_ptr<arrow::RecordBatch>& rows) override;
  int64_t state_bytes() const override { return bytes_.load(std::memory_order_relaxed); }

 private:
  Result<StateRows> state_changes(bool full) override;

  // The payload of a key.
  struct KeyRows {
    TimeLists::List rights;
    int64_t timers;  // rows of it that are in a list of timers
  };
  struct Side {
    explicit Side(BoundInput bound, arrow::MemoryPool* pool)
        : input(std::move(bound.input)), keys(std::move(bound.keys)), rows(input.schema, pool) {}
    JoinInput input;
    KeyCodec keys;
    JoinSide rows;
    Timestamp watermark = kWatermarkMin;
  };
  // Left rows that are to be given, and the right rows that belong to them.
  struct Found {
    std::vector<uint32_t> lefts, rights;
    std::vector<uint32_t> alone;
    size_t size() const { return lefts.size() + alone.size(); }
  };

  AsofJoin(std::array<BoundInput, 2> inputs, JoinOutput output, const OperatorContext& context);

  // Takes rows `which` of a batch into the state; encoded_ has their keys.
  Status keep(int side, const std::shared_ptr<arrow::RecordBatch>& rows, const std::vector<Timestamp>& times,
              const std::vector<int32_t>& which);
  Status keep_right(std::byte* key, Timestamp time, uint32_t number);
  Status keep_restored(int side, const std::shared_ptr<arrow::RecordBatch>& rows);
  Status give_alone(const std::shared_ptr<arrow::RecordBatch>& lefts, Output& out) const;
  std::optional<uint32_t> latest(const std::byte* key, Timestamp time) const;

  Result<Progress> go_on(Output& out);
  Result<bool> give_due(Output& out);
  Status forget_rights();
  Status forget_up_to(const RowTimers::Timer& timer, bool inclusive);
  Status forget_timer(std::byte* key);
  Status flush(Output& out);
  Status finish_restore();
  void count_bytes();

  std::array<Side, 2> sides_;
  const JoinOutput output_;
  arrow::MemoryPool* const pool_;
  const JoinSaved saved_;
  bool gives_alone_ = false;  // left rows without a right one
  int64_t tolerance_ = -1;    // us; negative: none
  EncodedKeys encoded_;
  std::unique_ptr<StateTable> table_;
  TimeLists lists_;        // of right rows
  RowTimers waiting_;      // left rows
  RowTimers superseding_;  // right rows, which let those before them go
  RowTimers aging_;        // right rows, if there is a tolerance
  std::vector<RowTimers::Timer> due_;
  size_t due_done_ = 0;
  Found found_;
  JoinSaved::Restored restored_;
  bool note_due_ = false;  // left rows were given since the last checkpoint
  std::atomic<int64_t> bytes_{0};
};

}  // namespace frazil
