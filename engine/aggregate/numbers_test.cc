// sum, mean, variance against wider arithmetic, and at the ends of ranges.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "aggregate/double_double.h"
#include "aggregate/test_groups.h"
#include "aggregate/test_values.h"

namespace frazil {
namespace {

using Quad = __float128;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::shared_ptr<arrow::Array> Doubles(const std::vector<double>& values) {
  arrow::DoubleBuilder builder;
  EXPECT_TRUE(builder.AppendValues(values).ok());
  return *builder.Finish();
}

double DoubleOf(const Aggregate& aggregate, const std::shared_ptr<arrow::Array>& values) {
  const auto result = ResultOf(aggregate, {values}, values->length());
  EXPECT_TRUE(result->IsValid(0));
  return static_cast<const arrow::DoubleArray&>(*result).Value(0);
}

std::string ErrorOf(std::string_view name, const std::shared_ptr<arrow::Array>& values) {
  const auto aggregate = Make(name, {values->type()});
  Groups groups(*aggregate, 2);
  std::vector<int> rows(static_cast<size_t>(values->length()), 1);
  EXPECT_TRUE(groups.add(rows, {values}).ok());
  const auto result = groups.finish();
  EXPECT_FALSE(result.ok());
  EXPECT_EQ(groups.effects.failed, 1);
  EXPECT_EQ(KindOf(result.status()), ErrorKind::kUser);
  return MessageOf(result.status());
}

// Multiples of 2^-20 below 2^40: 128-bit integers add them exactly.
TEST(AggregateNumbers, FloatSumsAndMeansAreRoundedOnce) {
  Random random(1);
  const auto sum = Make("sum", {arrow::float64()}), mean = Make("mean", {arrow::float64()});
  for (int round = 0; round < 300; ++round) {
    std::vector<double> values(static_cast<size_t>(Between(random, 1, 200)));
    __int128 exact = 0;
    for (double& value : values) {
      const int64_t scaled = Between(random, -(int64_t{1} << 53), int64_t{1} << 53) >> Between(random, 0, 50);
      value = std::ldexp(static_cast<double>(scaled), -20);
      exact += scaled;
    }
    const auto array = Doubles(values);
    EXPECT_EQ(DoubleOf(*sum, array), std::ldexp(static_cast<double>(exact), -20));
    const Quad quotient = static_cast<Quad>(exact) / static_cast<Quad>(values.size());
    EXPECT_EQ(DoubleOf(*mean, array), std::ldexp(static_cast<double>(quotient), -20));
  }
}

// Full doubles over 2^40 of range, in orders that plain sums tell apart.
TEST(AggregateNumbers, FloatSumsDoNotDependOnOrder) {
  Random random(2);
  const auto sum = Make("sum", {arrow::float64()});
  int plain_differs = 0;
  for (int round = 0; round < 300; ++round) {
    std::vector<double> values(200);
    for (double& value : values) {
      value = std::ldexp(static_cast<double>(Between(random, -(int64_t{1} << 53), int64_t{1} << 53)),
                         static_cast<int>(Between(random, -40, 0)));
    }
    Quad exact = 0;
    for (double value : values) exact += value;  // 113 bits: of 53 + 40 + log2(200)
    double plain = 0, plain_sorted = 0;
    for (double value : values) plain += value;
    EXPECT_EQ(DoubleOf(*sum, Doubles(values)), static_cast<double>(exact));
    std::sort(values.begin(), values.end());
    for (double value : values) plain_sorted += value;
    plain_differs += plain != plain_sorted ? 1 : 0;
    EXPECT_EQ(DoubleOf(*sum, Doubles(values)), static_cast<double>(exact));
  }
  EXPECT_GT(plain_differs, 200);
}

TEST(AggregateNumbers, NotFiniteWins) {
  const auto sum = Make("sum", {arrow::float64()});
  EXPECT_EQ(DoubleOf(*sum, Doubles({1, kInfinity, -5})), kInfinity);
  EXPECT_EQ(DoubleOf(*sum, Doubles({1, -kInfinity, 1e308})), -kInfinity);
  EXPECT_TRUE(std::isnan(DoubleOf(*sum, Doubles({kInfinity, 1, -kInfinity}))));
  EXPECT_TRUE(std::isnan(DoubleOf(*sum, Doubles({NAN, kInfinity, 1}))));
  EXPECT_FALSE(std::signbit(DoubleOf(*sum, Doubles({-0.0, -0.0}))));
  EXPECT_EQ(DoubleOf(*Make("max", {arrow::float64()}), Doubles({1, -kInfinity, 3})), 3);
  EXPECT_EQ(DoubleOf(*Make("min", {arrow::float64()}), Doubles({NAN, 2, kInfinity})), 2);
  EXPECT_TRUE(std::isnan(DoubleOf(*Make("max", {arrow::float64()}), Doubles({NAN, 2, kInfinity}))));
  EXPECT_FALSE(std::signbit(DoubleOf(*Make("min", {arrow::float64()}), Doubles({0.0, -0.0}))));
  EXPECT_TRUE(std::isnan(DoubleOf(*Make("variance", {arrow::float64()}), Doubles({1, kInfinity}))));
  EXPECT_EQ(DoubleOf(*Make("variance", {arrow::float64()}), Doubles({1, 1e200})), kInfinity);
}

// Values around a mean a billion times their deviation.
TEST(AggregateNumbers, VarianceSurvivesCancellation) {
  Random random(3);
  const auto sample = Make("variance", {arrow::float64()});
  const auto population = Make("stddev", {arrow::float64()}, {{"ddof", 0}});
  for (int round = 0; round < 100; ++round) {
    std::vector<double> values(100);
    for (double& value : values) {
      value =
          1e9 + std::ldexp(static_cast<double>(Between(random, -(int64_t{1} << 52), int64_t{1} << 52)), -52);
    }
    Quad mean = 0, squares = 0;
    for (double value : values) mean += value;
    mean /= 100;
    for (double value : values) squares += (value - mean) * (value - mean);
    const auto expected = static_cast<double>(squares / 99);
    const double got = DoubleOf(*sample, Doubles(values));
    EXPECT_LE(std::abs(got - expected), 4e-16 * expected);
    EXPECT_NEAR(DoubleOf(*population, Doubles(values)), std::sqrt(static_cast<double>(squares / 100)), 1e-15);
  }
}

TEST(AggregateNumbers, VarianceOfOneValueManyTimesIsZero) {
  for (double value : {0.1, 1e15 / 7, -1.0 / 3, 1e-100}) {
    EXPECT_EQ(DoubleOf(*Make("stddev", {arrow::float64()}), Doubles(std::vector<double>(77, value))), 0);
  }
}

TEST(AggregateNumbers, VarianceOfEveryNumber) {
  ExpectResult("variance", {Json(arrow::int16(), "[1, 2, 3, 4]")}, {}, "[1.6666666666666667]",
               arrow::float64());
  ExpectResult("variance", {Json(arrow::uint8(), "[1, 2, 3, 4]")}, {{"ddof", 0}}, "[1.25]", arrow::float64());
  ExpectResult("stddev", {Json(arrow::decimal128(9, 2), R"(["1.00", "3.00"])")}, {{"ddof", 0}}, "[1]",
               arrow::float64());
  ExpectResult("variance", {Json(arrow::float32(), "[5]")}, {}, "[null]", arrow::float64());
  ExpectResult("variance", {Json(arrow::float32(), "[5]")}, {{"ddof", 0}}, "[0]", arrow::float64());
}

TEST(AggregateNumbers, IntegersOverflowOnlyInTheResult) {
  ExpectResult("sum",
               {Json(arrow::int64(), "[9223372036854775807, 9223372036854775807, -9223372036854775807]")}, {},
               "[9223372036854775807]", arrow::int64());
  EXPECT_EQ(ErrorOf("sum", Json(arrow::int64(), "[9223372036854775807, 1]")),
            "sum(int64): the result 9223372036854775808 is outside int64; cast the argument first: "
            ".cast(fz.Decimal[38, 0])");
  EXPECT_EQ(ErrorOf("sum", Json(arrow::int64(), "[-9223372036854775808, -1]")),
            "sum(int64): the result -9223372036854775809 is outside int64; cast the argument first: "
            ".cast(fz.Decimal[38, 0])");
  EXPECT_EQ(ErrorOf("sum", Json(arrow::uint64(), "[18446744073709551615]")),
            "sum(uint64): the result 18446744073709551615 is outside int64; cast the argument first: "
            ".cast(fz.Decimal[38, 0])");
  ExpectResult("mean", {Json(arrow::uint64(), "[18446744073709551615, 18446744073709551615]")}, {},
               "[18446744073709551615]", arrow::float64());
  ExpectResult("max", {Json(arrow::uint64(), "[1, 18446744073709551615]")}, {}, "[18446744073709551615]",
               arrow::uint64());
  ExpectResult("sum", {Json(arrow::boolean(), "[true, false, null, true]")}, {}, "[2]", arrow::int64());
  ExpectResult("mean", {Json(arrow::boolean(), "[true, false, null, true, true]")}, {}, "[0.75]",
               arrow::float64());
}

TEST(AggregateNumbers, DecimalsOverflowOnlyInTheResult) {
  const auto type = arrow::decimal128(38, 2);
  const std::string most = std::string(36, '9') + ".99";
  const auto list = [](std::initializer_list<std::string> values) {
    std::string text;
    for (const std::string& value : values) text += (text.empty() ? "[\"" : ", \"") + value + "\"";
    return text + "]";
  };
  ExpectResult("sum", {Json(type, list({most, most, most, "-" + most, "-" + most}))}, {}, list({most}), type);
  ExpectResult("sum", {Json(arrow::decimal128(5, 2), list({"999.99", "-0.01", "0.02"}))}, {},
               list({"1000.00"}), type);
  EXPECT_EQ(ErrorOf("sum", Json(type, list({most, "0.01"}))),
            "sum(decimal128(38, 2)): the result 1" + std::string(36, '0') +
                ".00 is outside decimal128(38, 2); cast the argument to a smaller scale or to float64");
  EXPECT_EQ(ErrorOf("sum", Json(type, list({"-" + most, "-" + most}))).substr(0, 66),
            "sum(decimal128(38, 2)): the result -1" + std::string(29, '9'));
  EXPECT_EQ(ErrorOf("mean", Json(type, list({most}))).substr(0, 36), "mean(decimal128(38, 2)): the result ");
}

TEST(AggregateNumbers, MeansOfDecimalsAndDurationsRoundHalvesToEven) {
  const auto type = arrow::decimal128(9, 1), mean = arrow::decimal128(38, 5);
  ExpectResult("mean", {Json(type, R"(["1.0", "2.0", "2.0"])")}, {}, R"(["1.66667"])", mean);
  ExpectResult("mean", {Json(type, R"(["-1.0", "-2.0", "-2.0"])")}, {}, R"(["-1.66667"])", mean);
  const auto fine = arrow::decimal128(9, 37);
  ExpectResult("mean", {Json(fine, R"(["0.0000000000000000000000000000000000001"])")}, {},
               R"(["0.00000000000000000000000000000000000010"])", arrow::decimal128(38, 38));
  const auto scale_38 = arrow::decimal128(38, 38);
  const auto tail = [](const std::string& digits) {
    return "\"0." + std::string(38 - digits.size(), '0') + digits + "\"";
  };
  ExpectResult("mean", {Json(scale_38, "[" + tail("1") + "," + tail("2") + "]")}, {}, "[" + tail("2") + "]",
               scale_38);
  ExpectResult("mean", {Json(scale_38, "[" + tail("2") + "," + tail("3") + "]")}, {}, "[" + tail("2") + "]",
               scale_38);
  const auto duration = arrow::duration(arrow::TimeUnit::MICRO);
  ExpectResult("mean", {Json(duration, "[1, 2]")}, {}, "[2]", duration);
  ExpectResult("mean", {Json(duration, "[-2, -3]")}, {}, "[-2]", duration);
  ExpectResult("mean", {Json(duration, "[-3, -4, -4]")}, {}, "[-4]", duration);
  ExpectResult("sum", {Json(duration, "[3, null, 4]")}, {}, "[7]", duration);
}

TEST(AggregateNumbers, DoubleDoubleKnowsItsOwnStates) {
  EXPECT_TRUE(DoubleDouble().valid());
  EXPECT_FALSE((DoubleDouble{1, NAN}).valid());
  EXPECT_FALSE((DoubleDouble{kInfinity, 1}).valid());
  EXPECT_FALSE((DoubleDouble{1, 1}).valid());
  EXPECT_TRUE((DoubleDouble{1, 1e-17}).valid());
}

}  // namespace
}  // namespace frazil
