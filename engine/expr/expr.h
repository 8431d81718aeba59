#pragma once

#include <nlohmann/json_fwd.hpp>

#include <optional>
#include <string>
#include <string_view>

#include "expr/node.h"

namespace frazil {

// An expression that fits a schema. Immutable, cheap to copy, shared by all threads.
class BoundExpr {
 public:
  explicit BoundExpr(expr::NodePtr node) : node_(std::move(node)) {}

  const std::shared_ptr<arrow::DataType>& type() const { return node_->type; }
  bool nullable() const { return node_->nullable; }
  const std::string& text() const { return node_->text; }

  // The index of the column, if the expression is just that.
  std::optional<int> column() const {
    return node_->column >= 0 ? std::optional<int>(node_->column) : std::nullopt;
  }

  // One value per row of the batch, which has the schema bound to (further columns may stand behind). A plain
  // column is not copied. What the data causes is an error of kind kUser named DataError; it holds the
  // expression, and the values of the first bad row.
  Result<std::shared_ptr<arrow::Array>> Evaluate(
      const arrow::RecordBatch& batch, arrow::MemoryPool* pool = arrow::default_memory_pool()) const;

  const expr::Node& node() const { return *node_; }

 private:
  expr::NodePtr node_;
};

// Gives an EXPR of the plan its types: finds columns and functions, inserts casts where no value is lost,
// computes what is constant. `where` names the input in errors ("kafka:orders"). Errors, of kind kUser:
// ColumnNotFound, FunctionNotFound, TypeMismatch, and DataError of a constant part.
Result<BoundExpr> Bind(const nlohmann::json& expression, const arrow::Schema& schema,
                       const std::string& where = "the stream");
Result<BoundExpr> Bind(std::string_view expression, const arrow::Schema& schema,
                       const std::string& where = "the stream");

}  // namespace frazil
