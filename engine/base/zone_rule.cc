#include "base/zone_rule.h"

#include "base/calendar.h"

namespace frazil {
namespace {

constexpr int64_t kDay = 86400;
constexpr int kHoursMax = 167;  // RFC 9636: a week

// Takes pieces from the front of a text; what does not fit leaves `good` false.
struct Reader {
  std::string_view rest;
  bool good = true;

  bool take(char wanted) {
    if (rest.empty() || rest.front() != wanted) return false;
    rest.remove_prefix(1);
    return true;
  }

  void need(char wanted) { good = take(wanted) && good; }

  int number(int least, int most) {
    int value = 0;
    size_t digits = 0;
    while (digits < rest.size() && digits < 3 && rest[digits] >= '0' && rest[digits] <= '9') {
      value = value * 10 + (rest[digits++] - '0');
    }
    rest.remove_prefix(digits);
    good = good && digits > 0 && value >= least && value <= most;
    return value;
  }

  // CET, <+03>
  void name() {
    size_t length = 0;
    if (take('<')) {
      length = rest.find('>');
      good = good && length != std::string_view::npos;
      rest.remove_prefix(good ? length + 1 : 0);
      return;
    }
    while (length < rest.size() && ((rest[length] | 0x20) >= 'a' && (rest[length] | 0x20) <= 'z')) ++length;
    good = good && length >= 3;
    rest.remove_prefix(length);
  }

  // [+-]h[:m[:s]]
  int64_t time() {
    const bool negative = take('-');
    if (!negative) take('+');
    int64_t seconds = number(0, kHoursMax) * 3600;
    if (take(':')) {
      seconds += number(0, 59) * 60;
      if (take(':')) seconds += number(0, 59);
    }
    return negative ? -seconds : seconds;
  }

  ZoneDay day() {
    ZoneDay made;
    if (take('M')) {
      made.month = number(1, 12);
      need('.');
      made.week = number(1, 5);
      need('.');
      made.weekday = number(0, 6);
    } else if (take('J')) {
      made.kind = ZoneDay::Kind::kJulian;
      made.day = number(1, 365);
    } else {
      made.kind = ZoneDay::Kind::kOrdinal;
      made.day = number(0, 365);
    }
    if (take('/')) made.time = time();
    return made;
  }
};

}  // namespace

int64_t ZoneDay::in(int64_t year) const {
  const int64_t first = DaysFromCivil(year, 1, 1);
  if (kind == Kind::kOrdinal) return (first + day) * kDay + time;
  if (kind == Kind::kJulian) {
    const bool leap = DaysFromCivil(year + 1, 1, 1) - first == 366;
    return (first + day - 1 + (leap && day >= 60 ? 1 : 0)) * kDay + time;
  }
  const int64_t month_begin = DaysFromCivil(year, month, 1);
  const int64_t month_end = month == 12 ? DaysFromCivil(year + 1, 1, 1) : DaysFromCivil(year, month + 1, 1);
  // 1970-01-01 was a Thursday.
  const int64_t first_weekday = month_begin + 4 - FloorDivide(month_begin + 4, 7) * 7;
  int64_t found = month_begin + (weekday - first_weekday + 7) % 7 + (week - 1) * 7;
  if (found >= month_end) found -= 7;
  return found * kDay + time;
}

std::optional<ZoneRule> ParseZoneRule(std::string_view text) {
  Reader reader{text};
  ZoneRule rule;
  reader.name();
  // POSIX counts westwards.
  rule.standard = -reader.time();
  if (!reader.good) return std::nullopt;
  if (reader.rest.empty()) return rule;
  rule.summer_time = true;
  reader.name();
  rule.summer = rule.standard + 3600;
  if (!reader.rest.empty() && reader.rest.front() != ',') rule.summer = -reader.time();
  reader.need(',');
  rule.begin = reader.day();
  reader.need(',');
  rule.end = reader.day();
  if (!reader.good || !reader.rest.empty()) return std::nullopt;
  return rule;
}

}  // namespace frazil
