#pragma once

#include <arrow/compute/cast.h>

#include "expr/function.h"

// What types may meet, and the casts between them.
namespace frazil::expr {

// "timestamp[us, UTC]"; what people see.
std::string TypeName(const arrow::DataType& type);

// A TypeMismatch: `what`, the expression, and what to do (may be "").
Status Mismatch(const Call& call, const std::string& what, const std::string& advice = "");

// A TypeMismatch unless argument `index` is good: "str_lower takes string, got int64". A null literal is
// good.
Status Expect(const Call& call, size_t index, bool good, const char* expected);

bool IsNumber(const arrow::DataType& type);  // integers, floats, decimals
bool IsFloat(const arrow::DataType& type);
bool IsInteger(const arrow::DataType& type);
bool IsDecimal(const arrow::DataType& type);
bool IsString(const arrow::DataType& type);  // string, large_string
bool IsBinary(const arrow::DataType& type);  // binary, large_binary, fixed_size_binary
bool IsTimestamp(const arrow::DataType& type);
bool IsDate(const arrow::DataType& type);
bool IsDuration(const arrow::DataType& type);
bool IsNull(const arrow::DataType& type);

// Digits that hold every value of an integer type.
int32_t DecimalDigits(const arrow::DataType& integer);

// Casts values with the options' type. As Arrow's cast, but integers go to any decimal that holds their
// values.
Result<Datum> CastValue(const Datum& value, const arrow::compute::CastOptions& options, ExecContext* context);

// The decimal type of a decimal, of an integer, or of a number as it was written in the program; null for
// others.
TypePtr WrittenDecimal(const Node& node);

// The node as a value of `type`. A literal is converted at once (an error if it does not fit); else a cast is
// put around it, which may round integers to floats and refuses any other loss.
Result<NodePtr> CastTo(const NodePtr& node, const TypePtr& type);

// Argument `index` as a value of `type`.
Status CastArg(Call& call, size_t index, const TypePtr& type);

// The type that holds the values of all nodes, or null if there is none. Rules: integers widen, integers and
// floats meet in float64, integers and decimals in a decimal, decimals in the wider one, times in the finer
// unit; strings meet only strings. Weak literals take the type of the others where they fit.
TypePtr CommonType(const std::vector<NodePtr>& nodes);

// Casts the arguments (those whose number is given, or all) to their common type; `verb` is for the error:
// "compare".
Status Unify(Call& call, const char* verb, const std::vector<size_t>& which = {});

// Dictionaries, views and run ends as the plain type that kernels understand.
Result<NodePtr> Plain(const NodePtr& node);

// The value of an argument that must be a literal string.
Result<std::string> ConstantString(const Call& call, size_t index, const char* what);

// A literal node.
NodePtr LiteralNode(std::shared_ptr<arrow::Scalar> value);

}  // namespace frazil::expr
