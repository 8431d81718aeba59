#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "operator/batch_function.h"
#include "operator/operator.h"
#include "operator/ordered/keyed_state.h"
#include "operator/time/row_time.h"

namespace frazil {

// Keeps a row unless one of the same key was kept whose time is less than `within` apart. Behind a Reorder
// rows come in the order of their time: that is keep="first", and what is kept does not depend on how rows
// arrived. Directly behind the exchange it is keep="any": rows go on at once, and of several that are near
// each other the one that came first is kept.
//
// State is when rows were kept, in a table by key for each stretch of time as long as `within`: a key has at
// most one kept row in each. A table is dropped when the watermark is so far that none of its rows can hold
// another back; nothing else depends on when that is.
//
// As a checkpoint the state is rows of (hash, key, kept): kept is the time, in us.
class Deduplicate : public Operator {
 public:
  // Reads {"keys","time","within_us"}.
  static Result<std::unique_ptr<Deduplicate>> Make(const nlohmann::json& spec, const arrow::Schema& input,
                                                   const OperatorContext& context);

  Result<Progress> process(Batch batch, Output& out) override;
  Result<Progress> advance(int port, Timestamp to, Output& out) override;

  bool stateful() const override { return true; }
  Status freeze(bool full) override;
  Result<bool> save(int64_t rows_max, StateRows* rows) override;
  Status restore(const std::shared_ptr<arrow::RecordBatch>& rows) override;
  int64_t state_bytes() const override { return bytes_.load(std::memory_order_relaxed); }

 private:
  Deduplicate(KeyColumns keys, RowTime time, int64_t within, const OperatorContext& context)
      : keys_(std::move(keys)),
        time_(time),
        within_(within),
        pool_(context.pool),
        kept_(context.kept()),
        encoded_(context.pool) {}

  // Rows [from, to) of the batch at hand, all of one stretch: sets keep[i] of those that are kept.
  Status take(int64_t stretch, const std::vector<Timestamp>& times, size_t from, size_t to,
              std::vector<uint8_t>* keep);
  Result<StateTable*> table(int64_t stretch);
  Status save_rows(const StateTable& table, const std::vector<std::byte*>& payloads);
  void count_bytes();

  const KeyColumns keys_;
  const RowTime time_;
  const int64_t within_;  // us
  arrow::MemoryPool* const pool_;
  arrow::MemoryPool* const kept_;                          // of what stays
  std::map<int64_t, std::shared_ptr<StateTable>> tables_;  // by time / within
  std::deque<std::shared_ptr<StateTable>> saving_;         // that are frozen, though they may be gone since
  StateRows saved_;                                        // made, and not yet given
  // Of the batch at hand, kept for their memory.
  EncodedKeys encoded_;
  std::vector<int32_t> rows_;
  std::vector<std::byte*> found_;
  std::vector<uint8_t> inserted_;
  std::atomic<int64_t> bytes_{0};
};

}  // namespace frazil
