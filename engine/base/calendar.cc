#include "base/calendar.h"

#include <arrow/type.h>

#include <cstdio>

namespace frazil {
namespace {

constexpr int64_t kSecondsPerDay = 86400;

}  // namespace

CivilDay CivilFromDays(int64_t days) {
  // Eras of 400 years that begin on 1 March, so that the leap day ends a year.
  days += 719468;
  const int64_t era = FloorDivide(days, 146097);
  const int64_t day_of_era = days - era * 146097;
  const int64_t year_of_era =
      (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  const int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const int64_t shifted = (5 * day_of_year + 2) / 153;  // months since March
  const int month = static_cast<int>(shifted < 10 ? shifted + 3 : shifted - 9);
  return {year_of_era + era * 400 + (month <= 2 ? 1 : 0), month,
          static_cast<int>(day_of_year - (153 * shifted + 2) / 5 + 1)};
}

int64_t DaysFromCivil(int64_t year, int month, int64_t day) {
  const int64_t shifted_year = month <= 2 ? year - 1 : year;
  const int64_t era = FloorDivide(shifted_year, 400);
  const int64_t year_of_era = shifted_year - era * 400;
  const int64_t months_since_march = month > 2 ? month - 3 : month + 9;
  const int64_t day_of_year = (153 * months_since_march + 2) / 5 + day - 1;
  const int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146097 + day_of_era - 719468;
}

int64_t PerSecond(arrow::TimeUnit::type unit) {
  switch (unit) {
    case arrow::TimeUnit::SECOND:
      return 1;
    case arrow::TimeUnit::MILLI:
      return 1'000;
    case arrow::TimeUnit::MICRO:
      return 1'000'000;
    case arrow::TimeUnit::NANO:
      return 1'000'000'000;
  }
  return 1;
}

std::string IsoDate(int64_t days) {
  const CivilDay civil = CivilFromDays(days);
  const bool plain = civil.year >= 0 && civil.year <= 9999;
  char text[48];
  std::snprintf(text, sizeof(text), plain ? "%04lld-%02d-%02d" : "%+05lld-%02d-%02d",
                static_cast<long long>(civil.year), civil.month, civil.day);
  return text;
}

std::string IsoTime(int64_t value, arrow::TimeUnit::type unit) {
  const int64_t per_second = PerSecond(unit);
  const int64_t seconds = value / per_second;
  int64_t fraction = value % per_second * (1'000'000'000 / per_second);
  char text[48];
  std::snprintf(text, sizeof(text), "%02lld:%02lld:%02lld", static_cast<long long>(seconds / 3600),
                static_cast<long long>(seconds / 60 % 60), static_cast<long long>(seconds % 60));
  if (fraction == 0) return text;
  int digits = 9;
  for (; fraction % 1000 == 0; fraction /= 1000) digits -= 3;
  char tail[24];
  std::snprintf(tail, sizeof(tail), ".%0*lld", digits, static_cast<long long>(fraction));
  return std::string(text) + tail;
}

std::string IsoTimestamp(int64_t value, arrow::TimeUnit::type unit, bool utc) {
  const int64_t per_day = kSecondsPerDay * PerSecond(unit);
  const int64_t days = FloorDivide(value, per_day);
  return IsoDate(days) + "T" + IsoTime(value - days * per_day, unit) + (utc ? "Z" : "");
}

}  // namespace frazil
