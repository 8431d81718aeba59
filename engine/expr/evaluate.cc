#include <arrow/array.h>
#include <arrow/array/util.h>
#include <arrow/compute/api_vector.h>
#include <arrow/compute/cast.h>

#include <algorithm>

#include "base/check.h"
#include "expr/expr.h"
#include "expr/node.h"
#include "expr/types.h"

namespace frazil::expr {
namespace {

constexpr size_t kValueTextBytes = 80;  // bytes of one value shown in an error

std::vector<Datum> SliceArgs(const std::vector<Datum>& args, int64_t offset, int64_t length) {
  std::vector<Datum> slices;
  for (const Datum& arg : args) {
    slices.push_back(arg.is_array() ? Datum(arg.array()->Slice(offset, length)) : arg);
  }
  return slices;
}

// The first row for which the kernel fails, by bisection: it fails on a prefix exactly if the prefix holds a
// bad row.
int64_t FirstBadRow(const Node& node, const std::vector<Datum>& args, int64_t rows, ExecContext* context) {
  int64_t good = 0;
  int64_t bad = rows;
  while (bad - good > 1) {
    const int64_t middle = good + (bad - good) / 2;
    if (node.kernel(SliceArgs(args, good, middle - good), middle - good, context).ok()) {
      good = middle;
    } else {
      bad = middle;
    }
  }
  return good;
}

Status DataError(const Node& node, const std::vector<Datum>& args, int64_t rows, const Status& cause,
                 ExecContext* context) {
  if (cause.IsOutOfMemory() || cause.IsCancelled() || !NameOf(cause).empty()) return cause;
  const int64_t row = FirstBadRow(node, args, rows, context);
  const auto refused = node.kernel(SliceArgs(args, row, 1), 1, context);
  std::string values;
  for (size_t i = 0; i < args.size(); ++i) {
    if (node.args[i]->literal != nullptr) continue;
    std::shared_ptr<arrow::Scalar> value = args[i].is_scalar() ? args[i].scalar() : nullptr;
    if (value == nullptr) {
      FZ_ASSIGN(value, args[i].make_array()->GetScalar(row));
    }
    values += (values.empty() ? "" : ", ") + node.args[i]->text + " = " + ValueText(*value);
  }
  std::string text = "evaluating " + node.text + ": " + (refused.ok() ? cause : refused.status()).message();
  if (!values.empty()) text += "\nfirst bad row: " + values;
  if (node.advice != nullptr) text += std::string("\n") + node.advice;
  return NamedError("DataError", std::move(text));
}

void CollectColumns(const Node& node, std::vector<bool>* used) {
  if (node.column >= 0) (*used)[static_cast<size_t>(node.column)] = true;
  for (const NodePtr& arg : node.args) CollectColumns(*arg, used);
}

// The rows of the batch in which mask is true. Columns that the node does not read get the right length, no
// more.
Result<std::shared_ptr<arrow::RecordBatch>> SelectRows(const Node& node, const arrow::RecordBatch& batch,
                                                       const arrow::BooleanArray& mask, int64_t selected,
                                                       ExecContext* context) {
  std::vector<bool> used(static_cast<size_t>(batch.num_columns()), false);
  CollectColumns(node, &used);
  std::vector<std::shared_ptr<arrow::Array>> columns;
  for (int i = 0; i < batch.num_columns(); ++i) {
    if (!used[static_cast<size_t>(i)]) {
      columns.push_back(batch.column(i)->Slice(0, selected));
      continue;
    }
    FZ_ASSIGN(Datum filtered, arrow::compute::Filter(batch.column(i), Datum(mask.data()),
                                                     arrow::compute::FilterOptions::Defaults(), context));
    columns.push_back(filtered.make_array());
  }
  return arrow::RecordBatch::Make(batch.schema(), selected, std::move(columns));
}

// Where each row of the mask finds its value among the selected ones; null for the others.
Result<std::shared_ptr<arrow::Array>> ScatterIndices(const arrow::BooleanArray& mask, ExecContext* context) {
  arrow::Int32Builder indices(context->memory_pool());
  FZ_TRY(indices.Reserve(mask.length()));
  int32_t next = 0;
  for (int64_t i = 0; i < mask.length(); ++i) {
    if (mask.IsValid(i) && mask.Value(i)) {
      indices.UnsafeAppend(next++);
    } else {
      indices.UnsafeAppendNull();
    }
  }
  return indices.Finish();
}

}  // namespace

std::string ValueText(const arrow::Scalar& scalar) {
  if (!scalar.is_valid) return "null";
  std::string text = scalar.ToString();
  const bool quoted = arrow::is_base_binary_like(scalar.type->id());
  if (quoted) text = static_cast<const arrow::BaseBinaryScalar&>(scalar).value->ToString();
  if (text.size() > kValueTextBytes) {
    size_t end = kValueTextBytes;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80)
      --end;  // not inside a character
    text = text.substr(0, end) + "...";
  }
  return quoted ? "'" + text + "'" : text;
}

Result<std::shared_ptr<arrow::Array>> ArrayOf(const Datum& datum, int64_t rows, ExecContext* context) {
  if (datum.is_array()) return datum.make_array();
  FZ_CHECK(datum.is_scalar());
  if (datum.type()->id() == arrow::Type::NA) return std::make_shared<arrow::NullArray>(rows);
  return arrow::MakeArrayFromScalar(*datum.scalar(), rows, context->memory_pool());
}

Result<Datum> EvaluateNode(const Node& node, const arrow::RecordBatch& batch, ExecContext* context) {
  if (node.column >= 0) {
    FZ_CHECK(node.column < batch.num_columns());
    const std::shared_ptr<arrow::Array>& column = batch.column(node.column);
    FZ_CHECK(column->type().get() == node.type.get() || column->type()->Equals(*node.type));
    return Datum(column);
  }
  if (node.literal != nullptr) return Datum(node.literal);
  if (node.lazy) return node.lazy(node, batch, context);
  std::vector<Datum> args;
  args.reserve(node.args.size());
  for (const NodePtr& arg : node.args) {
    FZ_ASSIGN(Datum value, EvaluateNode(*arg, batch, context));
    args.push_back(std::move(value));
  }
  Result<Datum> result = node.kernel(args, batch.num_rows(), context);
  if (!result.ok()) return DataError(node, args, batch.num_rows(), result.status(), context);
  return result;
}

Result<std::shared_ptr<arrow::Array>> EvaluateArray(const Node& node, const arrow::RecordBatch& batch,
                                                    ExecContext* context) {
  FZ_ASSIGN(Datum value, EvaluateNode(node, batch, context));
  return ArrayOf(value, batch.num_rows(), context);
}

Result<Datum> EvaluateWhere(const Node& node, const arrow::RecordBatch& batch,
                            const arrow::BooleanArray& mask, ExecContext* context) {
  const int64_t selected = mask.true_count();
  if (selected == batch.num_rows()) return EvaluateNode(node, batch, context);
  if (selected == 0) return Datum(arrow::MakeNullScalar(node.type));
  FZ_ASSIGN(auto rows, SelectRows(node, batch, mask, selected, context));
  FZ_ASSIGN(auto values, EvaluateArray(node, *rows, context));
  FZ_ASSIGN(auto indices, ScatterIndices(mask, context));
  return arrow::compute::Take(Datum(values), Datum(indices), arrow::compute::TakeOptions::NoBoundsCheck(),
                              context);
}

}  // namespace frazil::expr

namespace frazil {

Result<std::shared_ptr<arrow::Array>> BoundExpr::Evaluate(const arrow::RecordBatch& batch,
                                                          arrow::MemoryPool* pool) const {
  if (node_->column >= 0) {
    FZ_CHECK(node_->column < batch.num_columns());
    return batch.column(node_->column);
  }
  arrow::compute::ExecContext context(pool);
  context.set_use_threads(false);
  return expr::EvaluateArray(*node_, batch, &context);
}

}  // namespace frazil
