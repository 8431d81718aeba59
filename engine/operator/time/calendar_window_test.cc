#include "operator/time/calendar_window.h"

#include <gtest/gtest.h>

#include <random>

#include "base/calendar.h"
#include "operator/time/window.h"

namespace frazil {
namespace {

constexpr int64_t kMicros = 1'000'000;
constexpr int64_t kHour = 3600 * kMicros;

Timestamp At(int64_t year, int month, int day, int hour = 0, int minute = 0) {
  return DaysFromCivil(year, month, day) * 24 * kHour + hour * kHour + minute * 60 * kMicros;
}

Panes Calendar(const std::string& unit, int64_t count, const std::string& zone) {
  const auto spec = ParseWindow({{"kind", "calendar"}, {"unit", unit}, {"count", count}, {"zone", zone}});
  EXPECT_TRUE(spec.ok()) << spec.status().ToString();
  return Panes(*spec);
}

void Expect(const Panes& panes, Timestamp time, Timestamp start, Timestamp end) {
  const Timestamp pane = panes.pane(time);
  const auto text = [](Timestamp at) { return IsoTimestamp(at, arrow::TimeUnit::MICRO, true); };
  EXPECT_EQ(text(pane), text(start));
  EXPECT_EQ(text(panes.first_end(pane)), text(end));
  EXPECT_EQ(text(panes.last_end(pane)), text(end));
  EXPECT_EQ(text(panes.start(end)), text(start));
}

TEST(CalendarWindow, HasDaysOf23And25Hours) {
  const Panes days = Calendar("day", 1, "Europe/Berlin");
  Expect(days, At(2026, 3, 29, 12), At(2026, 3, 28, 23), At(2026, 3, 29, 22));
  Expect(days, At(2026, 10, 25, 12), At(2026, 10, 24, 22), At(2026, 10, 25, 23));
  Expect(days, At(2026, 10, 24, 22) - 1, At(2026, 10, 23, 22), At(2026, 10, 24, 22));
}

TEST(CalendarWindow, BeginsWeeksOnMondayAndCountsFromTheFirst) {
  const Panes weeks = Calendar("week", 1, "UTC");
  Expect(weeks, At(1970, 1, 1), At(1969, 12, 29), At(1970, 1, 5));
  Expect(weeks, At(2026, 11, 26), At(2026, 11, 23), At(2026, 11, 30));
  const Panes two = Calendar("week", 2, "UTC");
  Expect(two, At(1970, 1, 5), At(1970, 1, 5), At(1970, 1, 19));
  Expect(two, At(1970, 1, 1), At(1969, 12, 22), At(1970, 1, 5));
  Expect(Calendar("day", 10, "UTC"), At(1970, 1, 12), At(1970, 1, 11), At(1970, 1, 21));
}

TEST(CalendarWindow, HasMonthsQuartersAndYears) {
  Expect(Calendar("month", 1, "Asia/Tokyo"), At(2024, 2, 10), At(2024, 1, 31, 15), At(2024, 2, 29, 15));
  Expect(Calendar("month", 5, "UTC"), At(1970, 7, 1), At(1970, 6, 1), At(1970, 11, 1));
  Expect(Calendar("quarter", 1, "UTC"), At(1969, 12, 31), At(1969, 10, 1), At(1970, 1, 1));
  Expect(Calendar("quarter", 2, "UTC"), At(2026, 9, 1), At(2026, 7, 1), At(2027, 1, 1));
  Expect(Calendar("year", 10, "UTC"), At(2026, 9, 1), At(2020, 1, 1), At(2030, 1, 1));
}

TEST(CalendarWindow, BeginsWhereClocksDo) {
  // Midnight was jumped over: the day begins at 01:00.
  Expect(Calendar("day", 1, "America/Sao_Paulo"), At(2018, 11, 4, 12), At(2018, 11, 4, 3),
         At(2018, 11, 5, 2));
  // Midnight came twice, 01:00 going back to 00:00: the first one counts.
  Expect(Calendar("day", 1, "America/Havana"), At(2020, 11, 1, 12), At(2020, 11, 1, 4), At(2020, 11, 2, 5));
  // 00:01 went back to 23:01 of the day before: the day begins when that is over.
  const Panes newfoundland = Calendar("day", 1, "America/St_Johns");
  Expect(newfoundland, At(2010, 11, 7, 12), At(2010, 11, 7, 3, 30), At(2010, 11, 8, 3, 30));
  Expect(newfoundland, At(2010, 11, 7, 2, 30), At(2010, 11, 6, 2, 30), At(2010, 11, 7, 3, 30));
  // Samoa had no 30 December 2011.
  const Panes samoa = Calendar("day", 1, "Pacific/Apia");
  Expect(samoa, At(2011, 12, 30, 9), At(2011, 12, 29, 10), At(2011, 12, 30, 10));
  Expect(samoa, At(2011, 12, 30, 10), At(2011, 12, 30, 10), At(2011, 12, 31, 10));
}

TEST(CalendarWindow, HasEveryTimeInOneWindow) {
  std::mt19937_64 random(7);
  const std::string units[] = {"day", "week", "month", "quarter", "year"};
  for (const char* zone : {"Europe/Berlin", "America/Havana", "America/St_Johns", "Pacific/Apia",
                           "Australia/Lord_Howe", "Africa/Casablanca", "UTC"}) {
    for (const std::string& unit : units) {
      const Panes panes = Calendar(unit, 1 + static_cast<int64_t>(random() % 4), zone);
      for (int round = 0; round < 2000; ++round) {
        const bool near = round % 2 == 0;  // today's calendar, or far from it
        const auto time = near ? static_cast<Timestamp>(random() % (At(2040, 1, 1) + kHour))
                               : static_cast<Timestamp>(random() >> 2) * (round % 4 == 1 ? 1 : -1);
        const Timestamp start = panes.pane(time), end = panes.first_end(start);
        ASSERT_LE(start, time) << zone << unit;
        ASSERT_LT(time, end) << zone << unit;
        ASSERT_EQ(panes.pane(start), start);
        ASSERT_EQ(panes.pane(end - 1), start);
        ASSERT_EQ(panes.pane(end), end) << "the next begins where it ends";
        ASSERT_EQ(panes.start(end), start);
        ASSERT_EQ(panes.first_end(panes.pane(start - 1)), start);
      }
    }
  }
}

TEST(CalendarWindow, HoldsTheEndsOfTime) {
  const Panes panes = Calendar("year", 1000, "Europe/Berlin");
  EXPECT_LE(panes.pane(kWatermarkMin + 1), kWatermarkMin + 1);
  EXPECT_EQ(panes.first_end(panes.pane(kWatermarkMax - 1)), kWatermarkMax);
}

TEST(CalendarWindow, RefusesWhatIsNone) {
  const auto text = [](const nlohmann::json& spec) { return ParseWindow(spec).status().ToString(); };
  nlohmann::json spec = {{"kind", "calendar"}, {"unit", "day"}, {"count", 1}, {"zone", "Europe/Berlinn"}};
  EXPECT_NE(text(spec).find("time zone \"Europe/Berlinn\": there is none of this name"), std::string::npos);
  spec["zone"] = "UTC";
  spec["count"] = 0;
  EXPECT_NE(text(spec).find("count 0"), std::string::npos);
  spec["count"] = 1;
  spec["unit"] = "hour";
  EXPECT_NE(text(spec).find("no unit \"hour\""), std::string::npos);
}

}  // namespace
}  // namespace frazil
