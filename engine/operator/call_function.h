#pragma once

#include <memory>
#include <string>
#include <vector>

#include "expr/expr.h"
#include "operator/batch_function.h"
#include "operator/operator.h"

namespace frazil {

// Gives each batch's visible columns to a user's function and passes on what it returns. Hidden columns end
// here.
class MapBatches : public Operator {
 public:
  MapBatches(std::string reference, BatchFunction function)
      : reference_(std::move(reference)), function_(std::move(function)) {}
  Result<Progress> process(Batch batch, Output& out) override;

 private:
  const std::string reference_;
  const BatchFunction function_;
};

// Adds one column, or puts it in the place of one of its name: what a user's function makes of its arguments.
// Hidden columns pass through.
class CallUdf : public Operator {
 public:
  struct Spec {
    std::string reference;
    BatchFunction function;            // takes the arguments as columns, gives one column
    std::vector<BoundExpr> arguments;  // bound to the input
    std::string column;
  };
  // The pool outlives the operator.
  CallUdf(Spec spec, arrow::MemoryPool* pool) : spec_(std::move(spec)), pool_(pool) {}
  Result<Progress> process(Batch batch, Output& out) override;

 private:
  const Spec spec_;
  arrow::MemoryPool* const pool_;
};

// The schema of the input with the UDF's column; where it stands does not depend on hidden columns.
Result<std::shared_ptr<arrow::Schema>> UdfSchema(const arrow::Schema& input,
                                                 const std::shared_ptr<arrow::Field>& column);

}  // namespace frazil
