// Functions of strings. Patterns are literals: they are compiled once per call.
#include <arrow/array/util.h>
#include <arrow/compute/api_scalar.h>
#include <arrow/compute/cast.h>

#include <limits>

#include "expr/functions/rules.h"
#include "expr/types.h"

namespace frazil::expr {
namespace {

namespace compute = arrow::compute;

Status PlainString(Call& call, size_t index = 0, bool binary_too = false) {
  FZ_ASSIGN(call.args[index], Plain(call.args[index]));
  const arrow::DataType& type = *call.args[index]->type;
  FZ_TRY(Expect(call, index, IsString(type) || (binary_too && IsBinary(type)), "string"));
  return IsNull(type) ? CastArg(call, index, arrow::utf8()) : Status::OK();
}

// Counts and positions are int64 like every int of a schema.
Node AsInt64(Node node) {
  if (node.type->id() != arrow::Type::INT32) return node;
  node.type = arrow::int64();
  node.kernel = [narrow = node.kernel](const std::vector<Datum>& args, int64_t rows,
                                       ExecContext* context) -> Result<Datum> {
    FZ_ASSIGN(Datum value, narrow(args, rows, context));
    return compute::Cast(value, arrow::int64(), compute::CastOptions::Safe(), context);
  };
  return node;
}

// Arrow extracts named groups only: names those that have none, ("(a)(?:b)" -> "(?P<g1>a)(?:b)"), and the
// whole g0.
std::string NameGroups(const std::string& pattern) {
  std::string named = "(?P<g0>";
  int group = 0;
  bool in_class = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    named += c;
    if (c == '\\' && i + 1 < pattern.size()) {
      const char escaped = pattern[++i];
      named += escaped;
      if (escaped != 'Q') continue;
      // \Q...\E is literal text.
      const size_t end = pattern.find("\\E", i);
      const size_t stop = end == std::string::npos ? pattern.size() : end;
      named += pattern.substr(i + 1, stop - i - 1);
      i = stop - 1;
      continue;
    }
    if (in_class) {
      in_class = c != ']';
      continue;
    }
    if (c == '[') {
      in_class = true;
      // A bracket right behind "[" or "[^" is a member.
      if (i + 1 < pattern.size() && pattern[i + 1] == '^') named += pattern[++i];
      if (i + 1 < pattern.size() && pattern[i + 1] == ']') named += pattern[++i];
    } else if (c == '(') {
      const bool special = i + 1 < pattern.size() && pattern[i + 1] == '?';
      const bool is_named =
          special && (pattern.compare(i + 1, 3, "?P<") == 0 || (pattern.compare(i + 1, 2, "?<") == 0));
      if (!special || is_named) ++group;
      const std::string name = "?P<g" + std::to_string(group) + ">";
      if (!special) named += name;
      if (is_named) {  // replaced as well: a name of the user's could be one of ours
        i = pattern.find('>', i);
        if (i == std::string::npos) return pattern;  // RE2 says what is wrong with it
        named += name;
      }
    }
  }
  return named + ")";
}

}  // namespace

Result<Node> BindString(Call& call) {
  const bool bytes = std::string_view(call.function.kernel) == "binary_length";
  FZ_TRY(PlainString(call, 0, bytes));
  FZ_ASSIGN(Node node, ArrowCall(call, call.function.kernel));
  return AsInt64(std::move(node));
}

Result<Node> BindStrip(Call& call) {
  FZ_TRY(PlainString(call));
  const std::string kernel = call.function.kernel;
  if (call.args.size() == 1) return ArrowCall(call, (kernel + "_whitespace").c_str());
  FZ_ASSIGN(std::string characters, ConstantString(call, 1, "set of characters"));
  call.args.resize(1);
  return ArrowCall(call, kernel.c_str(), std::make_shared<compute::TrimOptions>(std::move(characters)));
}

Result<Node> BindMatch(Call& call) {
  FZ_TRY(PlainString(call));
  FZ_ASSIGN(std::string pattern, ConstantString(call, 1, "pattern"));
  call.args.resize(1);
  FZ_ASSIGN(Node node, ArrowCall(call, call.function.kernel,
                                 std::make_shared<compute::MatchSubstringOptions>(
                                     std::move(pattern), call.options.value("ignore_case", false))));
  return AsInt64(std::move(node));
}

Result<Node> BindReplace(Call& call) {
  FZ_TRY(PlainString(call));
  FZ_ASSIGN(std::string pattern, ConstantString(call, 1, "pattern"));
  FZ_ASSIGN(std::string value, ConstantString(call, 2, "replacement"));
  if (pattern.empty()) return Mismatch(call, "the pattern of replace is empty");
  const int64_t times = call.options.value("n", int64_t{-1});
  call.args.resize(1);
  return ArrowCall(
      call, call.function.kernel,
      std::make_shared<compute::ReplaceSubstringOptions>(std::move(pattern), std::move(value), times));
}

Result<Node> BindExtract(Call& call) {
  FZ_TRY(PlainString(call));
  FZ_ASSIGN(const std::string pattern, ConstantString(call, 1, "pattern"));
  const int group = call.options.value("group", 1);
  call.args.resize(1);
  FZ_ASSIGN(Node node, ArrowCall(call, call.function.kernel,
                                 std::make_shared<compute::ExtractRegexOptions>(NameGroups(pattern))));
  if (group < 0 || group >= node.type->num_fields()) {
    return Mismatch(call, "the pattern has no group " + std::to_string(group),
                    "groups are 0 (the whole match) to " + std::to_string(node.type->num_fields() - 1));
  }
  node.type = node.type->field(group)->type();
  node.nullable = true;
  const auto options = std::make_shared<compute::StructFieldOptions>(std::vector<int>{group});
  node.kernel = [extract = node.kernel, options](const std::vector<Datum>& args, int64_t rows,
                                                 ExecContext* context) -> Result<Datum> {
    FZ_ASSIGN(Datum groups, extract(args, rows, context));
    if (groups.is_scalar() && !groups.scalar()->is_valid) {
      return Datum(
          arrow::MakeNullScalar(groups.type()->field(options->field_ref.field_path()->indices()[0])->type()));
    }
    return compute::CallFunction("struct_field", {groups}, options.get(), context);
  };
  return node;
}

Result<Node> BindSlice(Call& call) {
  FZ_TRY(PlainString(call));
  constexpr int64_t kToTheEnd = std::numeric_limits<int64_t>::max();
  const int64_t offset = call.options.value("offset", int64_t{0});
  int64_t stop = kToTheEnd;
  if (const auto length = call.options.find("length"); length != call.options.end() && !length->is_null()) {
    const auto count = length->get<int64_t>();
    if (count < 0) return Mismatch(call, "a slice has a length of at least 0, got " + std::to_string(count));
    const bool reaches_end = offset < 0 ? count >= -offset : count > kToTheEnd - offset;
    stop = reaches_end ? kToTheEnd : offset + count;
  }
  return ArrowCall(call, call.function.kernel, std::make_shared<compute::SliceOptions>(offset, stop));
}

Result<Node> BindSplit(Call& call) {
  FZ_TRY(PlainString(call));
  FZ_ASSIGN(std::string pattern, ConstantString(call, 1, "separator"));
  if (pattern.empty()) return Mismatch(call, "the separator of split is empty");
  call.args.resize(1);
  return ArrowCall(call, call.function.kernel,
                   std::make_shared<compute::SplitPatternOptions>(std::move(pattern)));
}

Result<Node> BindPad(Call& call) {
  FZ_TRY(PlainString(call));
  FZ_ASSIGN(std::string fill, ConstantString(call, 1, "character"));
  const int64_t length = call.options.value("length", int64_t{0});
  call.args.resize(1);
  return ArrowCall(call, call.function.kernel,
                   std::make_shared<compute::PadOptions>(length, std::move(fill)));
}

Result<Node> BindConcat(Call& call) {
  FZ_TRY(Unify(call, "join"));
  for (size_t i = 0; i < call.args.size(); ++i) {
    FZ_TRY(PlainString(call, i));
    if (IsNull(*call.args[i]->type)) FZ_TRY(CastArg(call, i, arrow::utf8()));
  }
  const std::string separator = call.options.value("separator", std::string());
  FZ_ASSIGN(NodePtr last, CastTo(LiteralNode(arrow::MakeScalar(separator)), call.args[0]->type));
  call.args.push_back(std::move(last));
  return ArrowCall(call, "binary_join_element_wise", std::make_shared<compute::JoinOptions>());
}

}  // namespace frazil::expr
