#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "operator/batch_function.h"
#include "operator/operator.h"
#include "operator/ordered/fillers.h"
#include "operator/ordered/keyed_state.h"
#include "operator/time/row_time.h"
#include "operator/time/window.h"
#include "state/held_rows.h"

namespace frazil {

// Gives a row for each window in which a key has none, from the key's first window on and for so many windows
// after its last one. Behind a windowed aggregate, of which a key has one row in a window: tumbling windows,
// also of a calendar, or hopping ones. Rows come in any order that the watermark allows, and go on at once.
// When the watermark has passed the end of a window, the keys without a row in it are given theirs, with the
// time of the others. Rows of one time are told apart by the hash of their key, as those of a
// WindowAggregate.
//
// All windows up to a time, done_, have been seen to; a row of a window that is after it waits for it here,
// as the window's end and the values to be kept. Whether a key is still known cannot be seen: one that is
// forgotten would be given no more rows.
//
// As a checkpoint the state is rows of (hash, key, end, done, row): the last window of each key and the
// windows that wait, with the values that are kept of them (no column `row` if none are); and a row for every
// worker with done_ (us).
class FillGaps : public Operator {
 public:
  // Reads {"keys","time","window","windows": n,"fill"}; see Fillers. The time is the end of the window less a
  // microsecond.
  static Result<std::unique_ptr<FillGaps>> Make(const nlohmann::json& spec, const arrow::Schema& input,
                                                const OperatorContext& context);

  Result<Progress> process(Batch batch, Output& out) override;
  Result<Progress> resume(Output& out) override { return emit(out); }
  Result<Progress> advance(int port, Timestamp to, Output& out) override;

  bool stateful() const override { return true; }
  Status restore(const std::shared_ptr<arrow::RecordBatch>& rows) override;
  int64_t state_bytes() const override { return bytes_.load(std::memory_order_relaxed); }

 protected:
  Result<StateRows> state_changes(bool full) override;

 private:
  // Payload of the table.
  struct Key {
    Timestamp last;   // end of its last window up to done_, or kNone
    Timestamp until;  // end of the last window for which it is given a row
    int64_t waiting;  // windows of it that wait
    HeldRow kept;     // of the row of `last`
  };
  // A row of a window after done_.
  struct Waiting {
    std::byte* payload;
    HeldRow kept;
    bool saved;  // a checkpoint has it
  };
  // The window whose end has been passed, while keys are given their rows.
  struct Closing {
    Timestamp end = 0;
    StateTable::Scan scan;
  };

  static constexpr Timestamp kNone = kWatermarkMin;
  static Key* KeyOf(std::byte* payload) { return reinterpret_cast<Key*>(payload); }

  FillGaps(KeyColumns keys, RowTime time, const WindowSpec& window, Fillers fillers,
           const OperatorContext& context);

  bool is_end(Timestamp end) const { return panes_.first_end(panes_.pane(end - 1)) == end; }
  Status wait(const Batch& batch, const std::vector<Timestamp>& times);
  Result<Progress> emit(Output& out);
  std::optional<Timestamp> next_end() const;
  Status take_rows(Timestamp end);
  Status set_last(std::byte* payload, Timestamp end, Timestamp until, HeldRow kept);
  Status fill(const std::vector<std::byte*>& payloads, Output& out);
  Status forget(std::byte* payload);

  Result<std::shared_ptr<arrow::RecordBatch>> saved(const std::vector<std::byte*>& payloads,
                                                    const std::vector<Timestamp>& ends,
                                                    const std::vector<HeldRow>& kept) const;
  Status save_waiting(bool full, StateRows* out);
  Status take_restored(const arrow::RecordBatch& rows, const std::vector<int32_t>& which);
  Status settle();
  Status compact();
  void count_bytes();

  const KeyColumns keys_;
  const RowTime time_;
  const Panes panes_;
  int64_t windows_ = 1;  // after the last one with a row
  const Fillers fillers_;
  arrow::MemoryPool* const pool_;
  std::shared_ptr<arrow::Schema> saved_schema_;
  HeldRows rows_;
  std::unique_ptr<StateTable> table_;
  int64_t active_ = 0;  // keys with a last window
  std::map<Timestamp, std::vector<Waiting>> waiting_;
  std::unique_ptr<Closing> closing_;
  bool settled_ = true;  // not so while state is restored
  Timestamp due_ = kWatermarkMin;
  Timestamp done_ = kWatermarkMin;
  Timestamp noted_ = kWatermarkMin;  // done_ of the last snapshot
  EncodedKeys encoded_;
  std::atomic<int64_t> bytes_{0};
};

}  // namespace frazil
