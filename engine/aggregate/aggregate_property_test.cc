// What holds for every function on every type: the result depends neither on order nor on splits nor on what
// was saved in between; the heap is accounted; nothing in a damaged state is more than an error.
#include <arrow/compute/api.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "aggregate/function.h"
#include "aggregate/test_groups.h"
#include "aggregate/test_values.h"
#include "expr/types.h"

namespace frazil {
namespace {

constexpr int kGroups = 4;
constexpr int64_t kRows = 300;

struct Case {
  std::string name;
  arrow::DataTypeVector types;
  nlohmann::json options = nlohmann::json::object();
  std::string text() const {
    std::string text = name + "(";
    for (const auto& type : types) text += expr::TypeName(*type) + " ";
    return text + ") " + options.dump();
  }
};

const arrow::DataTypeVector& FixedTypes() {
  static const arrow::DataTypeVector types = {arrow::boolean(),
                                              arrow::int8(),
                                              arrow::int16(),
                                              arrow::int32(),
                                              arrow::int64(),
                                              arrow::uint8(),
                                              arrow::uint16(),
                                              arrow::uint32(),
                                              arrow::uint64(),
                                              arrow::float32(),
                                              arrow::float64(),
                                              arrow::decimal128(12, 2),
                                              arrow::decimal128(38, 37),
                                              arrow::date32(),
                                              arrow::time64(arrow::TimeUnit::MICRO),
                                              arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"),
                                              arrow::duration(arrow::TimeUnit::MILLI)};
  return types;
}

const arrow::DataTypeVector& StringTypes() {
  static const arrow::DataTypeVector types = {
      arrow::utf8(),         arrow::large_utf8(),          arrow::binary(),
      arrow::large_binary(), arrow::fixed_size_binary(16), arrow::fixed_size_binary(20)};
  return types;
}

arrow::DataTypeVector AllTypes() {
  arrow::DataTypeVector types = FixedTypes();
  types.insert(types.end(), StringTypes().begin(), StringTypes().end());
  return types;
}

bool Sums(const arrow::DataType& type) {
  return type.id() == arrow::Type::BOOL || expr::IsNumber(type) || expr::IsDuration(type);
}

std::vector<Case> Cases() {
  std::vector<Case> cases = {{"count", {}}, {"any", {arrow::boolean()}}, {"all", {arrow::boolean()}}};
  for (const auto& type : AllTypes()) {
    for (const char* name : {"count", "min", "max", "any_value", "first", "last"})
      cases.push_back({name, {type}});
    cases.push_back({"first", {type}, {{"ignore_nulls", false}}});
    cases.push_back({"last", {type}, {{"ignore_nulls", false}}});
    cases.push_back({"arg_min", {type, arrow::int8()}});
    cases.push_back({"arg_max", {arrow::utf8(), type}});
    cases.push_back({"arg_max", {type, arrow::float64()}, {{"ignore_nulls", false}}});
    for (const char* name :
         {"count_distinct", "approx_count_distinct", "collect_list", "collect_set", "most_common", "top_k"}) {
      cases.push_back({name, {type}});
    }
    cases.push_back({"approx_count_distinct", {type}, {{"bits", 4}}});
    cases.push_back({"collect_list", {type}, {{"ignore_nulls", false}}});
    cases.push_back({"most_common", {type}, {{"k", 3}}});
    cases.push_back({"top_k", {type}, {{"smallest", true}, {"k", 3}}});
    cases.push_back({"top_k", {type, arrow::int8()}, {{"k", 4}}});
    cases.push_back({"top_k", {arrow::utf8(), type}});
    if (!Sums(*type)) continue;
    for (const char* name : {"sum", "mean"}) cases.push_back({name, {type}});
    if (type->id() == arrow::Type::BOOL) continue;
    cases.push_back({"quantile", {type}, {{"q", 0.5}}});
    cases.push_back({"quantile", {type}, {{"q", {0, 0.25, 0.99, 1}}, {"max_bins", 64}}});
    if (!expr::IsNumber(*type)) continue;
    cases.push_back({"variance", {type}});
    cases.push_back({"stddev", {type}, {{"ddof", 0}}});
  }
  return cases;
}

struct Rows {
  std::vector<int> groups;  // negative: filtered
  arrow::ArrayVector inputs;
  std::vector<OrderKey> order;
};

Rows Draw(const Case& one, Random& random, int64_t rows = kRows) {
  Rows drawn;
  for (const auto& type : one.types) {
    // A slice, so that offsets are not 0.
    drawn.inputs.push_back(RandomArray(type, random, rows + 3)->Slice(3));
  }
  for (int64_t i = 0; i < rows; ++i) {
    drawn.groups.push_back(static_cast<int>(Between(random, -1, kGroups - 1)));
    drawn.order.push_back({Between(random, -5, 5), static_cast<uint64_t>(Between(random, 0, 2)), i});
  }
  return drawn;
}

Rows Shuffled(const Rows& rows, Random& random) {
  std::vector<int64_t> at(rows.groups.size());
  std::iota(at.begin(), at.end(), 0);
  std::shuffle(at.begin(), at.end(), random);
  arrow::Int64Builder builder;
  EXPECT_TRUE(builder.AppendValues(at).ok());
  const auto indices = *builder.Finish();
  Rows shuffled;
  for (const auto& input : rows.inputs) shuffled.inputs.push_back(*arrow::compute::Take(*input, *indices));
  for (int64_t i : at) {
    shuffled.groups.push_back(rows.groups[static_cast<size_t>(i)]);
    shuffled.order.push_back(rows.order[static_cast<size_t>(i)]);
  }
  return shuffled;
}

// Adds rows [from, to).
Status AddSome(Groups& groups, const Rows& rows, int64_t from, int64_t to) {
  arrow::ArrayVector inputs;
  for (const auto& input : rows.inputs) inputs.push_back(input->Slice(from, to - from));
  return groups.add({rows.groups.begin() + from, rows.groups.begin() + to}, inputs,
                    std::span(rows.order).subspan(static_cast<size_t>(from), static_cast<size_t>(to - from)));
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

std::vector<int> Identity() {
  std::vector<int> groups(kGroups);
  std::iota(groups.begin(), groups.end(), 0);
  return groups;
}

// Splits the rows among a few tables, in pieces, and merges these in any order, some of them twice saved.
std::string InPieces(const Aggregate& aggregate, const Rows& rows, Random& random) {
  std::vector<std::unique_ptr<Groups>> parts;
  for (int64_t i = Between(random, 1, 5); i > 0; --i) {
    parts.push_back(std::make_unique<Groups>(aggregate, kGroups));
  }
  for (int64_t at = 0; at < kRows;) {
    const int64_t to = std::min(kRows, at + Between(random, 1, 80));
    auto& part = *parts[static_cast<size_t>(Between(random, 0, static_cast<int64_t>(parts.size()) - 1))];
    EXPECT_TRUE(AddSome(part, rows, at, to).ok());
    at = to;
  }
  while (parts.size() > 1) {
    std::shuffle(parts.begin(), parts.end(), random);
    const auto saved = *parts.back()->save();
    EXPECT_TRUE(saved->type()->Equals(*aggregate.saved_type()));
    EXPECT_EQ(saved->null_count(), 0);
    parts.pop_back();
    const Status status = parts.back()->merge(Identity(), *saved);
    EXPECT_TRUE(status.ok()) << status.ToString();
    EXPECT_EQ(parts.back()->effects.heap_bytes, parts.back()->heap_bytes());
  }
  return Outcome(parts[0]->finish());
}

TEST(AggregateProperty, OrderAndSplitsDoNotMatter) {
  Random random(7);
  for (const Case& one : Cases()) {
    SCOPED_TRACE(one.text());
    const auto aggregate = Make(one.name, one.types, one.options);
    for (int round = 0; round < 8; ++round) {
      const Rows rows = Draw(one, random);
      Groups whole(*aggregate, kGroups);
      ASSERT_TRUE(AddSome(whole, rows, 0, kRows).ok());
      EXPECT_EQ(whole.effects.heap_bytes, whole.heap_bytes());
      const auto result = whole.finish();
      if (result.ok()) {
        ASSERT_TRUE((*result)->ValidateFull().ok());
        ASSERT_TRUE((*result)->type()->Equals(aggregate->result_type()));
      }
      ASSERT_EQ(Outcome(result), InPieces(*aggregate, Shuffled(rows, random), random));
    }
  }
}

TEST(AggregateProperty, WithoutValuesTheResultIsNullOrZero) {
  Random random(8);
  for (const Case& one : Cases()) {
    if (one.name == "collect_list" && one.options.contains("ignore_nulls")) continue;  // a list of nulls
    SCOPED_TRACE(one.text());
    const auto aggregate = Make(one.name, one.types, one.options);
    Groups groups(*aggregate, 2);
    arrow::ArrayVector nulls;
    for (const auto& type : one.types) nulls.push_back(*arrow::MakeArrayOfNull(type, 3));
    const auto order = InOrder(3);
    ASSERT_TRUE(
        groups.add(one.types.empty() ? std::vector{-1, -1, -1} : std::vector{0, -1, 0}, nulls, order).ok());
    ASSERT_TRUE(groups.add({}, Draw(one, random, 0).inputs).ok());
    const auto saved = groups.save();
    ASSERT_TRUE(groups.merge({1, 1}, **saved).ok());
    const auto result = groups.finish();
    ASSERT_TRUE(result.ok()) << result.status().ToString();
    ASSERT_TRUE((*result)->ValidateFull().ok());
    if (aggregate->result_nullable()) {
      EXPECT_EQ((*result)->null_count(), 2);
    } else {
      EXPECT_EQ((*result)->null_count(), 0);
    }
    EXPECT_EQ(groups.heap_bytes(), 0);
  }
}

// Bytes of the saved form with a few of them changed, cut or repeated.
std::shared_ptr<arrow::Array> Damaged(const arrow::Array& saved, Random& random) {
  const bool fixed = saved.type_id() == arrow::Type::FIXED_SIZE_BINARY;
  arrow::FixedSizeBinaryBuilder fixed_builder(fixed ? saved.type() : arrow::fixed_size_binary(1));
  arrow::BinaryBuilder builder;
  for (int64_t i = 0; i < saved.length(); ++i) {
    std::string bytes(fixed ? static_cast<const arrow::FixedSizeBinaryArray&>(saved).GetView(i)
                            : static_cast<const arrow::BinaryArray&>(saved).GetView(i));
    for (int64_t changes = Between(random, 0, 2); changes > 0 && !bytes.empty(); --changes) {
      const auto at = static_cast<size_t>(Between(random, 0, static_cast<int64_t>(bytes.size()) - 1));
      const int64_t kind = Between(random, 0, fixed ? 1 : 3);
      if (kind == 0) bytes[at] ^= static_cast<char>(1 << Between(random, 0, 7));
      if (kind == 1) bytes[at] = static_cast<char>(Between(random, 0, 1) == 0 ? 0 : 255);
      if (kind == 2) bytes.resize(at);
      if (kind == 3) bytes.insert(at, bytes.substr(at));
    }
    EXPECT_TRUE((fixed ? fixed_builder.Append(bytes) : builder.Append(bytes)).ok());
  }
  return fixed ? *fixed_builder.Finish() : *builder.Finish();
}

TEST(AggregateProperty, DamagedStatesAreErrors) {
  Random random(9);
  for (const Case& one : Cases()) {
    SCOPED_TRACE(one.text());
    const auto aggregate = Make(one.name, one.types, one.options);
    const Rows rows = Draw(one, random);
    Groups whole(*aggregate, kGroups);
    ASSERT_TRUE(AddSome(whole, rows, 0, kRows).ok());
    const auto saved = *whole.save();
    int refused = 0;
    for (int round = 0; round < 100; ++round) {
      Groups into(*aggregate, kGroups);
      ASSERT_TRUE(AddSome(into, rows, 0, round % 2 == 0 ? kRows / 2 : 0).ok());
      const Status status = into.merge(Identity(), *Damaged(*saved, random));
      EXPECT_EQ(into.effects.heap_bytes, into.heap_bytes());
      if (!status.ok()) {
        ++refused;
        EXPECT_EQ(KindOf(status), ErrorKind::kState) << status.ToString();
        EXPECT_GE(into.effects.failed, 0);
        continue;
      }
      const auto again = into.save();
      ASSERT_TRUE(again.ok());
      const auto result = into.finish();
      EXPECT_TRUE(!result.ok() || (*result)->ValidateFull().ok());
    }
    EXPECT_GT(refused, 5);
    EXPECT_FALSE(whole.merge({0}, *saved).ok()) << "another number of rows";
    EXPECT_FALSE(whole.merge({0, 1}, *Json(arrow::int64(), "[1, 2]")).ok());
    EXPECT_FALSE(whole.merge({0}, *arrow::MakeArrayOfNull(aggregate->saved_type(), 1).ValueOrDie()).ok());
  }
}

TEST(AggregateProperty, EveryFunctionIsTested) {
  std::set<std::string> tested;
  for (const Case& one : Cases()) tested.insert(one.name);
  for (const AggregateFunction& function : AggregateFunctions()) EXPECT_TRUE(tested.contains(function.name));
}

}  // namespace
}  // namespace frazil
