// Functions of one number, and the smallest and largest of several.
#include <arrow/compute/api_scalar.h>

#include "expr/functions/rules.h"
#include "expr/types.h"

namespace frazil::expr {
namespace {

Status PlainNumber(Call& call) {
  FZ_ASSIGN(call.args[0], Plain(call.args[0]));
  FZ_TRY(Expect(call, 0, IsNumber(*call.args[0]->type), "a number"));
  if (IsNull(*call.args[0]->type)) return CastArg(call, 0, arrow::int64());
  return Status::OK();
}

// The argument itself, for functions that change nothing.
Node Unchanged(const NodePtr& arg) {
  Node node;
  node.type = arg->type;
  node.nullable = arg->nullable;
  node.args = {arg};
  node.kernel = [](const std::vector<Datum>& args, int64_t, ExecContext*) -> Result<Datum> {
    return args[0];
  };
  return node;
}

}  // namespace

Result<Node> BindNegate(Call& call) {
  FZ_ASSIGN(call.args[0], Plain(call.args[0]));
  if (!IsDuration(*call.args[0]->type)) FZ_TRY(PlainNumber(call));
  FZ_ASSIGN(Node node, FallibleArrowCall(call, call.function.kernel));
  node.fallible = !IsFloat(*node.type);
  return node;
}

Result<Node> BindSign(Call& call) {
  FZ_TRY(PlainNumber(call));
  return ArrowCall(call, call.function.kernel);
}

Result<Node> BindRound(Call& call) {
  FZ_TRY(PlainNumber(call));
  const int64_t digits = call.options.value("digits", int64_t{0});
  const arrow::DataType& type = *call.args[0]->type;
  if (IsInteger(type) && digits >= 0) return Unchanged(call.args[0]);
  if (IsDecimal(type) && digits >= static_cast<const arrow::DecimalType&>(type).scale())
    return Unchanged(call.args[0]);
  const TypePtr kept = call.args[0]->type;
  FZ_ASSIGN(Node node, FallibleArrowCall(call, call.function.kernel,
                                         std::make_shared<arrow::compute::RoundOptions>(
                                             digits, arrow::compute::RoundMode::HALF_TO_EVEN)));
  if (!node.type->Equals(*kept)) return Mismatch(call, "round does not work on " + TypeName(*kept));
  return node;
}

Result<Node> BindFloor(Call& call) {
  FZ_TRY(PlainNumber(call));
  if (IsInteger(*call.args[0]->type)) return Unchanged(call.args[0]);
  return FallibleArrowCall(call, call.function.kernel);
}

Result<Node> BindOfFloat(Call& call) {
  FZ_TRY(PlainNumber(call));
  FZ_TRY(CastArg(call, 0, arrow::float64()));
  return ArrowCall(call, call.function.kernel);
}

Result<Node> BindIsNan(Call& call) {
  FZ_TRY(PlainNumber(call));
  return ArrowCall(call, call.function.kernel);
}

Result<Node> BindMinMaxOf(Call& call) {
  FZ_TRY(Unify(call, "compare"));
  FZ_ASSIGN(Node node,
            ArrowCall(call, call.function.kernel,
                      std::make_shared<arrow::compute::ElementWiseAggregateOptions>(/*skip_nulls=*/true)));
  node.nullable = true;
  for (const NodePtr& arg : call.args) node.nullable = node.nullable && arg->nullable;
  return node;
}

}  // namespace frazil::expr
