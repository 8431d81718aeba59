// The errors of quantile and approx_count_distinct stay within what they promise.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "aggregate/log_bins.h"
#include "aggregate/test_groups.h"
#include "aggregate/test_values.h"

namespace frazil {
namespace {

std::shared_ptr<arrow::Array> Doubles(const std::vector<double>& values) {
  arrow::DoubleBuilder builder;
  EXPECT_TRUE(builder.AppendValues(values).ok());
  return *builder.Finish();
}

TEST(LogBins, MiddleIsNearEveryValueOfTheBin) {
  Random random(1);
  for (double accuracy : {0.0001, 0.01, 0.5}) {
    const LogBins bins(accuracy);
    for (int i = 0; i < 20'000; ++i) {
      const double value = std::ldexp(1 + std::generate_canonical<double, 53>(random),
                                      static_cast<int>(Between(random, -1021, 1021)));
      const double middle = bins.middle(bins.bin(value));
      ASSERT_LE(std::abs(middle - value), accuracy * value * (1 + 1e-9)) << value;
    }
    int32_t before = bins.first();
    for (double value = 1e-300; value < 1e300; value *= 1.003) {
      ASSERT_GE(bins.bin(value), before);
      before = bins.bin(value);
    }
    EXPECT_LE(before, bins.last());
  }
}

TEST(AggregateSketch, QuantilesAreWithinTheAccuracy) {
  Random random(2);
  const std::vector<double> q = {0, 0.01, 0.25, 0.5, 0.75, 0.9, 0.99, 1};
  for (int round = 0; round < 30; ++round) {
    std::vector<double> values(static_cast<size_t>(Between(random, 1, 500)));
    std::lognormal_distribution<double> draw(0, 3);
    for (double& value : values) value = draw(random) * (Between(random, 0, 3) == 0 ? -1 : 1);
    const auto aggregate = Make("quantile", {arrow::float64()}, {{"q", q}});
    const auto result = ResultOf(*aggregate, {Doubles(values)}, static_cast<int64_t>(values.size()));
    const auto& items =
        static_cast<const arrow::DoubleArray&>(*static_cast<const arrow::ListArray&>(*result).values());
    std::ranges::sort(values);
    for (size_t i = 0; i < q.size(); ++i) {
      const double exact = values[static_cast<size_t>(q[i] * static_cast<double>(values.size() - 1))];
      EXPECT_LE(std::abs(items.Value(static_cast<int64_t>(i)) - exact), 0.01 * std::abs(exact) * (1 + 1e-9));
    }
    EXPECT_EQ(items.Value(0), values.front());
    EXPECT_EQ(items.Value(7), values.back());
  }
}

// The lowest bins are one then; the upper quantiles do not feel it.
TEST(AggregateSketch, CollapsingKeepsTheUpperQuantiles) {
  std::vector<double> values;
  for (int i = 0; i < 300; ++i) values.push_back(std::ldexp(1.0, i - 150));
  const auto aggregate = Make("quantile", {arrow::float64()}, {{"q", {0.9, 0.999}}, {"max_bins", 4096}});
  const auto result = ResultOf(*aggregate, {Doubles(values)}, 300);
  const auto& items =
      static_cast<const arrow::DoubleArray&>(*static_cast<const arrow::ListArray&>(*result).values());
  EXPECT_NEAR(items.Value(0) / std::ldexp(1.0, 269 - 150), 1, 0.01);
  EXPECT_NEAR(items.Value(1) / std::ldexp(1.0, 298 - 150), 1, 0.01);
  const auto low = Make("quantile", {arrow::float64()}, {{"q", 0.01}, {"max_bins", 64}});
  const auto collapsed = ResultOf(*low, {Doubles(values)}, 300);
  EXPECT_NEAR(std::log2(static_cast<const arrow::DoubleArray&>(*collapsed).Value(0)), 149 - 64 * 0.02 * 1.45,
              0.3);
}

TEST(AggregateSketch, QuantilesOfOtherTypesAndOfWhatIsNotFinite) {
  ExpectResult("quantile", {Json(arrow::int32(), "[5, 5, 5, null]")}, {{"q", 0.5}}, "[5]", arrow::float64());
  const auto duration = arrow::duration(arrow::TimeUnit::MILLI);
  ExpectResult("quantile", {Json(duration, "[100, 100, 900]")}, {{"q", 1}}, "[900]", duration);
  ExpectResult("quantile", {Json(arrow::decimal128(9, 2), R"(["2.50", "2.50"])")}, {{"q", 0.5}}, "[2.5]",
               arrow::float64());
  ExpectResult("quantile", {Json(arrow::float64(), "[NaN, 0, -0.0, Inf, -Inf]")},
               {{"q", {0, 0.25, 0.5, 0.75, 1}}}, "[[-Inf, 0, 0, Inf, NaN]]", arrow::list(arrow::float64()));
}

TEST(AggregateSketch, ApproximateCountsAreNear) {
  Random random(3);
  for (int64_t distinct : {0, 1, 10, 100, 1000, 20'000, 200'000}) {
    const auto aggregate = Make("approx_count_distinct", {arrow::int64()});
    Groups groups(*aggregate, 1);
    arrow::Int64Builder builder;
    for (int64_t i = 0; i < distinct; ++i) ASSERT_TRUE(builder.Append(i * 1'000'003).ok());
    for (int64_t i = 0; i < distinct; i += 3) ASSERT_TRUE(builder.Append(i * 1'000'003).ok());
    const auto values = *builder.Finish();
    ASSERT_TRUE(groups.add(std::vector<int>(static_cast<size_t>(values->length()), 0), {values}).ok());
    const auto result = *groups.finish();
    const auto estimate = static_cast<double>(static_cast<const arrow::Int64Array&>(*result).Value(0));
    const auto exact = static_cast<double>(distinct);
    EXPECT_LE(std::abs(estimate - exact), std::max(1.0, 4 * 1.04 / 64 * exact)) << distinct;
    EXPECT_LE(groups.heap_bytes(), 4096 + 200);
  }
}

}  // namespace
}  // namespace frazil
