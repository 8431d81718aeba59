#pragma once

#include <arrow/type.h>

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "operator/batch_function.h"
#include "operator/operator.h"
#include "operator/ordered/keyed_state.h"
#include "operator/time/accumulators.h"
#include "operator/time/row_time.h"

namespace frazil {

// The keys, then one column per aggregate, then the kind.
Result<std::shared_ptr<arrow::Schema>> GroupSchema(const nlohmann::json& spec, const arrow::Schema& input);

// Aggregates all rows of a key as they come, and gives what that changes: a new key is an insert, a changed
// result an update (both rows); results that stay the same are not given. Behind an exchange by its keys.
// What it gives last for a key does not depend on the order or the batches in which rows come.
//
// Without `early` each batch of input is given as one batch of changes. With it changes are given when the
// watermark passes a multiple of `early`, and when it passes the end of a window.
//
// Keys may have the bounds of a window. A group is forgotten, without a word, when the watermark has passed
// the end of its window by the lateness: the gate lets no row of it through then. Groups without a window are
// kept for ever.
//
// Of rows that change (their input has kinds), those that are taken back are taken out of the aggregates
// again, which must be able to; what comes last is the same as of the rows that are left. A group without any
// is given as a delete and forgotten. Such an input has both rows of an update, in any place; a row is taken
// back behind the one that gave it. It has no windows and no `early`.
//
// As a checkpoint the state is rows of (hash, key, what, end, state, rows, accumulators, accumulators as
// given): what is 0 a group, 1 a window's end up to which groups are forgotten, 2 a group that is gone. How
// many rows there are only of rows that change, the last ones only with `early`.
class GroupAggregate : public Operator {
 public:
  // Reads {"keys","aggregates","time": {"column","minus_us"} | null,"window_end": column |
  // null,"lateness_us", "early_us": n | null}. `time` is there if the order of rows matters: they have order
  // marks then.
  static Result<std::unique_ptr<GroupAggregate>> Make(const nlohmann::json& spec, const arrow::Schema& input,
                                                      const OperatorContext& context);
  ~GroupAggregate() override;

  Result<Progress> process(Batch batch, Output& out) override;
  Result<Progress> advance(int port, Timestamp to, Output& out) override;
  Result<Progress> resume(Output& out) override { return emit_due(out); }

  bool stateful() const override { return true; }
  Status freeze(bool full) override;
  Result<bool> save(int64_t rows_max, StateRows* rows) override;
  Status restore(const std::shared_ptr<arrow::RecordBatch>& rows) override;
  int64_t state_bytes() const override { return bytes_.load(std::memory_order_relaxed); }

 private:
  // Payload of a table: this, of rows that change how many there are (int64), the accumulators, and with
  // `early` the accumulators as they were given last.
  struct Header {
    uint8_t given;    // consumers know the key
    uint8_t waiting;  // has changes that are not given: it is among those of its table
    uint8_t touched;  // by the batch at hand
  };
  static constexpr int32_t kHeaderBytes = 8;

  // The groups of the windows with one end.
  struct Groups {
    std::shared_ptr<StateTable> table;
    std::vector<std::byte*> waiting;  // with `early`
    bool saved = false;
  };
  // Groups whose changes are to be given.
  struct Due {
    Timestamp end = 0;
    std::vector<std::byte*> groups;
    size_t next = 0;
  };
  using Payloads = std::vector<std::byte*>;

  GroupAggregate(KeyColumns keys, Accumulators accumulators, bool changing, const OperatorContext& context)
      : keys_(std::move(keys)),
        accumulators_(std::move(accumulators)),
        changing_(changing),
        pool_(context.pool),
        kept_(context.kept()),
        encoded_(context.pool) {}

  static Header* HeaderOf(std::byte* payload) { return reinterpret_cast<Header*>(payload); }
  static int64_t& RowsOf(std::byte* payload) { return *reinterpret_cast<int64_t*>(payload + kHeaderBytes); }
  int32_t header_bytes() const { return kHeaderBytes + (changing_ ? 8 : 0); }
  std::byte* accumulators_of(std::byte* payload) const { return payload + header_bytes(); }
  std::byte* given_of(std::byte* payload) const { return accumulators_of(payload) + accumulators_.width(); }
  Payloads all(const Payloads& groups, bool given) const;

  Result<Groups*> groups(Timestamp end);
  void create(std::byte* payload);
  void destroy(std::byte* payload);
  void destroy(StateTable* table);
  Status find(const Batch& batch);
  Status find_some(Timestamp end, const std::vector<int32_t>& rows);
  Status add(const Batch& batch);
  Status change(const Batch& batch);
  // Takes groups without rows away, once consumers know it.
  Status bury(const Payloads& groups);
  bool dead(std::byte* payload) const { return changing_ && RowsOf(payload) == 0; }
  // "aggregating user=ada"
  Result<std::string> where(std::byte* payload) const;
  Payloads touched() const;
  Result<arrow::ArrayVector> finish(const Payloads& groups, const Payloads& accumulators);
  // The changes of groups from the results they had (those that are given, in their order) to those they
  // have.
  Result<Batch> changes(const Payloads& groups, const arrow::ArrayVector& before,
                        const arrow::ArrayVector& after);
  Status note_given(const Payloads& groups);
  void make_due(bool all);
  Result<Progress> emit_due(Output& out);
  void forget();
  void count_bytes();
  Status save_groups(const StateTable& table, Timestamp end, const Payloads& groups);
  Status save_gone(const StateTable& table, const Payloads& groups);
  Result<std::shared_ptr<arrow::RecordBatch>> note() const;
  // Columns of the state before the accumulators.
  int saved_columns() const { return changing_ ? 6 : 5; }
  Status restore_groups(const arrow::RecordBatch& rows, Timestamp end);
  Status restore_gone(const arrow::RecordBatch& rows);
  Status restore_keys(const arrow::RecordBatch& rows);

  const KeyColumns keys_;
  Accumulators accumulators_;
  const bool changing_;  // rows may be taken back
  std::optional<RowTime> time_;
  int end_column_ = -1;
  int64_t lateness_ = 0;          // us
  std::optional<int64_t> early_;  // us
  arrow::MemoryPool* const pool_;
  arrow::MemoryPool* const kept_;  // of what stays
  std::shared_ptr<arrow::Schema> output_, saved_schema_;
  std::map<Timestamp, Groups> groups_;  // by the end of their windows; kWatermarkMax: without
  std::deque<Due> due_;
  Timestamp watermark_ = kWatermarkMin;
  Timestamp forgotten_ = kWatermarkMin;             // windows that end by then are
  bool forgot_ = false;                             // since the last freeze
  std::deque<std::shared_ptr<StateTable>> saving_;  // that are frozen; groups of some may be forgotten since
  StateRows saved_;                                 // made, and not yet given
  // Of the batch at hand.
  EncodedKeys encoded_;
  Payloads payloads_;
  std::vector<std::string_view> names_;
  std::atomic<int64_t> bytes_{0};
};

}  // namespace frazil
