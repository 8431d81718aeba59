#pragma once

#include <arrow/type_fwd.h>

#include <cstdint>
#include <string>

namespace frazil {

// A day of the proleptic Gregorian calendar.
struct CivilDay {
  int64_t year = 1970;
  int month = 1;  // 1..12
  int day = 1;    // 1..31
};

// The day that is `days` after 1970-01-01; exact for all days an int32 holds, and for all an int64 of
// microseconds has.
CivilDay CivilFromDays(int64_t days);
// Its inverse; the day may be any number: 0 is the day before the month.
int64_t DaysFromCivil(int64_t year, int month, int64_t day);

// Rounds towards minus infinity; `by` > 0.
constexpr int64_t FloorDivide(int64_t value, int64_t by) {
  const int64_t quotient = value / by;
  return value % by < 0 ? quotient - 1 : quotient;
}

// Units of a second.
int64_t PerSecond(arrow::TimeUnit::type unit);

// ISO 8601. Seconds have a fraction only if there is one, of 3, 6 or 9 digits. Years beyond 0..9999 have a
// sign.
std::string IsoDate(int64_t days);                                              // 2026-01-31
std::string IsoTime(int64_t value, arrow::TimeUnit::type unit);                 // 23:59:59.001
std::string IsoTimestamp(int64_t value, arrow::TimeUnit::type unit, bool utc);  // 2026-01-31T23:59:59.001Z

}  // namespace frazil
