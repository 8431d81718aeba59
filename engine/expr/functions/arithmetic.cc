// Arithmetic that never wraps around: integers and decimals are checked, decimals are exact.
#include <arrow/compute/cast.h>

#include <algorithm>

#include "expr/functions/rules.h"
#include "expr/types.h"

namespace frazil::expr {
namespace {

constexpr int32_t kDigits128 = arrow::Decimal128Type::kMaxPrecision;
constexpr int32_t kDigits256 = arrow::Decimal256Type::kMaxPrecision;
constexpr int32_t kQuotientScale = 6;  // digits after the point that a quotient keeps at least

struct Digits {
  int32_t precision;
  int32_t scale;
};

Digits DigitsOf(const arrow::DataType& type) {
  const auto& decimal = static_cast<const arrow::DecimalType&>(type);
  return {decimal.precision(), decimal.scale()};
}

// Digits of an exact result; of a quotient, those that Arrow's kernel gives.
Digits ResultDigits(std::string_view function, Digits a, Digits b) {
  if (function == "multiply") return {a.precision + b.precision + 1, a.scale + b.scale};
  if (function == "divide") {
    const int32_t scale = std::max(4, a.scale + b.precision - b.scale + 1);
    return {a.precision - a.scale + b.scale + scale, scale};
  }
  const int32_t scale = std::max(a.scale, b.scale);
  const int32_t whole = std::max(a.precision - a.scale, b.precision - b.scale);
  return {whole + scale + (function == "modulo" ? 0 : 1), scale};
}

bool AnyArg(const Call& call, bool (*is)(const arrow::DataType&)) {
  return std::any_of(call.args.begin(), call.args.end(), [is](const NodePtr& arg) { return is(*arg->type); });
}

bool AllArgs(const Call& call, bool (*is)(const arrow::DataType&)) {
  return std::all_of(call.args.begin(), call.args.end(), [is](const NodePtr& arg) { return is(*arg->type); });
}

Status NotFor(const Call& call) {
  const std::string left = TypeName(*call.args[0]->type);
  const std::string right = TypeName(*call.args[1]->type);
  const bool both_numbers = AllArgs(call, IsNumber);
  return Mismatch(call, "cannot " + std::string(call.function.name) + " " + left + " and " + right,
                  both_numbers ? "cast one side: col(...).cast(" + right + ")"
                               : std::string("it takes ") + call.function.signature);
}

// Makes a null literal a null of the other argument's type.
Status TypeNulls(Call& call) {
  for (size_t i = 0; i < call.args.size(); ++i) {
    FZ_ASSIGN(call.args[i], Plain(call.args[i]));
  }
  for (size_t i = 0; i < 2; ++i) {
    if (IsNull(*call.args[i]->type)) {
      const TypePtr other = call.args[1 - i]->type;
      FZ_TRY(CastArg(call, i, IsNull(*other) ? arrow::int64() : other));
    }
  }
  return Status::OK();
}

// A result wider than 38 digits is computed with 76 and has to fit 38: what does not fit is an error, never
// rounded, but for quotients, which lose digits behind the point.
Result<Node> WideDecimals(Call& call, Digits a, Digits b, Digits result) {
  if (result.precision > kDigits256) {
    return Mismatch(call, "the result would need " + std::to_string(result.precision) + " digits",
                    "cast one side to fewer: .cast(fz.Decimal[18, 2])");
  }
  FZ_TRY(CastArg(call, 0, arrow::decimal256(a.precision, a.scale)));
  FZ_TRY(CastArg(call, 1, arrow::decimal256(b.precision, b.scale)));
  FZ_ASSIGN(Node node, FallibleArrowCall(call, call.function.kernel));
  const bool quotient = std::string_view(call.function.name) == "divide";
  int32_t scale = std::min(result.scale, kDigits128);
  if (quotient) {
    const int32_t whole = result.precision - result.scale;
    scale = std::min(result.scale, std::max(kDigits128 - whole, kQuotientScale));
  }
  node.type = arrow::decimal128(kDigits128, scale);
  auto options = arrow::compute::CastOptions::Safe(node.type);
  options.allow_decimal_truncate = quotient;
  node.kernel = [wide = node.kernel, options](const std::vector<Datum>& args, int64_t rows,
                                              ExecContext* context) -> Result<Datum> {
    FZ_ASSIGN(Datum value, wide(args, rows, context));
    return arrow::compute::Cast(value, options, context);
  };
  return node;
}

Result<Node> Decimals(Call& call) {
  for (size_t i = 0; i < 2; ++i) {
    const TypePtr type = WrittenDecimal(*call.args[i]);
    if (type == nullptr) return NotFor(call);
    FZ_TRY(CastArg(call, i, type));
  }
  const Digits a = DigitsOf(*call.args[0]->type);
  const Digits b = DigitsOf(*call.args[1]->type);
  const Digits result = ResultDigits(call.function.name, a, b);
  const bool wide = result.precision > kDigits128 || call.args[0]->type->id() == arrow::Type::DECIMAL256 ||
                    call.args[1]->type->id() == arrow::Type::DECIMAL256;
  if (wide) return WideDecimals(call, a, b, result);
  return FallibleArrowCall(call, call.function.kernel);
}

// Timestamps, dates and durations.
Result<Node> Times(Call& call) {
  const std::string_view name = call.function.name;
  const arrow::DataType& left = *call.args[0]->type;
  const arrow::DataType& right = *call.args[1]->type;
  if (name == "multiply") {
    if (!(IsDuration(left) && IsInteger(right)) && !(IsInteger(left) && IsDuration(right)))
      return NotFor(call);
    FZ_TRY(CastArg(call, IsDuration(left) ? 1 : 0, arrow::int64()));
    return FallibleArrowCall(call, call.function.kernel);
  }
  const bool same = (IsTimestamp(left) && IsTimestamp(right)) || (IsDate(left) && IsDate(right));
  const bool durations = IsDuration(left) && IsDuration(right);
  if ((same && name == "subtract") || durations) {
    FZ_TRY(Unify(call, call.function.name));
    return FallibleArrowCall(call, call.function.kernel);
  }
  const bool shift =
      (IsTimestamp(left) && IsDuration(right)) || (name == "add" && IsDuration(left) && IsTimestamp(right));
  if (!shift) return NotFor(call);
  const size_t at = IsTimestamp(left) ? 0 : 1;
  const auto& time = static_cast<const arrow::TimestampType&>(*call.args[at]->type);
  const auto& duration = static_cast<const arrow::DurationType&>(*call.args[1 - at]->type);
  const std::string zone = time.timezone();
  const auto time_unit = time.unit();
  // A duration of whole units of the timestamp keeps its unit: ts[ms] + 10 s.
  if (call.args[1 - at]->weak && CastTo(call.args[1 - at], arrow::duration(time_unit)).ok()) {
    FZ_TRY(CastArg(call, 1 - at, arrow::duration(time_unit)));
    return FallibleArrowCall(call, call.function.kernel);
  }
  const auto unit = std::max(time_unit, duration.unit());
  FZ_TRY(CastArg(call, at, arrow::timestamp(unit, zone)));
  FZ_TRY(CastArg(call, 1 - at, arrow::duration(unit)));
  return FallibleArrowCall(call, call.function.kernel);
}

bool IsTime(const arrow::DataType& type) { return IsTimestamp(type) || IsDate(type) || IsDuration(type); }

}  // namespace

Result<Node> BindArithmetic(Call& call) {
  FZ_TRY(TypeNulls(call));
  if (AnyArg(call, IsTime)) return Times(call);
  if (std::string_view(call.function.name) == "add" && AllArgs(call, IsString)) return BindConcat(call);
  if (!AllArgs(call, IsNumber)) return NotFor(call);
  if (AnyArg(call, IsDecimal)) return Decimals(call);
  FZ_TRY(Unify(call, call.function.name));
  FZ_ASSIGN(Node node, FallibleArrowCall(call, call.function.kernel));
  node.fallible = !IsFloat(*node.type);
  return node;
}

Result<Node> BindDivide(Call& call) {
  FZ_TRY(TypeNulls(call));
  if (!AllArgs(call, IsNumber)) return NotFor(call);
  if (AnyArg(call, IsDecimal)) return Decimals(call);
  FZ_TRY(CastArg(call, 0, arrow::float64()));
  FZ_TRY(CastArg(call, 1, arrow::float64()));
  return ArrowCall(call, "divide");
}

Result<Node> BindModulo(Call& call) {
  FZ_TRY(TypeNulls(call));
  if (!AllArgs(call, IsNumber)) return NotFor(call);
  if (AnyArg(call, IsDecimal)) return Decimals(call);
  FZ_TRY(Unify(call, call.function.name));
  FZ_ASSIGN(Node node, FallibleArrowCall(call, call.function.kernel));
  node.fallible = !IsFloat(*node.type);
  return node;
}

Result<Node> BindFloorDivide(Call& call) {
  FZ_TRY(TypeNulls(call));
  if (!AllArgs(call, IsNumber)) return NotFor(call);
  if (AnyArg(call, IsDecimal)) {
    return Mismatch(call, "floor_divide does not work on decimals", "write (a / b).floor()");
  }
  FZ_TRY(Unify(call, call.function.name));
  const TypePtr type = call.args[0]->type;
  if (IsFloat(*type)) {
    // As Python: (a - a % b) / b is whole; rounding takes away what the float division adds.
    return OwnCall(call, type,
                   [](const std::vector<Datum>& args, int64_t, ExecContext* context) -> Result<Datum> {
                     FZ_ASSIGN(Datum quotient, CallArrow("divide", args, context));
                     return CallArrow("floor", {quotient}, context);
                   });
  }
  const auto zero_64 = arrow::MakeScalar(int64_t{0});
  FZ_ASSIGN(Datum zero, arrow::compute::Cast(Datum(zero_64), type));
  Node node =
      OwnCall(call, type,
              [type, zero](const std::vector<Datum>& args, int64_t, ExecContext* context) -> Result<Datum> {
                FZ_ASSIGN(Datum quotient, CallArrow("divide_checked", args, context));
                if (!arrow::is_signed_integer(type->id())) return quotient;
                // The kernel rounds towards zero: one less where a remainder has the other sign than the
                // divisor.
                FZ_ASSIGN(Datum rest, CallArrow("remainder", args, context));
                FZ_ASSIGN(Datum inexact, CallArrow("not_equal", {rest, zero}, context));
                FZ_ASSIGN(Datum rest_negative, CallArrow("less", {rest, zero}, context));
                FZ_ASSIGN(Datum divisor_negative, CallArrow("less", {args[1], zero}, context));
                FZ_ASSIGN(Datum differ, CallArrow("xor", {rest_negative, divisor_negative}, context));
                FZ_ASSIGN(Datum below, CallArrow("and", {inexact, differ}, context));
                FZ_ASSIGN(Datum one_less,
                          arrow::compute::Cast(below, type, arrow::compute::CastOptions::Safe(), context));
                return CallArrow("subtract", {quotient, one_less}, context);
              });
  node.fallible = true;
  return node;
}

Result<Node> BindPower(Call& call) {
  FZ_TRY(TypeNulls(call));
  if (!AllArgs(call, IsNumber)) return NotFor(call);
  const NodePtr& exponent = call.args[1];
  if (AllArgs(call, IsInteger) && exponent->literal != nullptr) {
    FZ_ASSIGN(NodePtr wide, CastTo(exponent, arrow::int64()));
    const auto& power = static_cast<const arrow::Int64Scalar&>(*wide->literal);
    if (power.is_valid && power.value >= 0) {
      FZ_TRY(Unify(call, call.function.name));
      return FallibleArrowCall(call, "power_checked");
    }
  }
  FZ_TRY(CastArg(call, 0, arrow::float64()));
  FZ_TRY(CastArg(call, 1, arrow::float64()));
  return ArrowCall(call, "power");
}

}  // namespace frazil::expr
