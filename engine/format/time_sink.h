#pragma once

#include <arrow/builder.h>

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "base/calendar.h"
#include "format/json_cursor.h"

namespace frazil {

constexpr int64_t kDaySeconds = 86'400;

// How numbers of one unit become those of a column's: times or through a factor.
struct TimeScale {
  int64_t times = 1;
  int64_t through = 1;

  static TimeScale Of(arrow::TimeUnit::type from, const arrow::DataType& column);
};

// The unit of a type of times; of dates, seconds.
arrow::TimeUnit::type TimeUnitOf(const arrow::DataType& type);

// The fz:time_unit of a field.
std::optional<arrow::TimeUnit::type> DeclaredTimeUnit(const arrow::Field& field);

// A column of dates, times, timestamps or durations: puts values of its unit and knows what it holds.
class TimeSink {
 public:
  explicit TimeSink(arrow::ArrayBuilder* builder) : builder_(builder), id_(builder->type()->id()) {
    if (id_ == arrow::Type::TIME32 || id_ == arrow::Type::TIME64) {
      const auto unit = static_cast<const arrow::TimeType&>(*builder->type()).unit();
      least_ = 0;
      most_ = kDaySeconds * PerSecond(unit) - 1;
    } else if (id_ == arrow::Type::DATE32) {
      least_ = std::numeric_limits<int32_t>::min();
      most_ = std::numeric_limits<int32_t>::max();
    }
  }

  const arrow::DataType& type() const { return *builder_->type(); }

  bool Put(int64_t value, const std::string& shown, JsonFailure& failure) {
    if (value < least_ || value > most_) [[unlikely]]
      return Outside(shown.empty() ? std::to_string(value) : shown, failure);
    switch (id_) {
      case arrow::Type::DATE32:
        return failure.Ok(static_cast<arrow::Date32Builder*>(builder_)->Append(static_cast<int32_t>(value)));
      case arrow::Type::TIME32:
        return failure.Ok(static_cast<arrow::Time32Builder*>(builder_)->Append(static_cast<int32_t>(value)));
      case arrow::Type::TIME64:
        return failure.Ok(static_cast<arrow::Time64Builder*>(builder_)->Append(value));
      case arrow::Type::TIMESTAMP:
        return failure.Ok(static_cast<arrow::TimestampBuilder*>(builder_)->Append(value));
      default:
        return failure.Ok(static_cast<arrow::DurationBuilder*>(builder_)->Append(value));
    }
  }
  // A number of another unit. What the column does not hold is refused, and never cut.
  bool PutNumber(int64_t number, TimeScale scale, JsonFailure& failure);
  // A text of ISO 8601.
  bool PutText(std::string_view text, JsonFailure& failure);
  // Nanoseconds, as of above.
  bool PutNanos(__int128 nanos, JsonFailure& failure);

  bool Outside(const std::string& shown, JsonFailure& failure) const {
    return failure.Because(shown + " is outside the range of " + type().ToString());
  }
  bool TooFine(const std::string& shown, JsonFailure& failure) const {
    return failure.Because(shown + " has more digits than " + type().ToString() + " holds");
  }

 private:
  arrow::ArrayBuilder* builder_;
  arrow::Type::type id_;
  int64_t least_ = std::numeric_limits<int64_t>::min();
  int64_t most_ = std::numeric_limits<int64_t>::max();
};

}  // namespace frazil
