#include "format/json_time.h"

#include <gtest/gtest.h>

namespace frazil {
namespace {

constexpr auto kMicro = arrow::TimeUnit::MICRO;
constexpr auto kNano = arrow::TimeUnit::NANO;

int64_t Stamp(std::string_view text, arrow::TimeUnit::type unit = kMicro, TimeFit fit = TimeFit::kExact) {
  int64_t value = -1;
  EXPECT_EQ(ParseIsoTimestamp(text, unit, &value), fit) << text;
  return value;
}

TEST(JsonTime, EveryDayFollowsTheDayBefore) {
  int32_t expected = -719'528;  // 0000-01-01
  const int month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  for (int year = 0; year <= 9999; ++year) {
    for (int month = 1; month <= 12; ++month) {
      const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
      const int last = month_days[month - 1] + (month == 2 && leap ? 1 : 0);
      for (int day = 1; day <= last + 1; ++day) {
        char text[16];
        std::snprintf(text, sizeof(text), "%04d-%02d-%02d", year, month, day);
        int32_t days;
        const TimeFit fit = ParseIsoDate(text, &days);
        ASSERT_EQ(fit, day <= last ? TimeFit::kExact : TimeFit::kBad) << text;
        if (day <= last) ASSERT_EQ(days, expected++) << text;
      }
    }
  }
}

TEST(JsonTime, ReadsOffsetsAndFractions) {
  EXPECT_EQ(Stamp("1970-01-01T00:00:00Z"), 0);
  EXPECT_EQ(Stamp("1970-01-01 00:00:01"), 1'000'000);
  EXPECT_EQ(Stamp("1970-01-01T00:01"), 60'000'000);
  EXPECT_EQ(Stamp("1970-01-01T00:00:00.000001+00:00"), 1);
  EXPECT_EQ(Stamp("1970-01-01T02:00:00+02"), 0);
  EXPECT_EQ(Stamp("1970-01-01T02:30:00+0230"), 0);
  EXPECT_EQ(Stamp("1969-12-31T23:59:59.999999-00:00"), -1);
  EXPECT_EQ(Stamp("1969-12-31T18:30:00,5-05:30"), 500'000);
  EXPECT_EQ(Stamp("1970-01-01T00:00:00.123456789Z", kNano), 123'456'789);
  EXPECT_EQ(Stamp("1970-01-01T00:00:00.123456000Z"), 123'456);
  EXPECT_EQ(Stamp("1969-12-31T23:59:59.9999999Z", kMicro, TimeFit::kInexact), -1);
  EXPECT_EQ(Stamp("1970-01-01T00:00:00.9Z", arrow::TimeUnit::SECOND, TimeFit::kInexact), 0);
  EXPECT_EQ(Stamp("1677-09-21T00:12:43.145224192Z", kNano), INT64_MIN);
  EXPECT_EQ(Stamp("2262-04-11T23:47:16.854775807Z", kNano), INT64_MAX);
  Stamp("2262-04-11T23:47:16.854775808Z", kNano, TimeFit::kOverflow);
  Stamp("9999-12-31T23:59:59.999999Z");
}

TEST(JsonTime, RefusesWhatIsNoTime) {
  for (const char* text : {"",
                           "1970",
                           "1970-1-1",
                           "1970-01-01T",
                           "1970-01-01T24:00:00Z",
                           "1970-01-01T00:60:00Z",
                           "1970-01-01T00:00:60Z",
                           "1970-01-01T00:00:00.",
                           "1970-01-01T00:00:00.Z",
                           "1970-01-01T00:00:00.1234567890Z",
                           "1970-01-01T00:00:00ZZ",
                           "1970-01-01T00:00:00+",
                           "1970-01-01T00:00:00+1",
                           "1970-01-01T00:00:00+24:00",
                           "1970-01-01T00:00:00+00:60",
                           "1970-01-01T00:00:00+00:",
                           "1970-13-01T00:00:00Z",
                           "1970-00-01",
                           "1970-01-00",
                           "19700101",
                           "+1970-01-01",
                           " 1970-01-01",
                           "1970-01-01T0a:00"}) {
    Stamp(text, kMicro, TimeFit::kBad);
  }
}

TEST(JsonTime, ReadsClocksAndDurations) {
  int64_t value;
  EXPECT_EQ(ParseIsoTime("23:59:59.999999", kMicro, &value), TimeFit::kExact);
  EXPECT_EQ(value, 86'399'999'999);
  EXPECT_EQ(ParseIsoTime("24:00", kMicro, &value), TimeFit::kBad);
  EXPECT_EQ(ParseIsoTime("12:00Z", kMicro, &value), TimeFit::kBad);
  const auto duration = [&](const char* text) {
    const TimeFit fit = ParseIsoDuration(text, kMicro, &value);
    return fit == TimeFit::kExact     ? value
           : fit == TimeFit::kInexact ? value * 10
           : fit == TimeFit::kBad     ? -111
                                      : -222;
  };
  EXPECT_EQ(duration("P1DT2H3M4.5S"), 93'784'500'000);
  EXPECT_EQ(duration("PT0S"), 0);
  EXPECT_EQ(duration("-PT0.000001S"), -1);
  EXPECT_EQ(duration("-PT0.0000001S"), -10);
  EXPECT_EQ(duration("P2W"), 1'209'600'000'000);
  EXPECT_EQ(duration("P99999999999999D"), -222);
  for (const char* text :
       {"", "P", "PT", "P1DT", "1D", "PT1D", "P1H", "PT1M1H", "PT1.5M", "P1Y", "P1M", "PT1S1S", "P-1D"})
    EXPECT_EQ(duration(text), -111) << text;
}

}  // namespace
}  // namespace frazil
