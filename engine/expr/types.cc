#include "expr/types.h"

#include <arrow/array/util.h>
#include <arrow/compute/cast.h>
#include <arrow/type_traits.h>
#include <arrow/util/decimal.h>

#include <algorithm>
#include <charconv>
#include <cmath>

namespace frazil::expr {
namespace {

using arrow::Type;

// Casts as they are inserted: nothing is lost, except that integers round to the nearest float.
arrow::compute::CastOptions ImplicitCast(const arrow::DataType& from, const TypePtr& to) {
  auto options = arrow::compute::CastOptions::Safe(to);
  options.allow_float_truncate = IsInteger(from) && IsFloat(*to);
  return options;
}

// True if no value of `from` can be refused by a cast to `to`.
bool AlwaysFits(const arrow::DataType& from, const arrow::DataType& to) {
  if (IsInteger(from) && IsFloat(to)) return true;
  if (IsInteger(from) && IsInteger(to)) {
    const bool from_signed = arrow::is_signed_integer(from.id());
    const bool to_signed = arrow::is_signed_integer(to.id());
    if (from_signed == to_signed) return from.bit_width() <= to.bit_width();
    return to_signed && from.bit_width() < to.bit_width();
  }
  if (IsFloat(from) && IsFloat(to)) return true;
  if (IsInteger(from) && IsDecimal(to)) {
    const auto& decimal = static_cast<const arrow::DecimalType&>(to);
    return decimal.precision() - decimal.scale() >= DecimalDigits(from);
  }
  if (IsDecimal(from) && IsDecimal(to)) {
    const auto& a = static_cast<const arrow::DecimalType&>(from);
    const auto& b = static_cast<const arrow::DecimalType&>(to);
    return b.scale() >= a.scale() && b.precision() - b.scale() >= a.precision() - a.scale();
  }
  return (IsString(from) && IsString(to)) || IsNull(from);
}

TypePtr WiderInteger(const TypePtr& a, const TypePtr& b) {
  if (arrow::is_signed_integer(a->id()) == arrow::is_signed_integer(b->id())) {
    return a->bit_width() >= b->bit_width() ? a : b;
  }
  const TypePtr& with_sign = arrow::is_signed_integer(a->id()) ? a : b;
  const TypePtr& without = arrow::is_signed_integer(a->id()) ? b : a;
  const int bits = std::max(with_sign->bit_width(), std::min(64, 2 * without->bit_width()));
  return bits == 16 ? arrow::int16() : bits == 32 ? arrow::int32() : arrow::int64();
}

TypePtr WiderDecimal(const arrow::DataType& a, const arrow::DataType& b) {
  const auto& x = static_cast<const arrow::DecimalType&>(a);
  const auto& y = static_cast<const arrow::DecimalType&>(b);
  const int32_t scale = std::max(x.scale(), y.scale());
  const int32_t precision = std::max(x.precision() - x.scale(), y.precision() - y.scale()) + scale;
  if (precision <= arrow::Decimal128Type::kMaxPrecision) return arrow::decimal128(precision, scale);
  return precision <= arrow::Decimal256Type::kMaxPrecision ? arrow::decimal256(precision, scale) : nullptr;
}

TypePtr IntegerAsDecimal(const arrow::DataType& type) { return arrow::decimal128(DecimalDigits(type), 0); }

TypePtr WiderTime(const TypePtr& a, const TypePtr& b) {
  if (IsTimestamp(*a) && IsTimestamp(*b)) {
    const auto& x = static_cast<const arrow::TimestampType&>(*a);
    const auto& y = static_cast<const arrow::TimestampType&>(*b);
    if (x.timezone().empty() != y.timezone().empty()) return nullptr;
    return arrow::timestamp(std::max(x.unit(), y.unit()), x.timezone());
  }
  if (IsDuration(*a) && IsDuration(*b)) {
    return arrow::duration(std::max(static_cast<const arrow::DurationType&>(*a).unit(),
                                    static_cast<const arrow::DurationType&>(*b).unit()));
  }
  if (IsDate(*a) && IsDate(*b)) return arrow::date32();
  return nullptr;
}

// The type that holds the values of both types, or null.
TypePtr Wider(const TypePtr& a, const TypePtr& b) {
  if (a->Equals(*b) || IsNull(*b)) return a;
  if (IsNull(*a)) return b;
  if (IsInteger(*a) && IsInteger(*b)) return WiderInteger(a, b);
  if (IsDecimal(*a) && IsDecimal(*b)) return WiderDecimal(*a, *b);
  if (IsDecimal(*a) && IsInteger(*b)) return WiderDecimal(*a, *IntegerAsDecimal(*b));
  if (IsInteger(*a) && IsDecimal(*b)) return WiderDecimal(*IntegerAsDecimal(*a), *b);
  if (IsNumber(*a) && IsNumber(*b) && !IsDecimal(*a) && !IsDecimal(*b)) return arrow::float64();
  if (IsString(*a) && IsString(*b)) return arrow::large_utf8();
  if (IsBinary(*a) && IsBinary(*b)) {
    return a->id() == Type::LARGE_BINARY || b->id() == Type::LARGE_BINARY ? arrow::large_binary()
                                                                          : arrow::binary();
  }
  return WiderTime(a, b);
}

// Digits of a float as it was written.
std::string WrittenFloat(const arrow::Scalar& literal) {
  char text[64];
  const auto end =
      std::to_chars(text, text + sizeof(text), static_cast<const arrow::DoubleScalar&>(literal).value);
  return std::string(text, static_cast<size_t>(end.ptr - text));
}

// Arrow takes a float's exact value into a decimal; a literal means what was written.
Result<std::shared_ptr<arrow::Scalar>> CastLiteral(const Node& node, const TypePtr& type) {
  if (node.weak && node.type->id() == Type::DOUBLE && node.literal->is_valid && IsDecimal(*type)) {
    const auto written = arrow::MakeScalar(WrittenFloat(*node.literal));
    FZ_ASSIGN(Datum cast, arrow::compute::Cast(Datum(written), arrow::compute::CastOptions::Safe(type)));
    return cast.scalar();
  }
  FZ_ASSIGN(Datum cast, CastValue(Datum(node.literal), ImplicitCast(*node.type, type), nullptr));
  return cast.scalar();
}

// The type of a weak literal and the others of type `type`: theirs, where the literal fits exactly.
TypePtr WithWeak(const TypePtr& type, const NodePtr& literal) {
  const arrow::DataType& own = *literal->type;
  if (IsDecimal(*type) && IsNumber(own)) {
    if (CastLiteral(*literal, type).ok()) return type;
    const TypePtr written = WrittenDecimal(*literal);
    return written == nullptr ? nullptr : WiderDecimal(*type, *written);
  }
  if (IsFloat(*type) && IsNumber(own) && !IsDecimal(own)) return type;
  const TypePtr wider = Wider(type, literal->type);
  const bool rounds = IsInteger(*type) && !IsInteger(own);  // 2.0 beside integers makes floats
  return wider != nullptr && !rounds && CastLiteral(*literal, type).ok() ? type : wider;
}

}  // namespace

std::string TypeName(const arrow::DataType& type) {
  std::string name = type.ToString();
  for (size_t at; (at = name.find(", tz=")) != std::string::npos;) name.erase(at + 2, 3);
  return name;
}

Status Mismatch(const Call& call, const std::string& what, const std::string& advice) {
  return NamedError("TypeMismatch", what + "\nin: " + call.text + (advice.empty() ? "" : "\n" + advice));
}

Status Expect(const Call& call, size_t index, bool good, const char* expected) {
  const arrow::DataType& type = *call.args[index]->type;
  if (good || IsNull(type)) return Status::OK();
  return Mismatch(call, std::string(call.function.name) + " takes " + expected + ", got " + TypeName(type));
}

bool IsNumber(const arrow::DataType& type) { return IsInteger(type) || IsFloat(type) || IsDecimal(type); }
bool IsFloat(const arrow::DataType& type) { return type.id() == Type::FLOAT || type.id() == Type::DOUBLE; }
bool IsInteger(const arrow::DataType& type) { return arrow::is_integer(type.id()); }
bool IsDecimal(const arrow::DataType& type) { return arrow::is_decimal(type.id()); }
bool IsString(const arrow::DataType& type) { return arrow::is_string(type.id()); }
bool IsBinary(const arrow::DataType& type) {
  return type.id() == Type::BINARY || type.id() == Type::LARGE_BINARY || type.id() == Type::FIXED_SIZE_BINARY;
}
bool IsTimestamp(const arrow::DataType& type) { return type.id() == Type::TIMESTAMP; }
bool IsDate(const arrow::DataType& type) { return arrow::is_date(type.id()); }
bool IsDuration(const arrow::DataType& type) { return type.id() == Type::DURATION; }
bool IsNull(const arrow::DataType& type) { return type.id() == Type::NA; }

TypePtr WrittenDecimal(const Node& node) {
  if (IsDecimal(*node.type)) return node.type;
  if (!node.weak || !node.literal->is_valid)
    return IsInteger(*node.type) ? IntegerAsDecimal(*node.type) : nullptr;
  const bool is_float = node.type->id() == Type::DOUBLE;
  arrow::Decimal256 decimal;
  int32_t precision = 0;
  int32_t scale = 0;
  const std::string text = is_float ? WrittenFloat(*node.literal) : node.literal->ToString();
  if (!arrow::Decimal256::FromString(text, &decimal, &precision, &scale).ok()) return nullptr;
  if (scale < 0) {
    precision -= scale;
    scale = 0;
  }
  precision = std::max({precision, scale, 1});
  return precision <= arrow::Decimal128Type::kMaxPrecision ? arrow::decimal128(precision, scale) : nullptr;
}

int32_t DecimalDigits(const arrow::DataType& integer) {
  switch (integer.bit_width()) {
    case 8:
      return 3;
    case 16:
      return 5;
    case 32:
      return 10;
    default:
      return arrow::is_signed_integer(integer.id()) ? 19 : 20;
  }
}

Result<Datum> CastValue(const Datum& value, const arrow::compute::CastOptions& options,
                        ExecContext* context) {
  const arrow::DataType& from = *value.type();
  // Arrow asks for digits for every integer, whatever the values are.
  if (IsInteger(from) && IsDecimal(*options.to_type.type) && !AlwaysFits(from, *options.to_type.type)) {
    FZ_ASSIGN(Datum wide, arrow::compute::Cast(
                              value, arrow::compute::CastOptions::Safe(IntegerAsDecimal(from)), context));
    return arrow::compute::Cast(wide, options, context);
  }
  return arrow::compute::Cast(value, options, context);
}

Result<NodePtr> CastTo(const NodePtr& node, const TypePtr& type) {
  if (node->type->Equals(*type)) return node;
  auto cast = std::make_shared<Node>();
  cast->type = type;
  cast->nullable = node->nullable;
  cast->text = node->text;
  if (node->literal != nullptr) {
    auto value = CastLiteral(*node, type);
    if (!value.ok()) return NamedError("DataError", node->text + " is not a " + TypeName(*type));
    cast->literal = *value;
    return cast;
  }
  cast->fallible = node->fallible || !AlwaysFits(*node->type, *type);
  cast->args = {node};
  const auto options = ImplicitCast(*node->type, type);
  cast->kernel = [options](const std::vector<Datum>& args, int64_t, ExecContext* context) {
    return CastValue(args[0], options, context);
  };
  return cast;
}

Status CastArg(Call& call, size_t index, const TypePtr& type) {
  FZ_ASSIGN(call.args[index], CastTo(call.args[index], type));
  return Status::OK();
}

TypePtr CommonType(const std::vector<NodePtr>& nodes) {
  TypePtr type = arrow::null();
  for (const NodePtr& node : nodes) {
    if (!node->weak) type = Wider(type, node->type);
    if (type == nullptr) return nullptr;
  }
  for (const NodePtr& node : nodes) {
    if (node->weak) type = IsNull(*type) ? node->type : WithWeak(type, node);
    if (type == nullptr) return nullptr;
  }
  return type;
}

Status Unify(Call& call, const char* verb, const std::vector<size_t>& which) {
  std::vector<size_t> indices = which;
  if (indices.empty()) {
    for (size_t i = 0; i < call.args.size(); ++i) indices.push_back(i);
  }
  std::vector<NodePtr> nodes;
  for (const size_t i : indices) {
    FZ_ASSIGN(call.args[i], Plain(call.args[i]));
    nodes.push_back(call.args[i]);
  }
  const TypePtr type = CommonType(nodes);
  if (type == nullptr) {
    // Name the first type that does not go with those before it.
    size_t other = 1;
    while (other + 1 < nodes.size() && CommonType({nodes.begin(), nodes.begin() + other + 1}) != nullptr)
      ++other;
    const std::string right = TypeName(*nodes[other]->type);
    const bool zones = IsTimestamp(*nodes[0]->type) && IsTimestamp(*nodes[other]->type);
    return Mismatch(
        call, std::string("cannot ") + verb + " " + TypeName(*nodes[0]->type) + " with " + right,
        zones ? "one has a zone and one has none: .dt.replace_time_zone('UTC'), or a datetime with tzinfo"
              : "cast one side: col(...).cast(" + right + ")");
  }
  for (const size_t i : indices) FZ_TRY(CastArg(call, i, type));
  return Status::OK();
}

Result<NodePtr> Plain(const NodePtr& node) {
  switch (node->type->id()) {
    case Type::DICTIONARY:
      return CastTo(node, static_cast<const arrow::DictionaryType&>(*node->type).value_type());
    case Type::STRING_VIEW:
      return CastTo(node, arrow::utf8());
    case Type::BINARY_VIEW:
      return CastTo(node, arrow::binary());
    case Type::RUN_END_ENCODED:
      return CastTo(node, static_cast<const arrow::RunEndEncodedType&>(*node->type).value_type());
    default:
      return node;
  }
}

Result<std::string> ConstantString(const Call& call, size_t index, const char* what) {
  const Node& node = *call.args[index];
  if (node.literal == nullptr || !node.literal->is_valid || !IsString(*node.type)) {
    return Mismatch(call,
                    std::string("the ") + what + " of " + call.function.name + " must be a literal string",
                    "it cannot differ from row to row");
  }
  return static_cast<const arrow::BaseBinaryScalar&>(*node.literal).value->ToString();
}

NodePtr LiteralNode(std::shared_ptr<arrow::Scalar> value) {
  auto node = std::make_shared<Node>();
  node->type = value->type;
  node->nullable = !value->is_valid;
  node->text = ValueText(*value);
  node->literal = std::move(value);
  return node;
}

}  // namespace frazil::expr
