#include <limits>
#include <optional>

#include "base/calendar.h"
#include "format/json_column.h"
#include "format/json_number.h"
#include "format/json_time.h"

namespace frazil {
namespace {

constexpr int64_t kDaySeconds = 86'400;
constexpr int64_t kPowers[] = {1,       10,        100,        1'000,       10'000,
                               100'000, 1'000'000, 10'000'000, 100'000'000, 1'000'000'000};

enum class TimeKind { kDate, kTime, kTimestamp, kDuration };

struct TimeShape {
  TimeKind kind;
  arrow::TimeUnit::type unit =
      arrow::TimeUnit::SECOND;  // of the column; dates are cut from milliseconds or days
  int64_t divisor = 1;          // column value = units / divisor (date32: 86,400 s a day)
  int32_t number_shift = 0;     // numbers: units = number * 10^shift
  bool numbers = false;
  bool number_is_value = false;  // numbers are in the column's own measure (date32 with "d")
};

const char* ExpectedText(const TimeShape& shape) {
  switch (shape.kind) {
    case TimeKind::kDate:
      return shape.numbers ? "number or date YYYY-MM-DD" : "date YYYY-MM-DD";
    case TimeKind::kTime:
      return shape.numbers ? "number or time HH:MM:SS" : "time HH:MM:SS";
    case TimeKind::kTimestamp:
      return shape.numbers ? "number or ISO 8601 timestamp" : "ISO 8601 timestamp";
    case TimeKind::kDuration:
      return shape.numbers ? "number or ISO 8601 duration" : "ISO 8601 duration";
  }
  return "time";
}

// T is the column's C type. Everything is read as int64 units first.
template <typename T>
class TimeColumn : public JsonFixedColumn<T> {
 public:
  TimeColumn(const arrow::Field& field, TimeShape shape, bool truncate, arrow::MemoryPool* pool)
      : JsonFixedColumn<T>(field.type(), field.nullable(), ExpectedText(shape), pool),
        shape_(shape),
        truncate_(truncate) {}

  bool Append(JsonCursor& cursor, JsonFailure& failure) override {
    int64_t value = 0;
    TimeFit fit;
    if (cursor.Peek() == '"') {
      JsonCursor behind = cursor;
      const std::string_view raw = behind.TakeRawString();
      fit = FromText(raw, &value);
    } else {
      JsonNumber number;
      const char first = cursor.Peek();
      if (!shape_.numbers || (first != '-' && (first < '0' || first > '9')) ||
          !ScanJsonNumber(cursor.TokenBegin(), cursor.TokenEnd(), &number)) {
        return Mismatch(cursor, failure);
      }
      fit = FromNumber(number, &value);
    }
    if (fit == TimeFit::kBad) return this->Expected(cursor, failure);
    if (fit == TimeFit::kInexact && !truncate_)
      return Unfit(cursor, "has more digits than ", " holds", failure);
    if (fit == TimeFit::kOverflow || !InRange(value))
      return Unfit(cursor, "is outside the range of ", "", failure);
    cursor.Advance();
    return this->Put(static_cast<T>(value), failure);
  }

 private:
  TimeFit FromText(std::string_view text, int64_t* value) const {
    switch (shape_.kind) {
      case TimeKind::kDate: {
        int32_t days = 0;
        const TimeFit fit = ParseIsoDate(text, &days);
        *value = sizeof(T) == 4 ? days : days * kDaySeconds * 1000;
        return fit;
      }
      case TimeKind::kTime:
        return ParseIsoTime(text, shape_.unit, value);
      case TimeKind::kTimestamp:
        return ParseIsoTimestamp(text, shape_.unit, value);
      case TimeKind::kDuration:
        return ParseIsoDuration(text, shape_.unit, value);
    }
    return TimeFit::kBad;
  }

  TimeFit FromNumber(const JsonNumber& number, int64_t* value) const {
    __int128 wide;
    const NumberFit fit = Widened(number, &wide);
    if (fit == NumberFit::kOverflow) return TimeFit::kOverflow;
    bool exact = fit == NumberFit::kExact;
    if (shape_.divisor != 1) {
      const __int128 rest = wide % shape_.divisor;
      exact = exact && rest == 0;
      wide = wide / shape_.divisor - (rest < 0 ? 1 : 0);
    }
    if (wide < std::numeric_limits<int64_t>::min() || wide > std::numeric_limits<int64_t>::max()) {
      return TimeFit::kOverflow;
    }
    *value = static_cast<int64_t>(wide);
    return exact ? TimeFit::kExact : TimeFit::kInexact;
  }

  NumberFit Widened(const JsonNumber& number, __int128* wide) const {
    if (number.integral && number.exact && shape_.number_shift >= 0) [[likely]] {
      const __int128 magnitude = static_cast<__int128>(number.mantissa) * kPowers[shape_.number_shift];
      *wide = number.negative ? -magnitude : magnitude;
      return NumberFit::kExact;
    }
    return NumberToInt128(number, shape_.number_shift, wide);
  }

  bool InRange(int64_t value) const {
    if (shape_.kind == TimeKind::kTime) return value >= 0 && value < kDaySeconds * PerSecond(shape_.unit);
    return value >= std::numeric_limits<T>::min() && value <= std::numeric_limits<T>::max();
  }

  bool Mismatch(const JsonCursor& cursor, JsonFailure& failure) const {
    this->Expected(cursor, failure);
    const char first = cursor.Peek();
    const bool number = first == '-' || (first >= '0' && first <= '9');
    if (number && !shape_.numbers) failure.reason += "; set the field's time_unit to read numbers";
    return false;
  }

  bool Unfit(const JsonCursor& cursor, const char* how, const char* after, JsonFailure& failure) const {
    this->Expected(cursor, failure);  // makes the shown value
    const size_t got = failure.reason.find(", got ");
    return failure.Because(failure.reason.substr(got + 6) + " " + how + this->type_->ToString() + after);
  }

  TimeShape shape_;
  bool truncate_;
};

// Powers of ten of a second: s 0, ms 3, us 6, ns 9.
int32_t PowerOf(arrow::TimeUnit::type unit) { return 3 * static_cast<int32_t>(unit); }

Result<std::optional<arrow::TimeUnit::type>> UnitOf(const std::string& text) {
  if (text == "s") return arrow::TimeUnit::SECOND;
  if (text == "ms") return arrow::TimeUnit::MILLI;
  if (text == "us") return arrow::TimeUnit::MICRO;
  if (text == "ns") return arrow::TimeUnit::NANO;
  if (text.empty() || text == "iso") return std::nullopt;
  return Error(ErrorKind::kConfig, "unknown time_unit \"" + text + "\"\n  known are: s, ms, us, ns, iso");
}

Result<TimeShape> DateShape(const std::string& unit_text) {
  TimeShape shape{TimeKind::kDate};
  if (unit_text == "d") {
    shape.numbers = true;
    return shape;
  }
  FZ_ASSIGN(const auto unit, UnitOf(unit_text));
  if (!unit.has_value()) return shape;
  shape.numbers = true;
  shape.divisor = kDaySeconds * PerSecond(*unit);
  return shape;
}

Result<TimeShape> ClockShape(TimeKind kind, arrow::TimeUnit::type unit, const std::string& unit_text) {
  TimeShape shape{kind, unit};
  FZ_ASSIGN(auto number_unit, UnitOf(unit_text));
  if (!number_unit.has_value() && kind == TimeKind::kDuration && unit_text.empty()) number_unit = unit;
  if (!number_unit.has_value()) return shape;
  shape.numbers = true;
  shape.number_shift = PowerOf(unit) - PowerOf(*number_unit);
  return shape;
}

}  // namespace

Result<std::unique_ptr<JsonColumn>> MakeJsonTimeColumn(const arrow::Field& field, const JsonOptions& options,
                                                       arrow::MemoryPool* pool) {
  const std::string unit_text = JsonMetadata(field, "fz:time_unit");
  const bool cut = options.truncate_times;
  const auto& type = *field.type();
  switch (type.id()) {
    case arrow::Type::DATE32: {
      FZ_ASSIGN(auto shape, DateShape(unit_text));
      return std::make_unique<TimeColumn<int32_t>>(field, shape, cut, pool);
    }
    case arrow::Type::TIME32: {
      FZ_ASSIGN(auto shape,
                ClockShape(TimeKind::kTime, static_cast<const arrow::TimeType&>(type).unit(), unit_text));
      return std::make_unique<TimeColumn<int32_t>>(field, shape, cut, pool);
    }
    case arrow::Type::TIME64: {
      FZ_ASSIGN(auto shape,
                ClockShape(TimeKind::kTime, static_cast<const arrow::TimeType&>(type).unit(), unit_text));
      return std::make_unique<TimeColumn<int64_t>>(field, shape, cut, pool);
    }
    case arrow::Type::TIMESTAMP: {
      const auto unit = static_cast<const arrow::TimestampType&>(type).unit();
      FZ_ASSIGN(auto shape, ClockShape(TimeKind::kTimestamp, unit, unit_text));
      return std::make_unique<TimeColumn<int64_t>>(field, shape, cut, pool);
    }
    case arrow::Type::DURATION: {
      const auto unit = static_cast<const arrow::DurationType&>(type).unit();
      FZ_ASSIGN(auto shape, ClockShape(TimeKind::kDuration, unit, unit_text));
      return std::make_unique<TimeColumn<int64_t>>(field, shape, cut, pool);
    }
    default:
      if (unit_text.empty()) return nullptr;
      return Error(ErrorKind::kConfig, "time_unit does not go with type " + type.ToString());
  }
}

}  // namespace frazil
