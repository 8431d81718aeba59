#include "format/json_time.h"

#include <limits>

#include "base/calendar.h"

namespace frazil {
namespace {

constexpr int64_t kDaySeconds = 86'400;
constexpr int kFractionDigits = 9;

struct Reader {
  const char* p;
  const char* end;

  explicit Reader(std::string_view text) : p(text.data()), end(text.data() + text.size()) {}
  bool done() const { return p == end; }
  bool take(char c) {
    if (p == end || *p != c) return false;
    ++p;
    return true;
  }
  // Exactly `count` digits.
  bool digits(int count, int32_t* value) {
    if (end - p < count) return false;
    *value = 0;
    for (int i = 0; i < count; ++i, ++p) {
      if (*p < '0' || *p > '9') return false;
      *value = *value * 10 + (*p - '0');
    }
    return true;
  }
  // One to nine digits as nanoseconds.
  bool fraction(int64_t* nanos) {
    int count = 0;
    *nanos = 0;
    for (; p != end && *p >= '0' && *p <= '9'; ++p, ++count) {
      if (count == kFractionDigits) return false;
      *nanos = *nanos * 10 + (*p - '0');
    }
    if (count == 0) return false;
    for (; count < kFractionDigits; ++count) *nanos *= 10;
    return true;
  }
};

bool IsLeapYear(int32_t year) { return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0; }

// Days since 1970-01-01, from eras of 400 years that begin on the first of March.
int32_t DaysOf(int32_t year, int32_t month, int32_t day) {
  year -= month <= 2 ? 1 : 0;
  const int32_t era = (year >= 0 ? year : year - 399) / 400;
  const int32_t year_of_era = year - era * 400;
  const int32_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  const int32_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146'097 + day_of_era - 719'468;
}

bool ReadDate(Reader& in, int32_t* days) {
  int32_t year, month, day;
  if (!in.digits(4, &year) || !in.take('-') || !in.digits(2, &month) || !in.take('-') ||
      !in.digits(2, &day)) {
    return false;
  }
  constexpr int32_t kMonthDays[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  if (month < 1 || month > 12) return false;
  const int32_t last = kMonthDays[month - 1] + (month == 2 && IsLeapYear(year) ? 1 : 0);
  if (day < 1 || day > last) return false;
  *days = DaysOf(year, month, day);
  return true;
}

bool ReadClock(Reader& in, int64_t* seconds, int64_t* nanos) {
  int32_t hour, minute, second = 0;
  *nanos = 0;
  if (!in.digits(2, &hour) || !in.take(':') || !in.digits(2, &minute)) return false;
  if (in.take(':')) {
    if (!in.digits(2, &second)) return false;
    if ((in.take('.') || in.take(',')) && !in.fraction(nanos)) return false;
  }
  if (hour > 23 || minute > 59 || second > 59) return false;
  *seconds = hour * 3600 + minute * 60 + second;
  return true;
}

bool ReadOffset(Reader& in, int64_t* seconds) {
  *seconds = 0;
  if (in.done() || in.take('Z') || in.take('z')) return true;
  const bool negative = in.take('-');
  if (!negative && !in.take('+')) return false;
  int32_t hour, minute = 0;
  if (!in.digits(2, &hour)) return false;
  if (!in.done()) {
    in.take(':');
    if (!in.digits(2, &minute)) return false;
  }
  if (hour > 23 || minute > 59) return false;
  *seconds = (hour * 3600 + minute * 60) * (negative ? -1 : 1);
  return true;
}

// seconds and nanos in [0, 1e9) to units, cut towards the past.
TimeFit ToUnits(__int128 seconds, int64_t nanos, arrow::TimeUnit::type unit, int64_t* value) {
  const int64_t per_second = PerSecond(unit);
  const int64_t nanos_per_unit = 1'000'000'000 / per_second;
  const __int128 units = seconds * per_second + nanos / nanos_per_unit;
  if (units < std::numeric_limits<int64_t>::min() || units > std::numeric_limits<int64_t>::max()) {
    return TimeFit::kOverflow;
  }
  *value = static_cast<int64_t>(units);
  return nanos % nanos_per_unit == 0 ? TimeFit::kExact : TimeFit::kInexact;
}

// One `n<letter>` part of a duration; leaves the reader where it was if the letter is another one.
struct DurationPart {
  int64_t number = 0;
  int64_t nanos = 0;
  bool fraction = false;
  char letter = '\0';
};

bool ReadPart(Reader& in, DurationPart* part) {
  *part = {};
  const char* begin = in.p;
  for (; in.p != in.end && *in.p >= '0' && *in.p <= '9'; ++in.p) {
    if (__builtin_mul_overflow(part->number, 10, &part->number) ||
        __builtin_add_overflow(part->number, *in.p - '0', &part->number)) {
      return false;
    }
  }
  if (in.p == begin) return false;
  if (in.take('.') || in.take(',')) {
    part->fraction = true;
    if (!in.fraction(&part->nanos)) return false;
  }
  if (in.done()) return false;
  part->letter = *in.p++;
  return !part->fraction || part->letter == 'S';
}

}  // namespace

const char* UnitName(arrow::TimeUnit::type unit) {
  switch (unit) {
    case arrow::TimeUnit::SECOND:
      return "s";
    case arrow::TimeUnit::MILLI:
      return "ms";
    case arrow::TimeUnit::MICRO:
      return "us";
    case arrow::TimeUnit::NANO:
      return "ns";
  }
  return "s";
}

TimeFit ParseIsoDate(std::string_view text, int32_t* days) {
  Reader in(text);
  return ReadDate(in, days) && in.done() ? TimeFit::kExact : TimeFit::kBad;
}

TimeFit ParseIsoTimestamp(std::string_view text, arrow::TimeUnit::type unit, int64_t* value) {
  Reader in(text);
  int32_t days;
  int64_t seconds = 0, nanos = 0, offset = 0;
  if (!ReadDate(in, &days)) return TimeFit::kBad;
  if (!in.done()) {
    if (!in.take('T') && !in.take(' ') && !in.take('t')) return TimeFit::kBad;
    if (!ReadClock(in, &seconds, &nanos) || !ReadOffset(in, &offset) || !in.done()) return TimeFit::kBad;
  }
  return ToUnits(static_cast<__int128>(days) * kDaySeconds + seconds - offset, nanos, unit, value);
}

TimeFit ParseIsoTime(std::string_view text, arrow::TimeUnit::type unit, int64_t* value) {
  Reader in(text);
  int64_t seconds = 0, nanos = 0;
  if (!ReadClock(in, &seconds, &nanos) || !in.done()) return TimeFit::kBad;
  return ToUnits(seconds, nanos, unit, value);
}

TimeFit ParseIsoDuration(std::string_view text, arrow::TimeUnit::type unit, int64_t* value) {
  Reader in(text);
  const bool negative = in.take('-');
  if (!negative) in.take('+');
  if (!in.take('P')) return TimeFit::kBad;
  constexpr std::string_view kOrder = "WDHMS";
  constexpr int64_t kSeconds[] = {7 * kDaySeconds, kDaySeconds, 3600, 60, 1};
  __int128 seconds = 0;
  int64_t nanos = 0;
  size_t next = 0;  // first part that may still come
  bool clock = false;
  do {
    if (!clock && in.take('T')) {
      clock = true;
      if (next < 2) next = 2;
    }
    DurationPart part;
    if (!ReadPart(in, &part)) return TimeFit::kBad;
    const size_t at = kOrder.find(part.letter);
    if (at == std::string_view::npos || at < next || clock != (at >= 2)) return TimeFit::kBad;
    next = at + 1;
    seconds += static_cast<__int128>(part.number) * kSeconds[at];
    nanos += part.nanos;
  } while (!in.done());
  if (negative) {
    seconds = -seconds - (nanos > 0 ? 1 : 0);
    nanos = nanos > 0 ? 1'000'000'000 - nanos : 0;
  }
  return ToUnits(seconds, nanos, unit, value);
}

}  // namespace frazil
