#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "operator/batch_function.h"
#include "operator/operator.h"
#include "operator/ordered/keyed_state.h"
#include "operator/ordered/ordered_rows.h"
#include "operator/time/row_time.h"
#include "state/held_rows.h"

namespace frazil {

// Keeps the last row of each group of rows of a key: a group begins with a row that no group has, and has the
// rows that are less than `within` behind that one. These are the groups whose first rows Deduplicate keeps.
// A group's row is given when the watermark is `within` behind its beginning, or when the next group of the
// key begins. Behind a Reorder.
//
// As a checkpoint the state is rows of (hash, key, begin, done, ord, row): the last row so far of each open
// group, by key, and a row for every worker with the time up to which groups have been given (done, us).
class DeduplicateLast : public Operator {
 public:
  // Reads {"keys","time","within_us"}.
  static Result<std::unique_ptr<DeduplicateLast>> Make(const nlohmann::json& spec,
                                                       const std::shared_ptr<arrow::Schema>& input,
                                                       const OperatorContext& context);

  Result<Progress> process(Batch batch, Output& out) override;
  Result<Progress> resume(Output& out) override { return emit(out); }
  Result<Progress> advance(int port, Timestamp to, Output& out) override;

  bool stateful() const override { return true; }
  Status freeze(bool full) override;
  Result<bool> save(int64_t rows_max, StateRows* rows) override;
  Status restore(const std::shared_ptr<arrow::RecordBatch>& rows) override;
  int64_t state_bytes() const override { return bytes_.load(std::memory_order_relaxed); }

 private:
  // Payload of the table.
  struct Group {
    Timestamp begin;
    HeldRow last;
  };
  // A group in the order of beginnings. It stands for nothing if the table has another beginning by now.
  struct Opened {
    Timestamp begin;
    std::byte* payload;
  };

  DeduplicateLast(KeyColumns keys, RowTime time, int64_t within, std::unique_ptr<StateTable> table,
                  const std::shared_ptr<arrow::Schema>& input, const OperatorContext& context);

  bool due(Timestamp begin, Timestamp now) const;
  Status put_in_order();
  Result<Progress> emit(Output& out);
  Status save_rows(const std::vector<std::byte*>& payloads);
  Status compact();
  void count_bytes();

  const KeyColumns keys_;
  const RowTime time_;
  const int64_t within_;  // us
  arrow::MemoryPool* const pool_;
  const std::shared_ptr<arrow::Schema> input_, saved_schema_;
  HeldRows rows_;
  std::unique_ptr<StateTable> table_;
  std::deque<Opened> opened_;
  bool in_order_ = true;          // opened_ is; not so while state is restored
  std::vector<HeldRow> closing_;  // to be given
  size_t given_ = 0;              // of them
  Timestamp due_ = kWatermarkMin;
  Timestamp done_ = kWatermarkMin;
  Timestamp noted_ = kWatermarkMin;  // done_ of the last snapshot
  StateRows saved_;                  // made, and not yet given
  EncodedKeys encoded_;
  std::atomic<int64_t> bytes_{0};
};

}  // namespace frazil
