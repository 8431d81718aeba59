#pragma once

#include <memory>
#include <string>
#include <vector>

#include "expr/expr.h"
#include "operator/batch_function.h"
#include "operator/failed_rows.h"
#include "operator/operator.h"

namespace frazil {

// A function whose errors do not end the run (FailedRows) gives a batch of one row: `rows`, a list of
// structs, has what it made of the rows that it could take (of one that adds a column: a row for each,
// whatever stands there), and `failed` the others: their `row` (int64, rising) and `reason` (utf8).

// Gives each batch's visible columns to a user's function and passes on what it returns. Hidden columns end
// here.
class MapBatches : public FailingStep {
 public:
  MapBatches(std::string reference, BatchFunction function, std::unique_ptr<FailedRows> failed = nullptr)
      : FailingStep(std::move(failed)), reference_(std::move(reference)), function_(std::move(function)) {}
  Result<Progress> process(Batch batch, Output& out) override;

 private:
  const std::string reference_;
  const BatchFunction function_;
};

// Adds one column, or puts it in the place of one of its name: what a user's function makes of its arguments.
// Hidden columns pass through.
class CallUdf : public FailingStep {
 public:
  struct Spec {
    std::string reference;
    BatchFunction function;               // takes the arguments as columns, gives one column
    std::vector<BoundExpr> arguments;     // bound to the input
    std::shared_ptr<arrow::Field> field;  // what is added
    bool whole = true;                    // of changes, see KeepChanges
    std::unique_ptr<FailedRows> failed;
    bool kinds = false;  // of changes, the function is given their kinds behind the arguments
  };
  // The pool outlives the operator.
  CallUdf(Spec spec, arrow::MemoryPool* pool)
      : FailingStep(std::move(spec.failed)), spec_(std::move(spec)), pool_(pool) {}
  Result<Progress> process(Batch batch, Output& out) override;

 private:
  const Spec spec_;
  arrow::MemoryPool* const pool_;
};

// The schema of the input with the UDF's column; where it stands does not depend on hidden columns.
Result<std::shared_ptr<arrow::Schema>> UdfSchema(const arrow::Schema& input,
                                                 const std::shared_ptr<arrow::Field>& column);

}  // namespace frazil
