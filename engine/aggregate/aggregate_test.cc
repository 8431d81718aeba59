// What each function means; what holds for all of them is in aggregate_property_test.cc.
#include "aggregate/aggregate.h"

#include <gtest/gtest.h>

#include "aggregate/function.h"
#include "aggregate/test_groups.h"

namespace frazil {
namespace {

// The result over rows with these order keys as one group.
void ExpectOrdered(std::string_view name, const arrow::ArrayVector& inputs,
                   const std::vector<OrderKey>& order, const nlohmann::json& options,
                   std::string_view expected) {
  const auto aggregate = Make(name, TypesOf(inputs), options);
  ASSERT_TRUE(aggregate->needs_order());
  Groups groups(*aggregate, 1);
  const Status status = groups.add(std::vector<int>(order.size(), 0), inputs, order);
  ASSERT_TRUE(status.ok()) << status.ToString();
  const auto result = *groups.finish();
  EXPECT_TRUE(result->Equals(*Json(aggregate->result_type(), expected)))
      << name << ": " << result->ToString();
}

std::string RefusedWith(std::string_view name, const arrow::DataTypeVector& types,
                        const nlohmann::json& options = nlohmann::json::object()) {
  const auto made = MakeAggregate(name, types, options);
  EXPECT_FALSE(made.ok());
  EXPECT_EQ(KindOf(made.status()), ErrorKind::kUser);
  return (NameOf(made.status()).empty() ? "" : NameOf(made.status()) + ": ") + MessageOf(made.status());
}

TEST(Aggregate, CountSumMinMaxMeanOfIntegers) {
  const auto values = Json(arrow::int32(), "[3, null, -5, 9]");
  ExpectResult("count", {}, {}, "[4]", arrow::int64(), 4);
  ExpectResult("count", {values}, {}, "[3]", arrow::int64());
  ExpectResult("count", {Json(arrow::null(), "[null, null]")}, {}, "[0]", arrow::int64());
  ExpectResult("sum", {values}, {}, "[7]", arrow::int64());
  ExpectResult("min", {values}, {}, "[-5]", arrow::int32());
  ExpectResult("max", {values}, {}, "[9]", arrow::int32());
  ExpectResult("mean", {values}, {}, "[2.3333333333333335]", arrow::float64());
}

TEST(Aggregate, MinAndMaxKeepTheType) {
  const auto day = arrow::date32();
  ExpectResult("max", {Json(day, "[1, 20000, null]")}, {}, "[20000]", day);
  const auto time = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
  ExpectResult("min", {Json(time, "[7, 5]")}, {}, "[5]", time);
  ExpectResult("min", {Json(arrow::utf8(), R"(["b", null, "", "a\u00e9"])")}, {}, R"([""])", arrow::utf8());
  ExpectResult("max",
               {Json(arrow::utf8(), R"(["b", "a string longer than sixteen bytes", "c, longer than that"])")},
               {}, R"(["c, longer than that"])", arrow::utf8());
  ExpectResult("any", {Json(arrow::boolean(), "[false, null, true]")}, {}, "[true]", arrow::boolean());
  ExpectResult("all", {Json(arrow::boolean(), "[false, null, true]")}, {}, "[false]", arrow::boolean());
  ExpectResult("max", {Json(arrow::decimal128(5, 2), R"(["-1.00", "-2.00"])")}, {}, R"(["-1.00"])",
               arrow::decimal128(5, 2));
}

TEST(Aggregate, FirstAndLastGoByTheOrderOfRows) {
  const auto values = Json(arrow::utf8(), R"(["late", "first", "null below", null, "last in position"])");
  const std::vector<OrderKey> order = {{9, 0, 0}, {2, 1, 4}, {2, 1, 5}, {1, 0, 0}, {9, 0, 1}};
  ExpectOrdered("first", {values}, order, {}, R"(["first"])");
  ExpectOrdered("last", {values}, order, {}, R"(["last in position"])");
  ExpectOrdered("first", {values}, order, {{"ignore_nulls", false}}, "[null]");
  const std::vector<OrderKey> same(5, OrderKey{1, 1, 1});
  ExpectOrdered("first", {values}, same, {}, R"(["first"])");
  ExpectOrdered("last", {values}, same, {}, R"(["null below"])");
}

TEST(Aggregate, ArgMinAndArgMaxBreakTiesByTheOrderOfRows) {
  const auto values = Json(arrow::int32(), "[1, 2, 3, null, 5, 6]");
  const auto by = Json(arrow::float64(), "[0.5, 7, 0.5, 0.1, null, 7]");
  const std::vector<OrderKey> order = {{5, 0, 0}, {5, 0, 1}, {1, 0, 0}, {1, 0, 1}, {1, 0, 2}, {1, 0, 3}};
  ExpectOrdered("arg_min", {values, by}, order, {}, "[3]");
  ExpectOrdered("arg_max", {values, by}, order, {}, "[2]");
  ExpectOrdered("arg_min", {values, by}, order, {{"ignore_nulls", false}}, "[null]");
}

TEST(Aggregate, ListsAreInOrderOfRowsAndSetsSorted) {
  const auto values = Json(arrow::int32(), "[4, null, 4, 2]");
  const std::vector<OrderKey> order = {{3, 0, 0}, {2, 0, 1}, {2, 0, 0}, {1, 9, 9}};
  ExpectOrdered("collect_list", {values}, order, {}, "[[2, 4, 4]]");
  ExpectOrdered("collect_list", {values}, order, {{"ignore_nulls", false}}, "[[2, 4, null, 4]]");
  ExpectResult("collect_set", {values}, {}, "[[2, 4]]", arrow::list(arrow::int32()));
  ExpectResult("collect_set", {Json(arrow::float64(), "[NaN, -0.0, 0.0, NaN, -1]")}, {}, "[[-1, 0.0, NaN]]",
               arrow::list(arrow::float64()));
  ExpectResult("collect_set", {Json(arrow::boolean(), "[true, null, false, true]")}, {}, "[[false, true]]",
               arrow::list(arrow::boolean()));
}

TEST(Aggregate, TopK) {
  const auto values = Json(arrow::int32(), "[4, null, 9, 4, -2]");
  ExpectResult("top_k", {values}, {{"k", 3}}, "[[9, 4, 4]]", arrow::list(arrow::int32()));
  ExpectResult("top_k", {values}, {{"k", 2}, {"smallest", true}}, "[[-2, 4]]", arrow::list(arrow::int32()));
  const auto names = Json(arrow::utf8(), R"(["d", "n", "i", "e", null])");
  const std::vector<OrderKey> order = {{3, 0, 0}, {3, 0, 1}, {2, 0, 2}, {1, 0, 3}, {1, 0, 4}};
  ExpectOrdered("top_k", {names, values}, order, {{"k", 2}}, R"([["i", "e"]])");
  ExpectOrdered("top_k", {names, values}, order, {}, R"([["i", "e", "d"]])");
}

TEST(Aggregate, MostCommon) {
  const auto type = arrow::list(arrow::struct_(
      {arrow::field("value", arrow::utf8(), false), arrow::field("count", arrow::int64(), false)}));
  ExpectResult("most_common", {Json(arrow::utf8(), R"(["b", "a", "c", "b", null, "c", "d"])")}, {{"k", 3}},
               R"([[{"value": "b", "count": 2}, {"value": "c", "count": 2}, {"value": "a", "count": 1}]])",
               type);
}

TEST(Aggregate, CountDistinct) {
  ExpectResult("count_distinct", {Json(arrow::float64(), "[NaN, -0.0, 0.0, null, NaN, 7]")}, {}, "[3]",
               arrow::int64());
  arrow::StringBuilder builder;
  for (int i = 0; i < 2000; ++i) ASSERT_TRUE(builder.Append("user " + std::to_string(i * 7 % 1009)).ok());
  ExpectResult("count_distinct", {*builder.Finish()}, {}, "[1009]", arrow::int64());
}

TEST(Aggregate, WhatAGroupKeepsIsBounded) {
  const auto values = Json(arrow::utf8(), R"(["12345678", "x", "12345678", "87654321", "abcdefgh"])");
  for (const char* name : {"count_distinct", "collect_set", "most_common", "collect_list"}) {
    SCOPED_TRACE(name);
    const bool list = std::string_view(name) == "collect_list";
    const auto aggregate = Make(name, {arrow::utf8()}, {{"max_bytes", list ? 80 : 32}});
    Groups groups(*aggregate, 2);
    const auto order = InOrder(5);
    const Status status = groups.add({0, 1, 0, 0, 0}, {values}, order);
    ASSERT_FALSE(status.ok());
    EXPECT_EQ(KindOf(status), ErrorKind::kUser);
    EXPECT_EQ(groups.effects.failed, list ? 3 : 4);
    EXPECT_EQ(groups.effects.heap_bytes, groups.heap_bytes());
    EXPECT_EQ(MessageOf(status).substr(0, std::string(name).size() + 40),
              std::string(name) + "(string): a group has more than " + (list ? "80" : "32") + " bytes");
  }
}

TEST(Aggregate, PlanErrors) {
  EXPECT_EQ(
      RefusedWith("sum", {arrow::utf8()}),
      "TypeMismatch: sum takes an integer, a float, a decimal of up to 38 digits, a bool or a duration, got "
      "string");
  EXPECT_EQ(
      RefusedWith("arg_min", {arrow::utf8(), arrow::list(arrow::int8())}),
      "TypeMismatch: arg_min takes a number, bool, string, binary, date, time or duration as argument 2, got "
      "list<item: int8>");
  EXPECT_EQ(RefusedWith("sum", {}), "sum takes 1 argument, got 0");
  EXPECT_EQ(RefusedWith("count", {arrow::int8(), arrow::int8()}), "count takes 0 to 1 arguments, got 2");
  EXPECT_EQ(RefusedWith("sum", {arrow::int8()}, {{"ddof", 0}}),
            "sum: option \"ddof\": there is no such option; it has none");
  EXPECT_EQ(RefusedWith("stddev", {arrow::int8()}, {{"ddof", 2}}),
            "stddev: option \"ddof\": expected an integer from 0 to 1, got 2");
  EXPECT_EQ(RefusedWith("first", {arrow::int8()}, {{"ignore_nulls", 1}}),
            "first: option \"ignore_nulls\": expected true or false, got 1");
  EXPECT_EQ(RefusedWith("quantile", {arrow::int8()}),
            "quantile: option \"q\": expected a number from 0 to 1, or a list of them, got null");
  EXPECT_EQ(RefusedWith("quantile", {arrow::int8()}, {{"q", {0.5, 1.5}}}),
            "quantile: option \"q\": expected a number from 0 to 1, or a list of them, got [0.5,1.5]");
  EXPECT_EQ(RefusedWith("quantile", {arrow::int8()}, {{"q", 0.5}, {"accuracy", 0}}),
            "quantile: option \"accuracy\": expected a number from 0.0001 to 0.5, got 0");
  EXPECT_EQ(RefusedWith("median", {arrow::int8()}).substr(0, 61),
            "there is no aggregate function \"median\"; there are count, sum");
  for (const AggregateFunction& function : AggregateFunctions()) {
    const arrow::DataTypeVector types(static_cast<size_t>(function.args_min),
                                      arrow::dictionary(arrow::int8(), arrow::utf8()));
    EXPECT_EQ(MakeAggregate(function.name, types).ok(), function.args_min == 0) << function.name;
  }
}

}  // namespace
}  // namespace frazil
