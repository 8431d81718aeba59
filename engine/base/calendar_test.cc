#include "base/calendar.h"

#include <arrow/type.h>
#include <gtest/gtest.h>

namespace frazil {

TEST(Calendar, WritesDatesOfAllEras) {
  EXPECT_EQ(IsoDate(0), "1970-01-01");
  EXPECT_EQ(IsoDate(-1), "1969-12-31");
  EXPECT_EQ(IsoDate(19782), "2024-02-29");
  EXPECT_EQ(IsoDate(-719528), "0000-01-01");
  EXPECT_EQ(IsoDate(-719529), "-0001-12-31");
  EXPECT_EQ(IsoDate(2932897), "+10000-01-01");
}

TEST(Calendar, WritesTimesWithAsManyDigitsAsNeeded) {
  using arrow::TimeUnit;
  EXPECT_EQ(IsoTimestamp(-1, TimeUnit::MICRO, true), "1969-12-31T23:59:59.999999Z");
  EXPECT_EQ(IsoTimestamp(1'767'225'600'000, TimeUnit::MILLI, true), "2026-01-01T00:00:00Z");
  EXPECT_EQ(IsoTimestamp(1'500'000, TimeUnit::MICRO, false), "1970-01-01T00:00:01.500");
  EXPECT_EQ(IsoTime(86'399'000'000'001, TimeUnit::NANO), "23:59:59.000000001");
}

}  // namespace frazil
