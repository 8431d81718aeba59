// What is taken back leaves no trace: the result is that of the rows that are left, and so is the state.
#include <arrow/compute/api.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "aggregate/float_changes.h"
#include "aggregate/function.h"
#include "aggregate/test_groups.h"
#include "aggregate/test_values.h"
#include "expr/types.h"

namespace frazil {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Case {
  std::string name;
  arrow::DataTypeVector types;
  nlohmann::json options = nlohmann::json::object();
};

// Variances of wide numbers are left out: sums of their squares leave the range in which they are exact.
std::vector<Case> Cases() {
  std::vector<Case> cases = {{"count", {}}, {"count", {arrow::utf8()}}, {"count", {arrow::null()}}};
  for (const auto& type : {arrow::int8(), arrow::int16(), arrow::int32(), arrow::uint8(), arrow::uint16(),
                           arrow::float32(), arrow::float64()}) {
    cases.push_back({"variance", {type}});
    cases.push_back({"stddev", {type}, {{"ddof", 0}}});
    for (const char* name : {"count", "sum", "mean"}) cases.push_back({name, {type}});
  }
  for (const auto& type :
       {arrow::boolean(), arrow::int64(), arrow::uint32(), arrow::uint64(), arrow::decimal128(12, 2),
        arrow::decimal128(38, 0), arrow::decimal128(38, 37), arrow::duration(arrow::TimeUnit::MILLI)}) {
    for (const char* name : {"sum", "mean"}) cases.push_back({name, {type}});
  }
  return cases;
}

// Text of a result that tells bits apart, or of the error.
std::string Outcome(const Result<std::shared_ptr<arrow::Array>>& result) {
  if (!result.ok()) return "error";
  std::string text = (*result)->ToString();
  if ((*result)->type_id() != arrow::Type::DOUBLE) return text;
  const auto& values = static_cast<const arrow::DoubleArray&>(**result);
  for (int64_t i = 0; i < values.length(); ++i) {
    if (values.IsValid(i)) text += " " + std::to_string(std::bit_cast<uint64_t>(values.Value(i)));
  }
  return text;
}

arrow::ArrayVector Pick(const arrow::ArrayVector& inputs, const std::vector<int64_t>& rows) {
  arrow::Int64Builder builder;
  EXPECT_TRUE(builder.AppendValues(rows).ok());
  const auto places = *builder.Finish();
  arrow::ArrayVector picked;
  for (const auto& input : inputs) picked.push_back(*arrow::compute::Take(*input, *places));
  return picked;
}

// Takes some of the rows out of `from`, in any order.
std::vector<int64_t> DrawSome(std::vector<int64_t>* from, Random& random) {
  std::shuffle(from->begin(), from->end(), random);
  const auto count = Between(random, 0, static_cast<int64_t>(from->size()));
  std::vector<int64_t> some(from->end() - count, from->end());
  from->resize(from->size() - some.size());
  return some;
}

std::vector<int> OneGroup(const std::vector<int64_t>& rows) { return std::vector<int>(rows.size(), 0); }

// Floats of few bits, for the same reason, and some that are not finite.
std::shared_ptr<arrow::Array> NarrowFloats(const std::shared_ptr<arrow::DataType>& type, Random& random,
                                           int64_t rows) {
  arrow::DoubleBuilder builder;
  for (int64_t i = 0; i < rows; ++i) {
    double value = static_cast<double>(Between(random, -40'000, 40'000)) / 32;
    if (Between(random, 0, 19) == 0) value = Between(random, 0, 1) == 0 ? kInfinity : -kInfinity;
    if (Between(random, 0, 29) == 0) value = std::numeric_limits<double>::quiet_NaN();
    EXPECT_TRUE((Between(random, 0, 9) == 0 ? builder.AppendNull() : builder.Append(value)).ok());
  }
  return *arrow::compute::Cast(**builder.Finish(), type);
}

std::shared_ptr<arrow::Array> DrawValues(const Case& one, const std::shared_ptr<arrow::DataType>& type,
                                         Random& random, int64_t rows) {
  if (type->id() == arrow::Type::NA) return arrow::MakeArrayOfNull(type, rows).ValueOrDie();
  if (expr::IsFloat(*type) && one.name != "sum" && one.name != "mean") {
    return NarrowFloats(type, random, rows);
  }
  return RandomArray(type, random, rows);
}

void CheckDrawn(const Case& one, Random& random) {
  const auto plain = Make(one.name, one.types, one.options);
  const auto changing = Make(one.name, one.types, one.options, /*changes=*/true);
  ASSERT_TRUE(plain->result_type()->Equals(changing->result_type()));
  ASSERT_EQ(plain->result_nullable(), changing->result_nullable());
  arrow::ArrayVector inputs;
  for (const auto& type : one.types) inputs.push_back(DrawValues(one, type, random, 40));
  std::vector<int64_t> out(40), in;
  std::iota(out.begin(), out.end(), 0);
  auto groups = std::make_unique<Groups>(*changing, 1);
  for (int step = 0; step < 12; ++step) {
    auto& from = step % 2 == 0 ? out : in;
    auto& to = step % 2 == 0 ? in : out;
    const auto some = step == 11 ? std::exchange(from, {}) : DrawSome(&from, random);
    const auto picked = Pick(inputs, some);
    ASSERT_TRUE(
        (step % 2 == 0 ? groups->add(OneGroup(some), picked) : groups->retract(OneGroup(some), picked)).ok());
    to.insert(to.end(), some.begin(), some.end());
    Groups whole(*plain, 1);
    ASSERT_TRUE(whole.add(OneGroup(in), Pick(inputs, in)).ok());
    ASSERT_EQ(Outcome(groups->finish()), Outcome(whole.finish())) << step;
    auto again = std::make_unique<Groups>(*changing, 1);
    ASSERT_TRUE(again->merge({0}, **groups->save()).ok());
    if (step % 3 == 0) groups = std::move(again);
  }
  Groups fresh(*changing, 1);
  EXPECT_TRUE((*groups->save())->Equals(**fresh.save())) << "nothing is left, and the state is not as new";
}

TEST(AggregateChanges, WhatIsTakenBackLeavesNoTrace) {
  Random random(11);
  for (const Case& one : Cases()) {
    SCOPED_TRACE(one.name + (one.types.empty() ? "" : " " + one.types[0]->ToString()));
    for (int round = 0; round < 25; ++round) CheckDrawn(one, random);
  }
}

TEST(AggregateChanges, TheTableSaysWhichCan) {
  for (const AggregateFunction& function : AggregateFunctions()) {
    SCOPED_TRACE(function.name);
    const arrow::DataTypeVector types(static_cast<size_t>(function.args_max), arrow::int32());
    const auto made = MakeAggregate(function.name, types, {}, /*changes=*/true);
    if (function.retracts) {
      ASSERT_TRUE(made.ok()) << made.status();
      Groups groups(**made, 1);
      const arrow::ArrayVector one(types.size(), Json(arrow::int32(), "[5]"));
      EXPECT_TRUE(groups.add({0}, one).ok());
      EXPECT_TRUE(groups.retract({0}, one).ok());
    } else {
      ASSERT_FALSE(made.ok());
      EXPECT_NE(MessageOf(made.status()).find("count, sum, mean, variance, stddev"), std::string::npos);
    }
  }
}

TEST(AggregateChanges, WhatIsNotThereCannotBeTakenBack) {
  for (const Case& one : Cases()) {
    if (one.types.empty() || one.types[0]->id() == arrow::Type::NA) continue;
    Random random(3);
    const auto values = RandomArray(one.types[0], random, 1, /*nulls_percent=*/0);
    const auto aggregate = Make(one.name, one.types, one.options, /*changes=*/true);
    Groups groups(*aggregate, 1);
    ASSERT_TRUE(groups.add({0}, {values}).ok());
    ASSERT_TRUE(groups.retract({0}, {values}).ok());
    const Status status = groups.retract({0}, {values});
    EXPECT_EQ(KindOf(status), ErrorKind::kUser) << one.name;
    EXPECT_EQ(groups.effects.failed, 0);
  }
  const auto made = Make("sum", {arrow::float64()});
  Groups append(*made, 1);
  EXPECT_EQ(KindOf(append.retract({0}, {Json(arrow::float64(), "[1]")})), ErrorKind::kInternal);
}

// By the ends of the range, where a sum overflows on the way and comes back.
TEST(AggregateChanges, FloatsThatOverflowOnTheWay) {
  FloatChanges sum;
  for (int i = 0; i < 5; ++i) sum.add(1.5e308);
  sum.add(3);
  EXPECT_EQ(sum.value(), kInfinity);
  EXPECT_EQ(sum.divided_by(6), 1.25e308);
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(sum.take(1.5e308));
  EXPECT_EQ(sum.value(), 1.5e308);
  EXPECT_TRUE(sum.take(1.5e308));
  EXPECT_EQ(sum.value(), 3);
  sum.add(-kInfinity);
  EXPECT_EQ(sum.value(), -kInfinity);
  sum.add(kInfinity);
  EXPECT_TRUE(std::isnan(sum.value()));
  EXPECT_TRUE(sum.take(-kInfinity) && sum.take(kInfinity));
  EXPECT_FALSE(sum.take(std::numeric_limits<double>::quiet_NaN()));
  EXPECT_EQ(sum.value(), 3);
  EXPECT_TRUE(sum.take(3) && sum.empty() && sum.valid());
  EXPECT_FALSE(sum.take(3));
}

// Outside of the range in which double-doubles are exact what is left may be off, but never when nothing is.
TEST(AggregateChanges, FloatsOutsideOfTheRange) {
  FloatChanges sum;
  sum.add(1e200);
  sum.add(1e-200);
  EXPECT_TRUE(sum.take(1e200));
  EXPECT_LE(std::abs(sum.value() - 1e-200), std::ldexp(1e200, -103));
  EXPECT_TRUE(sum.take(1e-200));
  EXPECT_EQ(sum.total().hi, 0);
  EXPECT_TRUE(sum.valid());
}

TEST(AggregateChanges, DamagedStatesAreErrors) {
  Random random(12);
  for (const Case& one : Cases()) {
    SCOPED_TRACE(one.name);
    const auto aggregate = Make(one.name, one.types, one.options, /*changes=*/true);
    const auto type = aggregate->saved_type();
    const auto width = static_cast<const arrow::FixedSizeBinaryType&>(*type).byte_width();
    for (int round = 0; round < 200; ++round) {
      std::string bytes(static_cast<size_t>(width), '\0');
      for (size_t i = 1; i < bytes.size(); ++i) bytes[i] = static_cast<char>(Between(random, -128, 127));
      bytes[0] = 1;
      const auto at = 1 + static_cast<size_t>(Between(random, 0, width - 2));
      if (round % 2 == 0) std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(at), bytes.end(), '\0');
      arrow::FixedSizeBinaryBuilder builder(type);
      ASSERT_TRUE(builder.Append(bytes).ok());
      Groups groups(*aggregate, 1);
      const Status status = groups.merge({0}, **builder.Finish());
      if (!status.ok()) {
        EXPECT_EQ(KindOf(status), ErrorKind::kState);
        continue;
      }
      const auto result = groups.finish();
      EXPECT_TRUE(!result.ok() || (*result)->ValidateFull().ok());
    }
  }
}

}  // namespace
}  // namespace frazil
