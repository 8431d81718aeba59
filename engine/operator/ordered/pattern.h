#pragma once

#include <arrow/array.h>

#include <atomic>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expr/expr.h"
#include "operator/batch_function.h"
#include "operator/operator.h"
#include "operator/ordered/keyed_state.h"
#include "operator/ordered/open_matches.h"
#include "operator/ordered/shared_rows.h"
#include "operator/time/row_time.h"

namespace frazil {

// The keys, `match_start`, `match_end`, then the columns of each step.
Result<std::shared_ptr<arrow::Schema>> PatternSchema(const nlohmann::json& spec, const arrow::Schema& input);

// Finds rows of a key that follow one another: each row that is the first step begins a match, which takes,
// for each further step, the next row that is it. A match is given with its last step; or, if there is
// something that may not come behind that, when its time is over. It is none any more when its time is over
// before that, or by a row that may not come between two of its steps. Behind a Reorder.
//
// As a checkpoint the state is rows of (hash, key, starts, taken, rows): the open matches of a key, the
// earliest first, with when they began (us), how many steps they have taken, and the rows of these, match by
// match. A key without matches is gone.
class Pattern : public Operator {
 public:
  // Reads {"keys","time","within_us","open_max","steps":[{"name","when":EXPR,"without":[EXPR],"columns":
  // [[input, output]]}]}; `without` is what may not come behind the step and before the next one.
  static Result<std::unique_ptr<Pattern>> Make(const nlohmann::json& spec, const arrow::Schema& input,
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
  struct Step {
    std::string name;
    BoundExpr when;
    std::vector<BoundExpr> without;
    std::vector<int> columns;  // of held rows
  };
  // Which steps a row is, and behind which it may not come; bit by bit.
  struct Marks {
    uint32_t is = 0;
    uint32_t without = 0;
  };
  // Keys as they are written to a checkpoint.
  struct Saving;

  Pattern(KeyColumns keys, RowTime time, std::vector<Step> steps, int64_t within,
          std::shared_ptr<arrow::Schema> held, const OperatorContext& context);

  Status put_in_order();
  Result<std::vector<Marks>> marks(const Batch& batch) const;
  Status find(const std::vector<Marks>& marks, std::vector<std::byte*>* payloads);
  Status hold(const Batch& batch, const std::vector<Marks>& marks, std::vector<SharedRows::Id>* ids);
  Status walk(const Batch& batch, const std::vector<Timestamp>& times, const std::vector<Marks>& marks);
  Status expire(Timestamp now);
  Status forget_empty();
  Result<Progress> emit(Output& out);
  Result<Batch> made(size_t from, size_t to) const;
  Status save(std::string_view key, uint64_t hash, const std::byte* payload, Saving* saving) const;
  Result<std::shared_ptr<arrow::RecordBatch>> finish(Saving* saving) const;
  Status check_saved(const arrow::ListArray& starts, const arrow::ListArray& taken,
                     const arrow::ListArray& rows, int64_t key) const;
  Status put(const std::vector<std::string_view>& names, const arrow::ListArray& starts,
             const arrow::ListArray& taken, const std::vector<SharedRows::Id>& ids);
  void count_bytes();

  const KeyColumns keys_;
  const RowTime time_;
  const std::vector<Step> steps_;
  int64_t open_max_ = 0;  // matches of a key
  arrow::MemoryPool* const pool_;
  std::vector<int> held_columns_;  // of the input
  int key_count_ = 0;              // held rows have the keys first
  std::shared_ptr<arrow::Schema> output_, saved_schema_;
  SharedRows rows_;
  OpenMatches matches_;
  std::unique_ptr<StateTable> table_;
  bool in_order_ = true;             // not so while state is restored
  std::vector<std::byte*> touched_;  // keys that may have no match any more
  std::vector<OpenMatches::Complete> complete_;
  size_t given_ = 0;  // of them
  Timestamp due_ = kWatermarkMin;
  EncodedKeys encoded_;
  std::atomic<int64_t> bytes_{0};
};

}  // namespace frazil
