#include "base/time_zone.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <random>

#include "base/calendar.h"
#include "base/zone_rule.h"

namespace frazil {
namespace {

constexpr int64_t kHour = 3600;

int64_t At(int64_t year, int month, int64_t day, int64_t hour = 0, int64_t minute = 0) {
  return DaysFromCivil(year, month, day) * 86400 + hour * kHour + minute * 60;
}

std::shared_ptr<const TimeZone> Zone(const std::string& name) {
  auto zone = TimeZone::Load(name);
  EXPECT_TRUE(zone.ok()) << zone.status().ToString();
  return zone.ok() ? *zone : nullptr;
}

std::string Number(uint32_t value) {
  std::string text;
  for (int shift = 24; shift >= 0; shift -= 8) text.push_back(static_cast<char>(value >> shift & 0xff));
  return text;
}

// A file of version 2 that has one offset, and the rest as a rule.
std::string Slim(int32_t offset, const std::string& rule) {
  const std::string counts = Number(0) + Number(0) + Number(0) + Number(0) + Number(1) + Number(4);
  const std::string part = std::string("TZif2") + std::string(15, '\0') + counts +
                           Number(static_cast<uint32_t>(offset)) + std::string(2, '\0') + "CET" + '\0';
  return part + part + "\n" + rule + "\n";
}

TEST(DaysFromCivil, IsTheInverse) {
  for (int64_t day = -800'000; day < 800'000; day += 13) {
    const CivilDay civil = CivilFromDays(day);
    ASSERT_EQ(DaysFromCivil(civil.year, civil.month, civil.day), day);
  }
}

TEST(TimeZone, KnowsOffsets) {
  const auto berlin = Zone("Europe/Berlin");
  EXPECT_EQ(berlin->offset(At(2026, 1, 1)), kHour);
  EXPECT_EQ(berlin->offset(At(2026, 7, 1)), 2 * kHour);
  // Summer time began on 29 March 2026, 01:00 UTC.
  EXPECT_EQ(berlin->offset(At(2026, 3, 29, 1) - 1), kHour);
  EXPECT_EQ(berlin->offset(At(2026, 3, 29, 1)), 2 * kHour);
  EXPECT_EQ(Zone("Asia/Kathmandu")->offset(At(2026, 1, 1)), 5 * kHour + 45 * 60);
  EXPECT_EQ(Zone("UTC")->offset(At(2026, 1, 1)), 0);
  EXPECT_EQ(Zone("Etc/GMT+5")->offset(At(2026, 1, 1)), -5 * kHour);
}

TEST(TimeZone, GoesOnWithItsRule) {
  const auto berlin = Zone("Europe/Berlin");
  EXPECT_EQ(berlin->offset(At(2500, 7, 1)), 2 * kHour);
  EXPECT_EQ(berlin->offset(At(9999, 7, 1)), 2 * kHour);
  EXPECT_EQ(berlin->offset(At(9999, 1, 1)), kHour);
  EXPECT_EQ(berlin->passed(At(9999, 7, 1)), At(9999, 7, 1) - 2 * kHour);
  EXPECT_EQ(berlin->passed(At(200'000, 7, 1)), At(200'000, 7, 1) - 2 * kHour);
  // On the southern half summer is at the turn of the year.
  EXPECT_EQ(Zone("Pacific/Auckland")->offset(At(4000, 1, 1)), 13 * kHour);
}

TEST(TimeZone, ReadsFilesThatHaveOnlyARule) {
  const auto slim = *TimeZone::Parse("slim", Slim(3600, "CET-1CEST,M3.5.0,M10.5.0/3"));
  const auto berlin = Zone("Europe/Berlin");
  for (int64_t instant = At(1996, 1, 1); instant < At(2037, 1, 1); instant += 5 * kHour + 7) {
    ASSERT_EQ(slim->offset(instant), berlin->offset(instant)) << instant;
  }
  // Summer all the year, as Morocco's file has had it.
  const auto always = *TimeZone::Parse("always", Slim(3600, "XXX-1YYY,0/0,J365/25"));
  EXPECT_EQ(always->offset(At(2026, 1, 1)), 2 * kHour);
  EXPECT_EQ(always->offset(At(2026, 1, 1) - 2 * kHour), 2 * kHour);
  EXPECT_EQ(always->passed(At(2026, 1, 1)), At(2026, 1, 1) - 2 * kHour);
}

TEST(TimeZone, RefusesWhatIsNone) {
  for (const std::string name :
       {"Europe/Berlinn", "", "../etc/passwd", "/etc/passwd", "tzdata.zi", "Europe"}) {
    const auto zone = TimeZone::Load(name);
    ASSERT_FALSE(zone.ok()) << name;
    EXPECT_NE(zone.status().ToString().find("time zone \"" + name + "\""), std::string::npos);
  }
}

// A damaged file is an error or some other zone, but never more.
TEST(TimeZone, LivesWithDamagedFiles) {
  std::ifstream file("/usr/share/zoneinfo/Europe/Berlin", std::ios::binary);
  const std::string good(std::istreambuf_iterator<char>(file), {});
  ASSERT_TRUE(TimeZone::Parse("good", good).ok());
  int refused = 0;
  for (size_t size = 0; size < good.size(); ++size) {
    const auto zone = TimeZone::Parse("short", std::string_view(good).substr(0, size));
    refused += zone.ok() ? 0 : 1;
  }
  EXPECT_GT(refused, 2000);
  std::mt19937 random(1);
  for (int round = 0; round < 20'000; ++round) {
    std::string damaged = good;
    for (int i = 0; i < 3; ++i) damaged[random() % damaged.size()] = static_cast<char>(random());
    if (const auto zone = TimeZone::Parse("damaged", damaged); zone.ok()) {
      (*zone)->offset(static_cast<int64_t>(random()));
      (*zone)->passed(static_cast<int64_t>(random()));
    }
  }
  EXPECT_FALSE(TimeZone::Parse("rule", Slim(0, "CET-1CEST,M13.5.0,M10.5.0/3")).ok());
}

// By its definition: behind it clocks show `local` or more, for good, and right before they show less.
TEST(TimeZone, PassesWhatItSays) {
  for (const char* name : {"Europe/Berlin", "America/Sao_Paulo", "America/Havana", "America/St_Johns",
                           "Pacific/Apia", "Asia/Gaza", "Africa/Casablanca", "Australia/Lord_Howe",
                           "Antarctica/Troll", "America/Scoresbysund", "Asia/Manila", "UTC"}) {
    const auto zone = Zone(name);
    for (int64_t day = DaysFromCivil(1969, 12, 1); day < DaysFromCivil(2040, 1, 1); ++day) {
      const int64_t local = day * 86400;
      const int64_t passed = zone->passed(local);
      ASSERT_LT(passed - 1 + zone->offset(passed - 1), local) << name << " " << IsoDate(day);
      for (int64_t later = passed; later < passed + 30 * kHour; later += 15 * 60) {
        ASSERT_GE(later + zone->offset(later), local) << name << " " << IsoDate(day);
      }
    }
  }
}

}  // namespace
}  // namespace frazil
