#pragma once

#include <arrow/memory_pool.h>

#include <vector>

#include "expr/expr.h"
#include "operator/operator.h"

namespace frazil {

// The columns of a projection, bound to its input.
struct Projection {
  std::vector<BoundExpr> columns;
  std::vector<int>
      hidden;  // indices in the input of the hidden columns, which stand behind the computed ones
  EdgeSchema output;
};

// Binds the node's "columns": [["name", EXPR], ...] to the visible columns of the input; its hidden ones pass
// through. Errors: as Bind; ColumnExists for two columns of the same name.
Result<Projection> BindProjection(const nlohmann::json& columns, const EdgeSchema& input,
                                  const std::string& where = "the stream");

// Computes columns; the origin of the batch stays. A plain column is not copied.
class Project : public Operator {
 public:
  // The pool outlives the operator.
  Project(Projection projection, arrow::MemoryPool* pool) : projection_(std::move(projection)), pool_(pool) {}

  Result<Progress> process(Batch batch, Output& out) override;

 private:
  Projection projection_;
  arrow::MemoryPool* pool_;
};

}  // namespace frazil
