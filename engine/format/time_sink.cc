#include "format/time_sink.h"

#include "format/json_column.h"
#include "format/json_time.h"
#include "format/quoted_text.h"

namespace frazil {
namespace {

using Unit = arrow::TimeUnit;

TimeFit Parse(const arrow::DataType& type, std::string_view text, int64_t* value) {
  const Unit::type unit = TimeUnitOf(type);
  switch (type.id()) {
    case arrow::Type::DATE32: {
      int32_t days = 0;
      const TimeFit fit = ParseIsoDate(text, &days);
      *value = days;
      return fit;
    }
    case arrow::Type::TIME32:
    case arrow::Type::TIME64:
      return ParseIsoTime(text, unit, value);
    case arrow::Type::TIMESTAMP:
      return ParseIsoTimestamp(text, unit, value);
    default:
      return ParseIsoDuration(text, unit, value);
  }
}

}  // namespace

TimeScale TimeScale::Of(Unit::type from, const arrow::DataType& column) {
  if (column.id() == arrow::Type::DATE32) return {1, kDaySeconds * PerSecond(from)};
  const int64_t have = PerSecond(from), want = PerSecond(TimeUnitOf(column));
  return {want > have ? want / have : 1, have > want ? have / want : 1};
}

Unit::type TimeUnitOf(const arrow::DataType& type) {
  switch (type.id()) {
    case arrow::Type::TIMESTAMP:
      return static_cast<const arrow::TimestampType&>(type).unit();
    case arrow::Type::DURATION:
      return static_cast<const arrow::DurationType&>(type).unit();
    case arrow::Type::DATE32:
      return Unit::SECOND;
    default:
      return static_cast<const arrow::TimeType&>(type).unit();
  }
}

std::optional<Unit::type> DeclaredTimeUnit(const arrow::Field& field) {
  const std::string text = JsonMetadata(field, "fz:time_unit");
  for (const auto unit : {Unit::SECOND, Unit::MILLI, Unit::MICRO, Unit::NANO}) {
    if (text == UnitName(unit)) return unit;
  }
  return std::nullopt;
}

bool TimeSink::PutNumber(int64_t number, TimeScale scale, JsonFailure& failure) {
  int64_t value = number;
  if (scale.times != 1 && __builtin_mul_overflow(number, scale.times, &value)) [[unlikely]]
    return Outside(std::to_string(number), failure);
  if (scale.through != 1) {
    if (number % scale.through != 0) [[unlikely]]
      return TooFine(std::to_string(number), failure);
    value = number / scale.through;
  }
  return Put(value, {}, failure);
}

bool TimeSink::PutText(std::string_view text, JsonFailure& failure) {
  int64_t value = 0;
  const TimeFit fit = Parse(type(), text, &value);
  if (fit == TimeFit::kExact) [[likely]]
    return Put(value, std::string(text), failure);
  const std::string shown = QuotedText(text);
  if (fit == TimeFit::kInexact) return TooFine(shown, failure);
  if (fit == TimeFit::kOverflow) return Outside(shown, failure);
  return failure.Because("expected ISO 8601 text of " + type().ToString() + ", got " + shown);
}

bool TimeSink::PutNanos(__int128 nanos, JsonFailure& failure) {
  const int64_t through = 1'000'000'000 / PerSecond(TimeUnitOf(type()));
  const __int128 value = nanos / through;
  const auto seconds = static_cast<int64_t>(nanos / 1'000'000'000);
  if (value * through != nanos) [[unlikely]]
    return TooFine(std::to_string(seconds) + " s and a fraction", failure);
  if (value != static_cast<int64_t>(value)) [[unlikely]]
    return Outside(std::to_string(seconds) + " s", failure);
  return Put(static_cast<int64_t>(value), {}, failure);
}

}  // namespace frazil
