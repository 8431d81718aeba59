// Comparison: both sides have to be of one kind; strings are never compared with numbers.
#include <arrow/compute/api_scalar.h>
#include <arrow/compute/cast.h>

#include "expr/functions/rules.h"
#include "expr/types.h"

namespace frazil::expr {

Result<Node> BindComparison(Call& call) {
  FZ_TRY(Unify(call, "compare"));
  if (IsNull(*call.args[0]->type)) {
    FZ_TRY(CastArg(call, 0, arrow::int64()));
    FZ_TRY(CastArg(call, 1, arrow::int64()));
  }
  return ArrowCall(call, call.function.kernel);
}

Result<Node> BindBetween(Call& call) {
  FZ_ASSIGN(NodePtr above, BindCall("greater_equal", {call.args[0], call.args[1]}));
  FZ_ASSIGN(NodePtr below, BindCall("less_equal", {call.args[0], call.args[2]}));
  FZ_ASSIGN(NodePtr both, BindCall("and", {above, below}));
  return *both;
}

Result<Node> BindIsIn(Call& call) {
  FZ_ASSIGN(call.args[0], Plain(call.args[0]));
  const NodePtr& list = call.args[1];
  if (list->literal == nullptr || !list->literal->is_valid || !arrow::is_var_length_list(list->type->id())) {
    return Mismatch(call, "is_in takes a list of values", "write .is_in([1, 2, 3])");
  }
  const auto& values = static_cast<const arrow::BaseListScalar&>(*list->literal).value;
  // Each value may be weak on its own: 1 beside 2.5, or 10 beside a decimal.
  TypePtr type = call.args[0]->type;
  std::vector<NodePtr> nodes{call.args[0]};
  for (int64_t i = 0; i < values->length(); ++i) {
    FZ_ASSIGN(auto value, values->GetScalar(i));
    auto node = std::make_shared<Node>(*LiteralNode(std::move(value)));
    node->weak = true;
    nodes.push_back(std::move(node));
  }
  type = CommonType(nodes);
  if (type == nullptr) {
    return Mismatch(call,
                    "cannot compare " + TypeName(*call.args[0]->type) + " with " + TypeName(*values->type()),
                    "cast one side: col(...).cast(" + TypeName(*values->type()) + ")");
  }
  if (IsNull(*type)) type = arrow::int64();
  arrow::ArrayVector cast_values;
  for (size_t i = 1; i < nodes.size(); ++i) {
    FZ_ASSIGN(NodePtr cast, CastTo(nodes[i], type));
    FZ_ASSIGN(auto one, arrow::MakeArrayFromScalar(*cast->literal, 1));
    cast_values.push_back(std::move(one));
  }
  std::shared_ptr<arrow::Array> set;
  if (cast_values.empty()) {
    FZ_ASSIGN(set, arrow::MakeEmptyArray(type));
  } else {
    FZ_ASSIGN(set, arrow::Concatenate(cast_values));
  }
  FZ_TRY(CastArg(call, 0, type));
  const bool has_null = set->null_count() > 0;
  call.args.resize(1);
  FZ_ASSIGN(Node node, ArrowCall(call, call.function.kernel,
                                 std::make_shared<arrow::compute::SetLookupOptions>(
                                     Datum(set), arrow::compute::SetLookupOptions::INCONCLUSIVE)));
  node.nullable = node.nullable || has_null;
  return node;
}

}  // namespace frazil::expr
