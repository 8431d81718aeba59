#include "connector/iceberg/single_value.h"

#include <gtest/gtest.h>

namespace frazil::iceberg {

TEST(SingleValue, DecimalsAreMinimal) {
  EXPECT_EQ(Hex(DecimalBytes(0)), "00");
  EXPECT_EQ(Hex(DecimalBytes(127)), "7f");
  EXPECT_EQ(Hex(DecimalBytes(128)), "0080");
  EXPECT_EQ(Hex(DecimalBytes(-128)), "80");
  EXPECT_EQ(Hex(DecimalBytes(-129)), "ff7f");
  EXPECT_EQ(Hex(DecimalBytes(INT64_MIN)), "8000000000000000");
}

TEST(SingleValue, TruncatedTextStaysABound) {
  EXPECT_EQ(TruncateText("a\u00fc\U0001f600b", 3), "a\u00fc\U0001f600");
  EXPECT_EQ(TruncateTextUp("abc", 3), "abc");
  EXPECT_EQ(TruncateTextUp("abcd", 3), "abd");
  EXPECT_EQ(TruncateTextUp("ab\x7f"
                           "d",
                           3),
            "ab\u0080");
  EXPECT_EQ(TruncateTextUp("\u07ff"
                           "x",
                           1),
            "\u0800");
  EXPECT_EQ(TruncateTextUp("\ud7ff"
                           "x",
                           1),
            "\ue000");  // skips the surrogates
  EXPECT_EQ(TruncateTextUp("\uffff"
                           "x",
                           1),
            "\U00010000");
  EXPECT_EQ(TruncateTextUp("a\U0010ffff"
                           "x",
                           2),
            "b");
  EXPECT_EQ(TruncateTextUp("\U0010ffff\U0010ffff", 1), std::nullopt);
  EXPECT_EQ(TruncateBytesUp("\x01\xff\x02", 2), "\x02");
  EXPECT_EQ(TruncateBytesUp("\xff\xff\xff", 2), std::nullopt);
}

}  // namespace frazil::iceberg
