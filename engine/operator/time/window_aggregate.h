#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "operator/batch_function.h"
#include "operator/operator.h"
#include "operator/time/accumulators.h"
#include "operator/time/hopping_merge.h"
#include "operator/time/window.h"
#include "operator/time/window_rows.h"
#include "state/key_codec.h"
#include "state/table.h"

namespace frazil {

// The second half of a windowed aggregate, behind the exchange: merges what WindowPartial gives, and emits
// each key of a window once, when the watermark has passed its end by the lateness. For tumbling, hopping and
// cumulating windows.
//
// State is a table by key for each pane (and floor, see WindowPartial); a closed one is dropped whole. A
// window that hops is put together from its panes when it closes (HoppingMerge); one that cumulates has a
// running table per period.
//
// As a checkpoint the state is rows of (hash, what, pane, floor, key, accumulators): what is 0 a row, 1 a
// table that was dropped, 2 the time up to which windows are closed (as pane).
class WindowAggregate : public Operator {
 public:
  // Reads {"keys","window","lateness_us","aggregates"}; the input has PartialSchema.
  static Result<std::unique_ptr<WindowAggregate>> Make(const nlohmann::json& spec, const arrow::Schema& input,
                                                       const OperatorContext& context);

  Result<Progress> process(Batch batch, Output& out) override;
  Result<Progress> resume(Output& out) override { return emit(out); }
  Result<Progress> advance(int port, Timestamp to, Output& out) override;

  bool stateful() const override { return true; }
  Status freeze(bool full) override;
  Result<bool> save(int64_t rows_max, StateRows* rows) override;
  Status restore(const std::shared_ptr<arrow::RecordBatch>& rows) override;
  int64_t state_bytes() const override { return bytes_.load(std::memory_order_relaxed); }

  ~WindowAggregate() override;

 private:
  using Name = std::pair<Timestamp, Timestamp>;  // pane and floor
  struct Pane {
    std::unique_ptr<StateTable> table;
    bool saved = false;  // a checkpoint has rows of it
  };
  // A table that is frozen. A window may close before all of it is saved: then it is kept here.
  struct Saving {
    StateTable* table = nullptr;
    std::unique_ptr<StateTable> closed;
  };
  // The window that is being emitted.
  struct Emission {
    Timestamp end = 0;
    const StateTable* table = nullptr;  // keys, and their accumulators unless they are of hopping_
    std::unique_ptr<StateTable> made;   // owns `table` if it was put together here
    bool merged = false;                // by hopping_
    StateTable::Scan scan;
  };

  WindowAggregate(WindowSpec window, Accumulators accumulators, KeyCodec keys, const OperatorContext& context)
      : window_(window),
        panes_(window),
        accumulators_(std::move(accumulators)),
        keys_(std::move(keys)),
        pool_(context.pool),
        kept_(context.kept()),
        encoded_(context.pool) {}

  Result<Pane*> pane(const Name& name);
  bool possible(const Name& name) const;
  Result<std::unique_ptr<StateTable>> table(bool tracked) const;
  // Adds saved accumulators to the selected keys' rows.
  Status merge(StateTable* into, const EncodedKeys& keys, const std::vector<int32_t>& rows,
               const arrow::ArrayVector& saved);
  Status merge(StateTable* into, const StateTable& from);
  Status overwrite(StateTable* into, const std::vector<std::string_view>& keys,
                   const arrow::ArrayVector& saved);

  Result<Progress> emit(Output& out);
  std::optional<Timestamp> next_end() const;
  Status begin(Timestamp end);
  Status begin_hopping(Timestamp end);
  Status begin_cumulating(Timestamp end);
  Result<Batch> slice(const std::vector<std::byte*>& rows);
  void finish_window();
  void drop(std::map<Name, Pane>::iterator pane);
  void destroy(StateTable* table);
  void count_bytes();

  Status save_rows(const Name& name, const StateTable& table, std::span<const StateTable::Change> rows);
  Result<std::shared_ptr<arrow::RecordBatch>> notes() const;

  const WindowSpec window_;
  const Panes panes_;
  int64_t lateness_ = 0;  // us
  std::shared_ptr<arrow::Schema> output_, saved_schema_;
  size_t key_count_ = 0;
  Accumulators accumulators_;
  KeyCodec keys_;
  arrow::MemoryPool* const pool_;
  arrow::MemoryPool* const kept_;  // of what stays
  EncodedKeys encoded_;
  std::map<Name, Pane> tables_;
  std::unique_ptr<HoppingMerge> hopping_;  // of windows that hop
  std::unique_ptr<Emission> emission_;
  Timestamp due_ = kWatermarkMin;     // windows that end by then are to be closed
  Timestamp closed_ = kWatermarkMin;  // and by then are
  std::vector<Name> dropped_;         // tables that a checkpoint has and that are gone
  bool emitted_ = false;              // a window, since the last freeze
  std::deque<Saving> saving_;
  StateRows saved_;  // made, and not yet given
  std::atomic<int64_t> bytes_{0};
};

}  // namespace frazil
