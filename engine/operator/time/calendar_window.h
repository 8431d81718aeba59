#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/batch.h"
#include "base/time_zone.h"

namespace frazil {

enum class CalendarUnit { kDay, kWeek, kMonth, kQuarter, kYear };
std::optional<CalendarUnit> CalendarUnitOf(const std::string& name);

// Windows of the calendar of a zone: `count` days, weeks, months, quarters or years. They are counted from
// 1970-01-01, weeks from Monday 1970-01-05, so that windows of several are the same in every program.
//
// A window begins when the clocks of the zone have passed 00:00 of its first day for good: where they jump
// over midnight, at the jump; where they show it twice, at the first time, unless they go back to the day
// before. So a day may have 23 or 25 hours, one that a zone skipped has no time, and every time is in exactly
// one window.
//
// Keeps the window that was asked for last: one thread at a time.
class CalendarWindows {
 public:
  struct Span {
    Timestamp start = 0, end = 0;  // us; [start, end)
  };

  CalendarWindows(CalendarUnit unit, int64_t count, std::shared_ptr<const TimeZone> zone)
      : unit_(unit), count_(count), zone_(std::move(zone)) {}

  // The window that has `time`. At the ends of what a Timestamp holds it is cut off.
  Span of(Timestamp time) const;
  // The end of the window that is `count` windows after the one that has `time`. Days that a zone skipped are
  // counted.
  Timestamp end_after(Timestamp time, int64_t count) const;

 private:
  int64_t number(int64_t day) const;
  int64_t number_at(Timestamp time) const;
  int64_t first_day(int64_t number) const;
  Timestamp begin(int64_t number) const;

  CalendarUnit unit_;
  int64_t count_;
  std::shared_ptr<const TimeZone> zone_;
  mutable Span last_;
};

}  // namespace frazil
