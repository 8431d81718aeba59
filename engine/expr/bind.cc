#include <arrow/compute/registry.h>
#include <arrow/io/memory.h>
#include <arrow/ipc/dictionary.h>
#include <arrow/ipc/reader.h>
#include <arrow/util/base64.h>

#include <algorithm>
#include <numeric>

#include "base/batch.h"
#include "base/check.h"
#include "base/limits.h"
#include "expr/expr.h"
#include "expr/function.h"
#include "expr/types.h"

namespace frazil::expr {
namespace {

using nlohmann::json;

constexpr size_t kColumnsShown = 6;  // columns of a schema shown in an error

// Edit distance without regard to case: for "did you mean".
size_t Distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const bool same = std::tolower(static_cast<unsigned char>(a[i - 1])) ==
                        std::tolower(static_cast<unsigned char>(b[j - 1]));
      const size_t replaced = diagonal + (same ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

Status ColumnNotFound(const std::string& name, const arrow::FieldVector& columns, const std::string& where) {
  std::vector<std::shared_ptr<arrow::Field>> shown = columns;
  std::stable_sort(shown.begin(), shown.end(), [&](const auto& a, const auto& b) {
    return Distance(name, a->name()) < Distance(name, b->name());
  });
  const std::string nearest = shown.empty() ? "" : shown[0]->name();
  const bool cut = shown.size() > kColumnsShown;
  if (!cut) shown = columns;
  std::string have;
  for (size_t i = 0; i < std::min(shown.size(), kColumnsShown); ++i) {
    have += (i == 0 ? "" : ", ") + shown[i]->name() + ": " + TypeName(*shown[i]->type());
  }
  std::string text = "no column '" + name + "' in " + where + "\nhave: " + have + (cut ? ", ..." : "");
  if (!nearest.empty() && Distance(name, nearest) <= std::max<size_t>(1, name.size() / 3)) {
    text += "\ndid you mean '" + nearest + "'?";
  }
  return NamedError("ColumnNotFound", std::move(text));
}

Result<NodePtr> BindColumn(const std::string& name, const arrow::Schema& schema, const std::string& where) {
  const std::vector<int> found = schema.GetAllFieldIndices(name);
  if (found.size() > 1)
    return NamedError("ColumnNotFound", "column '" + name + "' is there twice in " + where);
  arrow::FieldVector visible;
  for (const auto& field : schema.fields()) {
    if (!field->name().starts_with(kHiddenPrefix)) visible.push_back(field);
  }
  if (found.empty() || name.starts_with(kHiddenPrefix)) return ColumnNotFound(name, visible, where);
  auto node = std::make_shared<Node>();
  node->column = found[0];
  node->type = schema.field(found[0])->type();
  node->nullable = schema.field(found[0])->nullable();
  node->text = name;
  return node;
}

Result<NodePtr> BindLiteral(const std::string& encoded) {
  FZ_ASSIGN(std::string bytes, arrow::util::base64_decode(encoded));
  arrow::io::BufferReader input(arrow::Buffer::FromString(std::move(bytes)));
  FZ_ASSIGN(auto reader, arrow::ipc::RecordBatchStreamReader::Open(&input));
  FZ_ASSIGN(auto batch, reader->Next());
  if (batch == nullptr || batch->num_rows() != 1 || batch->num_columns() != 1) {
    return Status::Invalid("a literal is a batch of one row and one column");
  }
  FZ_ASSIGN(auto scalar, batch->column(0)->GetScalar(0));
  auto node = std::make_shared<Node>(*LiteralNode(std::move(scalar)));
  node->weak = true;
  return node;
}

std::string ArgsText(const std::vector<std::string>& args, size_t from) {
  std::string text;
  for (size_t i = from; i < args.size(); ++i) text += (i == from ? "" : ", ") + args[i];
  return text;
}

std::string OptionText(const json& options, const std::string& name) {
  const auto found = options.find(name);
  if (found == options.end() || found->is_null()) return "None";
  if (name == "type") {
    const auto type = DecodeType(*found);
    return type.ok() ? TypeName(**type) : "?";
  }
  if (found->is_string()) return "'" + found->get<std::string>() + "'";
  if (found->is_boolean()) return found->get<bool>() ? "True" : "False";
  return found->dump();
}

// Computes a call of which every argument is a literal.
Result<NodePtr> Fold(NodePtr node) {
  if (node->args.empty() || !std::all_of(node->args.begin(), node->args.end(),
                                         [](const NodePtr& arg) { return arg->literal != nullptr; })) {
    return node;
  }
  const auto row = arrow::RecordBatch::Make(arrow::schema({}), 1, arrow::ArrayVector{});
  ExecContext context;
  context.set_use_threads(false);
  FZ_ASSIGN(auto values, EvaluateArray(*node, *row, &context));
  FZ_ASSIGN(auto scalar, values->GetScalar(0));
  auto folded = std::make_shared<Node>(*LiteralNode(std::move(scalar)));
  folded->text = node->text;
  return folded;
}

Result<NodePtr> BindChecked(const Function& function, std::vector<NodePtr> args, const json& options) {
  std::vector<std::string> texts;
  bool fallible = false;
  for (const NodePtr& arg : args) {
    texts.push_back(arg->text);
    fallible = fallible || arg->fallible;
  }
  Call call{function, std::move(args), options, Spelled(function, texts, options)};
  const int count = static_cast<int>(call.args.size());
  if (count < function.args_min || (function.args_max != kAnyNumber && count > function.args_max)) {
    return Mismatch(call, std::string(function.name) + " was given " + std::to_string(count) + " arguments",
                    std::string("it takes ") + function.signature);
  }
  FZ_ASSIGN(Node bound, function.rule(call));
  bound.text = call.text;
  bound.weak = false;
  bound.fallible = bound.fallible || fallible;
  if (bound.advice == nullptr) bound.advice = function.advice;
  return Fold(std::make_shared<Node>(std::move(bound)));
}

Result<NodePtr> BindNode(const json& expression, const arrow::Schema& schema, const std::string& where,
                         int depth) {
  if (depth > limits::kExprDepth) {
    return NamedError("PlanError",
                      "an expression is nested more than " + std::to_string(limits::kExprDepth) +
                          " deep\nsplit it over several with_columns, or use is_in for many values");
  }
  if (const auto name = expression.find("col"); name != expression.end()) {
    return BindColumn(name->get<std::string>(), schema, where);
  }
  if (const auto value = expression.find("lit"); value != expression.end()) {
    return BindLiteral(value->get_ref<const std::string&>());
  }
  const std::string name = expression.at("fn").get<std::string>();
  const Function* function = FindFunction(name);
  if (function == nullptr) {
    return NamedError("FunctionNotFound",
                      "the engine has no function '" + name + "'\nthe plan was made by another version");
  }
  std::vector<NodePtr> args;
  for (const json& arg : expression.at("args")) {
    FZ_ASSIGN(NodePtr node, BindNode(arg, schema, where, depth + 1));
    args.push_back(std::move(node));
  }
  return BindChecked(*function, std::move(args), expression.value("options", json::object()));
}

}  // namespace

Result<TypePtr> DecodeType(const std::string& encoded) {
  FZ_ASSIGN(std::string bytes, arrow::util::base64_decode(encoded));
  arrow::io::BufferReader input(arrow::Buffer::FromString(std::move(bytes)));
  arrow::ipc::DictionaryMemo memo;
  FZ_ASSIGN(auto schema, arrow::ipc::ReadSchema(&input, &memo));
  if (schema->num_fields() != 1) return Status::Invalid("a type is a schema of one field");
  return schema->field(0)->type();
}

std::string Spelled(const Function& function, const std::vector<std::string>& args, const json& options) {
  const std::string_view spelling = function.spelling;
  std::string text;
  for (size_t i = 0; i < spelling.size(); ++i) {
    const size_t end = spelling[i] == '{' ? spelling.find('}', i) : std::string_view::npos;
    if (end == std::string_view::npos) {
      text += spelling[i];
      continue;
    }
    const std::string hole(spelling.substr(i + 1, end - i - 1));
    if (hole[0] == '=') {
      text += OptionText(options, hole.substr(1));
    } else if (hole == "*") {
      text += ArgsText(args, 0);
    } else if (hole.back() == '*') {
      text += ArgsText(args, static_cast<size_t>(hole[0] - '0'));
    } else if (const auto at = static_cast<size_t>(hole[0] - '0'); at < args.size()) {
      text += args[at];
    }
    i = end;
  }
  return text;
}

Result<NodePtr> BindCall(std::string_view function, std::vector<NodePtr> args, const json& options) {
  const Function* found = FindFunction(function);
  FZ_CHECK(found != nullptr);
  return BindChecked(*found, std::move(args), options);
}

Result<Node> ArrowCall(const Call& call, const char* kernel,
                       std::shared_ptr<arrow::compute::FunctionOptions> options) {
  FZ_ASSIGN(auto function, arrow::compute::GetFunctionRegistry()->GetFunction(kernel));
  std::vector<Datum> no_rows;
  Node node;
  node.nullable = false;
  for (const NodePtr& arg : call.args) {
    node.nullable = node.nullable || arg->nullable;
    if (arg->literal != nullptr) {
      no_rows.emplace_back(arg->literal);
    } else {
      FZ_ASSIGN(auto empty, arrow::MakeEmptyArray(arg->type));
      no_rows.emplace_back(std::move(empty));
    }
  }
  // With literals alone the kernel would compute a value, which may be refused; Fold does that and says why.
  if (!call.args.empty() &&
      std::all_of(no_rows.begin(), no_rows.end(), [](const Datum& d) { return d.is_scalar(); })) {
    FZ_ASSIGN(auto empty, arrow::MakeEmptyArray(call.args[0]->type));
    no_rows[0] = Datum(std::move(empty));
  }
  ExecContext context;
  auto probed = function->Execute(no_rows, options.get(), &context);
  if (!probed.ok()) {
    std::string types;
    for (const NodePtr& arg : call.args) types += (types.empty() ? "" : ", ") + TypeName(*arg->type);
    if (probed.status().IsNotImplemented()) {
      return Mismatch(call, std::string(call.function.name) + " does not work on " + types,
                      std::string("it takes ") + call.function.signature);
    }
    return Mismatch(call, std::string(call.function.name) + ": " + probed.status().message());
  }
  node.type = probed->type();
  node.args = call.args;
  node.kernel = [function, options](const std::vector<Datum>& args, int64_t, ExecContext* context) {
    return function->Execute(args, options.get(), context);
  };
  return node;
}

Result<Node> FallibleArrowCall(const Call& call, const char* kernel,
                               std::shared_ptr<arrow::compute::FunctionOptions> options) {
  FZ_ASSIGN(Node node, ArrowCall(call, kernel, std::move(options)));
  node.fallible = true;
  return node;
}

Node OwnCall(const Call& call, TypePtr type, Kernel kernel) {
  Node node;
  node.type = std::move(type);
  node.nullable =
      std::any_of(call.args.begin(), call.args.end(), [](const NodePtr& arg) { return arg->nullable; });
  node.args = call.args;
  node.kernel = std::move(kernel);
  return node;
}

Kernel OnArrays(ArrayKernel kernel) {
  return [kernel = std::move(kernel)](const std::vector<Datum>& args, int64_t rows,
                                      ExecContext* context) -> Result<Datum> {
    const bool scalar =
        std::all_of(args.begin(), args.end(), [](const Datum& arg) { return arg.is_scalar(); });
    arrow::ArrayVector arrays;
    for (const Datum& arg : args) {
      FZ_ASSIGN(auto array, ArrayOf(arg, scalar ? 1 : rows, context));
      arrays.push_back(std::move(array));
    }
    FZ_ASSIGN(auto result, kernel(arrays, context));
    if (!scalar) return Datum(std::move(result));
    FZ_ASSIGN(auto value, result->GetScalar(0));
    return Datum(std::move(value));
  };
}

Result<Datum> CallArrow(const char* kernel, const std::vector<Datum>& args, ExecContext* context,
                        const arrow::compute::FunctionOptions* options) {
  return arrow::compute::CallFunction(kernel, args, options, context);
}

}  // namespace frazil::expr

namespace frazil {

Result<BoundExpr> Bind(const nlohmann::json& expression, const arrow::Schema& schema,
                       const std::string& where) {
  try {
    FZ_ASSIGN(auto node, expr::BindNode(expression, schema, where, 0));
    return BoundExpr(std::move(node));
  } catch (const nlohmann::json::exception& error) {  // a key that is missing or of another type
    return Error(ErrorKind::kInternal, std::string("reading an expression of the plan: ") + error.what());
  }
}

Result<BoundExpr> Bind(std::string_view expression, const arrow::Schema& schema, const std::string& where) {
  const auto parsed = nlohmann::json::parse(expression, nullptr, /*allow_exceptions=*/false);
  if (parsed.is_discarded())
    return Error(ErrorKind::kInternal, "reading an expression of the plan: it is no JSON");
  return Bind(parsed, schema, where);
}

}  // namespace frazil
