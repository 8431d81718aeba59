#pragma once

#include <arrow/type.h>

#include <cstdint>
#include <string_view>

namespace frazil {

// Texts of ISO 8601, digit for digit; nothing is guessed.
enum class TimeFit {
  kExact,
  kInexact,   // fraction digits other than zero beyond the unit were cut, towards the past
  kBad,       // not of the form, or no such date or time (2026-02-30, 24:00, a leap second)
  kOverflow,  // outside the range of the unit
};

// `YYYY-MM-DD`, years 0000 to 9999, proleptic Gregorian: days since 1970-01-01.
TimeFit ParseIsoDate(std::string_view text, int32_t* days);

// `YYYY-MM-DD`, then optionally `T` or a space, `HH:MM`, `:SS`, `.` or `,` and 1 to 9 digits, then optionally
// `Z`, `+HH`,
// `+HHMM` or `+HH:MM`. Units since 1970-01-01T00:00:00Z; a text without offset is UTC.
TimeFit ParseIsoTimestamp(std::string_view text, arrow::TimeUnit::type unit, int64_t* value);

// `HH:MM`, `:SS`, fraction as above: units since midnight.
TimeFit ParseIsoTime(std::string_view text, arrow::TimeUnit::type unit, int64_t* value);

// `PnDTnHnMn.nS` with a sign in front, each part once and in this order, at least one; also `PnW`. A day is
// 24 hours.
TimeFit ParseIsoDuration(std::string_view text, arrow::TimeUnit::type unit, int64_t* value);

// "s", "ms", "us" or "ns".
const char* UnitName(arrow::TimeUnit::type unit);

}  // namespace frazil
