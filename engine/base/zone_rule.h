#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace frazil {

// When summer time begins or ends in a year, as a POSIX TZ string says it.
struct ZoneDay {
  enum class Kind { kMonth, kJulian, kOrdinal };  // Mm.w.d, Jn (without 29 February), n
  Kind kind = Kind::kMonth;
  int month = 1, week = 1, weekday = 0, day = 0;
  int64_t time = 7200;  // seconds of the clock since the day began; may be negative, or beyond a day

  // In seconds of the clocks since 1970.
  int64_t in(int64_t year) const;
};

// How a zone goes on: a POSIX TZ string, as in "CET-1CEST,M3.5.0,M10.5.0/3". Offsets are seconds ahead of
// UTC.
struct ZoneRule {
  int64_t standard = 0;
  bool summer_time = false;
  int64_t summer = 0;
  ZoneDay begin, end;
};

// Nothing if the text is none.
std::optional<ZoneRule> ParseZoneRule(std::string_view text);

}  // namespace frazil
