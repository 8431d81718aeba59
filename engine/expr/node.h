#pragma once

#include <arrow/compute/exec.h>
#include <arrow/datum.h>
#include <arrow/record_batch.h>
#include <arrow/scalar.h>
#include <arrow/type.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"

namespace frazil::expr {

struct Node;
using NodePtr = std::shared_ptr<const Node>;
using Datum = arrow::Datum;
using ExecContext = arrow::compute::ExecContext;
using TypePtr = std::shared_ptr<arrow::DataType>;

// Computes the values of `rows` rows. Each argument, like the result, is an array of that length or a scalar
// that stands for all rows. Pure, and called by several threads at once.
using Kernel =
    std::function<Result<Datum>(const std::vector<Datum>& args, int64_t rows, ExecContext* context)>;

// The same for functions that do not compute every argument for every row: they evaluate node.args
// themselves.
using LazyKernel =
    std::function<Result<Datum>(const Node& node, const arrow::RecordBatch& batch, ExecContext* context)>;

// A typed expression: a column (column >= 0), a literal (literal != null), or a call. Immutable once bound.
struct Node {
  TypePtr type;
  bool nullable = true;
  bool fallible = false;  // evaluating it may end in an error that the data causes
  bool weak = false;      // a literal written without a type: it takes the type of what it meets

  int column = -1;
  std::shared_ptr<arrow::Scalar> literal;
  std::vector<NodePtr> args;
  Kernel kernel;
  LazyKernel lazy;

  std::string text;              // as the user would write it
  const char* advice = nullptr;  // what to do when the data causes an error
};

// Values of the node for all rows of the batch, as an array or a scalar. The batch has the bound schema. An
// error that the data causes is a DataError that shows the expression and the arguments of its first bad row.
Result<Datum> EvaluateNode(const Node& node, const arrow::RecordBatch& batch, ExecContext* context);

// The same as an array.
Result<std::shared_ptr<arrow::Array>> EvaluateArray(const Node& node, const arrow::RecordBatch& batch,
                                                    ExecContext* context);

// Values of the node for the rows in which `mask` is true, null in the others; the node is not computed
// there.
Result<Datum> EvaluateWhere(const Node& node, const arrow::RecordBatch& batch,
                            const arrow::BooleanArray& mask, ExecContext* context);

// An array of `rows` values of an array or a scalar.
Result<std::shared_ptr<arrow::Array>> ArrayOf(const Datum& datum, int64_t rows, ExecContext* context);

// A value as shown in errors: strings quoted, long ones cut.
std::string ValueText(const arrow::Scalar& scalar);

}  // namespace frazil::expr
