#pragma once

#include <arrow/memory_pool.h>

#include "expr/expr.h"
#include "operator/operator.h"

namespace frazil {

// The rows of the batch that the mask (without nulls) selects, with all columns and marks. The batch itself
// if these are all; a slice without a copy if they stand in one piece; maybe no rows.
Result<Batch> KeepRows(const Batch& batch, const std::shared_ptr<arrow::BooleanArray>& mask,
                       arrow::MemoryPool* pool);

// The rows for which the predicate is true (not false, not null), as KeepRows gives them; of changes as
// KeepChanges does.
Result<Batch> FilterRows(const BoundExpr& predicate, const Batch& batch, arrow::MemoryPool* pool,
                         bool whole = true);

// Keeps the rows for which a predicate is true; hidden columns stay, and the origin of the batch. A batch of
// which nothing is left is not passed on.
class Filter : public Operator {
 public:
  // The predicate is bound to the input's schema and gives bool. The pool outlives the operator. `whole`: of
  // changes, see KeepChanges.
  Filter(BoundExpr predicate, arrow::MemoryPool* pool, bool whole = true)
      : predicate_(std::move(predicate)), pool_(pool), whole_(whole) {}

  Result<Progress> process(Batch batch, Output& out) override;

 private:
  BoundExpr predicate_;
  arrow::MemoryPool* pool_;
  const bool whole_;
};

// Binds a predicate; a TypeMismatch if it is not bool.
Result<BoundExpr> BindPredicate(const nlohmann::json& expression, const arrow::Schema& schema,
                                const std::string& where = "the stream");

}  // namespace frazil
