// Logic, nulls and choices. What is not chosen is not computed where computing it may fail, so that
// when(b != 0).then(a // b) and (b != 0) & (a // b > 1) are safe.
#include <arrow/array/util.h>
#include <arrow/compute/api_scalar.h>

#include "expr/functions/rules.h"
#include "expr/types.h"

namespace frazil::expr {
namespace {

using arrow::compute::CallFunction;

Result<std::shared_ptr<arrow::BooleanArray>> MaskOf(const Datum& datum, int64_t rows, ExecContext* context) {
  FZ_ASSIGN(auto array, ArrayOf(datum, rows, context));
  return std::static_pointer_cast<arrow::BooleanArray>(array);
}

Status ExpectBool(Call& call, size_t index) {
  FZ_ASSIGN(call.args[index], Plain(call.args[index]));
  const bool is_bool = call.args[index]->type->id() == arrow::Type::BOOL;
  if (!is_bool && !IsNull(*call.args[index]->type)) {
    return Mismatch(call,
                    std::string(call.function.name) + " takes bool, got " + TypeName(*call.args[index]->type),
                    "compare it: col(...) > 0, .is_not_null()");
  }
  return CastArg(call, index, arrow::boolean());
}

// `and` and `or` whose right side may fail: it is computed where the left side does not decide.
Result<Datum> LazyAndOr(const char* kernel, bool decided_by, const Node& node,
                        const arrow::RecordBatch& batch, ExecContext* context) {
  FZ_ASSIGN(Datum left, EvaluateNode(*node.args[0], batch, context));
  const Datum decided(arrow::MakeScalar(decided_by));
  FZ_ASSIGN(Datum differs, CallFunction("not_equal", {left, decided}, context));
  FZ_ASSIGN(Datum open, CallFunction("coalesce", {differs, Datum(arrow::MakeScalar(true))}, context));
  FZ_ASSIGN(auto mask, MaskOf(open, batch.num_rows(), context));
  FZ_ASSIGN(Datum right, EvaluateWhere(*node.args[1], batch, *mask, context));
  return CallFunction(kernel, {left, right}, context);
}

// The first value that is not null; the later ones are computed where all before are null.
Result<Datum> LazyCoalesce(const Node& node, const arrow::RecordBatch& batch, ExecContext* context) {
  FZ_ASSIGN(Datum value, EvaluateNode(*node.args[0], batch, context));
  for (size_t i = 1; i < node.args.size(); ++i) {
    FZ_ASSIGN(Datum missing, CallFunction("is_null", {value}, context));
    FZ_ASSIGN(auto mask, MaskOf(missing, batch.num_rows(), context));
    if (mask->true_count() == 0) break;
    FZ_ASSIGN(Datum next, EvaluateWhere(*node.args[i], batch, *mask, context));
    FZ_ASSIGN(value, CallFunction("coalesce", {value, next}, context));
  }
  return value;
}

// args: condition, value, condition, value, ..., otherwise.
Result<Datum> LazyWhen(const Node& node, const arrow::RecordBatch& batch, ExecContext* context) {
  const Datum yes(arrow::MakeScalar(true));
  const Datum no(arrow::MakeScalar(false));
  Datum open = yes;  // rows for which no condition was true so far
  std::vector<std::pair<Datum, Datum>> chosen;
  for (size_t i = 0; i + 1 < node.args.size(); i += 2) {
    FZ_ASSIGN(auto open_mask, MaskOf(open, batch.num_rows(), context));
    FZ_ASSIGN(Datum condition, EvaluateWhere(*node.args[i], batch, *open_mask, context));
    FZ_ASSIGN(Datum known, CallFunction("coalesce", {condition, no}, context));
    FZ_ASSIGN(Datum here, CallFunction("and", {known, open}, context));
    FZ_ASSIGN(auto mask, MaskOf(here, batch.num_rows(), context));
    FZ_ASSIGN(Datum value, EvaluateWhere(*node.args[i + 1], batch, *mask, context));
    chosen.emplace_back(here, value);
    FZ_ASSIGN(open, CallFunction("and_not", {open, here}, context));
  }
  FZ_ASSIGN(auto rest, MaskOf(open, batch.num_rows(), context));
  FZ_ASSIGN(Datum value, EvaluateWhere(*node.args.back(), batch, *rest, context));
  for (auto choice = chosen.rbegin(); choice != chosen.rend(); ++choice) {
    FZ_ASSIGN(value, CallFunction("if_else", {choice->first, choice->second, value}, context));
  }
  return value;
}

}  // namespace

Result<Node> BindAndOr(Call& call) {
  FZ_TRY(ExpectBool(call, 0));
  FZ_TRY(ExpectBool(call, 1));
  FZ_ASSIGN(Node node, ArrowCall(call, call.function.kernel));
  if (call.args[1]->fallible) {
    const bool decided_by = std::string_view(call.function.name) == "or";
    node.lazy = [kernel = call.function.kernel, decided_by](const Node& self, const arrow::RecordBatch& batch,
                                                            ExecContext* context) {
      return LazyAndOr(kernel, decided_by, self, batch, context);
    };
  }
  return node;
}

Result<Node> BindLogic(Call& call) {
  for (size_t i = 0; i < call.args.size(); ++i) FZ_TRY(ExpectBool(call, i));
  return ArrowCall(call, call.function.kernel);
}

Result<Node> BindIsNull(Call& call) {
  FZ_ASSIGN(Node node, ArrowCall(call, call.function.kernel));
  node.nullable = false;
  return node;
}

Result<Node> BindCoalesce(Call& call) {
  FZ_TRY(Unify(call, "combine"));
  bool nullable = true;
  bool fallible = false;
  for (size_t i = 0; i < call.args.size(); ++i) {
    nullable = nullable && call.args[i]->nullable;
    fallible = fallible || (i > 0 && call.args[i]->fallible);
  }
  FZ_ASSIGN(Node node, ArrowCall(call, "coalesce"));
  node.nullable = nullable;
  if (fallible) node.lazy = LazyCoalesce;
  return node;
}

Result<Node> BindNullIf(Call& call) {
  FZ_ASSIGN(NodePtr equal, BindCall("equal", call.args));
  FZ_ASSIGN(NodePtr null, CastTo(LiteralNode(arrow::MakeNullScalar(arrow::null())), call.args[0]->type));
  FZ_ASSIGN(NodePtr chosen, BindCall("when", {equal, null, call.args[0]}));
  return *chosen;
}

Result<Node> BindWhen(Call& call) {
  if (call.args.size() % 2 == 0) call.args.push_back(LiteralNode(arrow::MakeNullScalar(arrow::null())));
  std::vector<size_t> values;
  bool fallible = false;
  bool nullable = false;
  for (size_t i = 0; i < call.args.size(); ++i) {
    const bool condition = i % 2 == 0 && i + 1 < call.args.size();
    if (condition) {
      FZ_TRY(ExpectBool(call, i));
    } else {
      values.push_back(i);
    }
    fallible = fallible || (i > 0 && call.args[i]->fallible);
  }
  FZ_TRY(Unify(call, "combine", values));
  for (const size_t i : values) nullable = nullable || call.args[i]->nullable;
  Node node;
  node.type = call.args.back()->type;
  node.nullable = nullable;
  node.args = call.args;
  if (fallible) {
    node.lazy = LazyWhen;
  } else {
    node.kernel = [](const std::vector<Datum>& args, int64_t, ExecContext* context) -> Result<Datum> {
      Datum value = args.back();
      const Datum no(arrow::MakeScalar(false));
      for (size_t i = args.size() - 1; i >= 2; i -= 2) {
        FZ_ASSIGN(Datum known, CallFunction("coalesce", {args[i - 2], no}, context));
        FZ_ASSIGN(value, CallFunction("if_else", {known, args[i - 1], value}, context));
      }
      return value;
    };
  }
  return node;
}

}  // namespace frazil::expr
