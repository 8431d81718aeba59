#include "operator/time/calendar_window.h"

#include <map>

#include "base/calendar.h"

namespace frazil {
namespace {

constexpr int64_t kDay = 86400;         // seconds
constexpr int64_t kMicros = 1'000'000;  // of a second
constexpr int64_t kFirstMonday = 4;     // 1970-01-05, in days

}  // namespace

std::optional<CalendarUnit> CalendarUnitOf(const std::string& name) {
  static const std::map<std::string, CalendarUnit> units = {{"day", CalendarUnit::kDay},
                                                            {"week", CalendarUnit::kWeek},
                                                            {"month", CalendarUnit::kMonth},
                                                            {"quarter", CalendarUnit::kQuarter},
                                                            {"year", CalendarUnit::kYear}};
  const auto found = units.find(name);
  if (found == units.end()) return std::nullopt;
  return found->second;
}

// Of the window with a day of the calendar.
int64_t CalendarWindows::number(int64_t day) const {
  if (unit_ == CalendarUnit::kDay) return FloorDivide(day, count_);
  if (unit_ == CalendarUnit::kWeek) return FloorDivide(day - kFirstMonday, 7 * count_);
  const CivilDay civil = CivilFromDays(day);
  if (unit_ == CalendarUnit::kYear) return FloorDivide(civil.year - 1970, count_);
  const int64_t months = (civil.year - 1970) * 12 + civil.month - 1;
  return FloorDivide(months, unit_ == CalendarUnit::kMonth ? count_ : 3 * count_);
}

int64_t CalendarWindows::first_day(int64_t number) const {
  if (unit_ == CalendarUnit::kDay) return number * count_;
  if (unit_ == CalendarUnit::kWeek) return number * count_ * 7 + kFirstMonday;
  const int64_t per = unit_ == CalendarUnit::kYear ? 12 : unit_ == CalendarUnit::kQuarter ? 3 : 1;
  const int64_t months = number * count_ * per;
  const int64_t year = FloorDivide(months, 12);
  return DaysFromCivil(1970 + year, static_cast<int>(months - year * 12) + 1, 1);
}

Timestamp CalendarWindows::begin(int64_t number) const {
  const int64_t seconds = zone_->passed(first_day(number) * kDay);
  Timestamp micros = 0;
  if (__builtin_mul_overflow(seconds, kMicros, &micros)) return seconds < 0 ? kWatermarkMin : kWatermarkMax;
  return micros;
}

// Of the window with a time.
int64_t CalendarWindows::number_at(Timestamp time) const {
  const int64_t instant = FloorDivide(time, kMicros);
  int64_t number = this->number(FloorDivide(instant + zone_->offset(instant), kDay));
  // Clocks that go back over midnight show the next day, for a moment, while it has not begun for good.
  while (begin(number) > time) --number;
  return number;
}

CalendarWindows::Span CalendarWindows::of(Timestamp time) const {
  if (time >= last_.start && time < last_.end) return last_;
  const int64_t number = number_at(time);
  return last_ = {begin(number), begin(number + 1)};
}

Timestamp CalendarWindows::end_after(Timestamp time, int64_t count) const {
  return begin(number_at(time) + 1 + count);
}

}  // namespace frazil
