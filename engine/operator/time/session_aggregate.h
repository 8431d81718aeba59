#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "operator/batch_function.h"
#include "operator/operator.h"
#include "operator/time/accumulators.h"
#include "operator/time/key_sessions.h"
#include "operator/time/session_timers.h"
#include "operator/time/window_rows.h"
#include "state/key_codec.h"
#include "state/table.h"

namespace frazil {

// The second half of an aggregate over sessions, behind the exchange: merges the runs that SessionPartial
// gives into open sessions, in whatever order they come, and emits each session once, when the watermark is
// past its last row by more than gap and lateness. Its window_end is last + gap, which is its event time too:
// a row at that time still belongs to it, so there is no microsecond to take away.
//
// State is a table by key, see KeySessions. Every open session has one timer, for the time at which it would
// end had it got no more rows since; it is set anew if it did. A timer may outlive its session if that was
// absorbed by another one of the key; it is over by the time that one is.
//
// With "emit": "on_change" it gives changes instead, with each batch: a session is told apart from others of
// its key by its beginning, and one that is absorbed or begins earlier now is a delete. All open sessions are
// known then to who reads it, and nothing is given when they end.
//
// As a checkpoint the state is rows of (hash, what, key, first, last, accumulators): what is 0 the first
// session of a key, before which all that earlier files have of it is forgotten, 1 a further one, 2 a key
// that is gone, 3 the time up to which sessions have been emitted (as first). The sessions of a key are in
// one batch.
class SessionAggregate : public Operator {
 public:
  // Reads {"keys","window","lateness_us","aggregates","emit"}; the input has PartialSchema.
  static Result<std::unique_ptr<SessionAggregate>> Make(const nlohmann::json& spec,
                                                        const arrow::Schema& input,
                                                        const OperatorContext& context);

  Result<Progress> process(Batch batch, Output& out) override;
  Result<Progress> resume(Output& out) override { return emit(out); }
  Result<Progress> advance(int port, Timestamp to, Output& out) override;

  bool stateful() const override { return true; }
  Status freeze(bool full) override;
  Result<bool> save(int64_t rows_max, StateRows* rows) override;
  Status restore(const std::shared_ptr<arrow::RecordBatch>& rows) override;
  int64_t state_bytes() const override { return bytes_.load(std::memory_order_relaxed); }

  ~SessionAggregate() override;

 private:
  SessionAggregate(int64_t gap, Accumulators accumulators, KeyCodec keys, const OperatorContext& context)
      : accumulators_(std::move(accumulators)),
        keys_(std::move(keys)),
        pool_(context.pool),
        kept_(context.kept()),
        encoded_(context.pool),
        sessions_(accumulators_.width(), gap, context.kept()),
        timers_(context.kept()) {}

  Status place(const Batch& batch, std::span<std::byte* const> keys, std::vector<std::byte*>* targets);
  Status merge_absorbed();
  std::vector<std::byte*> touched(std::span<std::byte* const> keys) const;
  Result<Batch> open_rows(std::span<std::byte* const> keys, std::vector<size_t>* owners);
  Status set_timer(std::byte* key, Session* session);
  Status set_timers();

  Result<Progress> emit(Output& out);
  Status take_ended();
  Status look_at(const SessionTimers::Timer& timer);
  Result<Batch> taken_rows() const;
  Status touch_taken();
  Status forget_taken();
  void destroy(std::byte* key);
  void count_bytes();

  Status save_rows(std::span<const StateTable::Change> rows);
  Status save_keys(const std::vector<std::byte*>& keys);
  Status note(const std::vector<std::byte*>& gone, bool emitted);
  Status restore_sessions(const arrow::RecordBatch& rows);
  Status restore_gone(std::string_view key);

  std::shared_ptr<arrow::Schema> output_, saved_schema_;
  int64_t lateness_ = 0;  // us
  size_t key_count_ = 0;
  std::shared_ptr<arrow::Schema> changes_;  // what it gives on change; else null
  Accumulators accumulators_;
  const KeyCodec keys_;
  arrow::MemoryPool* const pool_;
  arrow::MemoryPool* const kept_;  // of what stays
  EncodedKeys encoded_;
  KeySessions sessions_;
  std::unique_ptr<StateTable> table_;
  SessionTimers timers_;
  bool timers_set_ = true;             // false after restore(): then no session has its timer yet
  Timestamp due_ = kWatermarkMin;      // sessions that end before then are to be emitted
  Timestamp emitted_ = kWatermarkMin;  // and before then are
  // Sessions of the batch at hand that were absorbed, and by the session of which key.
  struct Absorbed {
    std::byte* key;
    uint32_t number;
  };
  std::vector<Absorbed> absorbed_;
  // Sessions that are being emitted, and the keys that were looked at for it.
  struct Taken {
    std::byte* key;
    Session* session;
  };
  std::vector<Taken> taken_;
  std::vector<std::byte*> looked_at_;
  StateRows saved_;  // made, and not yet given
  std::atomic<int64_t> bytes_{0};
};

}  // namespace frazil
