#include "aggregate/aggregate.h"

#include <gtest/gtest.h>

#include "aggregate/function.h"
#include "aggregate/test_groups.h"

namespace frazil {
namespace {

TEST(Aggregate, CountSumMinMaxMeanOfIntegers) {
  const auto values = Json(arrow::int32(), "[3, null, -5, 9]");
  ExpectResult("count", {}, {}, "[4]", arrow::int64(), 4);
  ExpectResult("count", {values}, {}, "[3]", arrow::int64());
  ExpectResult("sum", {values}, {}, "[7]", arrow::int64());
  ExpectResult("min", {values}, {}, "[-5]", arrow::int32());
  ExpectResult("max", {values}, {}, "[9]", arrow::int32());
  ExpectResult("mean", {values}, {}, "[2.3333333333333335]", arrow::float64());
}

}  // namespace
}  // namespace frazil
