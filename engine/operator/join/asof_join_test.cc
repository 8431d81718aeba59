// AsofJoin against a plain search: any order of arrival, any number of workers, crashes anywhere.
#include "operator/join/asof_join.h"

#include <tuple>

#include "base/schema_text.h"
#include "operator/join/test_joins.h"

namespace frazil {
namespace {

using namespace test_joins;

struct Case {
  bool inner = false;
  int64_t tolerance = -1;
};

std::unique_ptr<AsofJoin> Make(const Case& of) {
  const nlohmann::json side = {{"keys", {"key"}}, {"time", {{"column", "at"}, {"minus_us", 0}}}};
  const auto columns = nlohmann::json::parse(R"([["left","id"],["right","id"],["either",0],["time",0]])");
  const std::string schema =
      SchemaText(*arrow::schema({arrow::field("l", arrow::int64()), arrow::field("r", arrow::int64()),
                                 arrow::field("key", arrow::int64()), arrow::field("time", kTime, false)}))
          .ValueOrDie();
  nlohmann::json spec = {{"left", side}, {"right", side}, {"columns", columns}, {"schema", schema}};
  spec["how"] = of.inner ? "inner" : "left";
  spec["tolerance_us"] = nullptr;
  if (of.tolerance >= 0) spec["tolerance_us"] = of.tolerance;
  auto made = AsofJoin::Make(spec, {kInput, kInput}, {});
  EXPECT_TRUE(made.ok()) << made.status();
  return std::move(*made);
}

// What the definition says.
std::vector<Pair> Expected(const Case& of, const std::vector<Row>& lefts, const std::vector<Row>& rights) {
  std::vector<Pair> pairs;
  for (const Row& left : lefts) {
    const Row* best = nullptr;
    for (const Row& right : rights) {
      if (!left.key || right.key != left.key || right.at > left.at) continue;
      if (of.tolerance >= 0 && right.at < left.at - of.tolerance) continue;
      if (best == nullptr || std::tie(best->at, best->id) < std::tie(right.at, right.id)) best = &right;
    }
    if (best != nullptr || !of.inner) pairs.push_back({left.id, best == nullptr ? -1 : best->id});
  }
  std::sort(pairs.begin(), pairs.end());
  return pairs;
}

TEST(AsofJoinTest, IsTheLatestRowInAnyOrderAndOverCrashes) {
  for (unsigned seed = 0; seed < 150; ++seed) {
    std::mt19937 random(seed);
    const Case of{random() % 2 == 0, static_cast<int64_t>(random() % 12) - 4};
    const Input input = Draw(random, 1 + static_cast<int>(random() % 4), 40, static_cast<int>(random() % 12));
    Workers workers([&] { return Make(of); }, &random);
    ASSERT_EQ(Sorted(RunThrough(input, workers, random)), Expected(of, input.rows[0], input.rows[1])) << seed;
  }
}

TEST(AsofJoinTest, ComesWhenTheRightWatermarkIsPast) {
  const auto join = Make({});
  Collect out;
  Finish(*join, join->process(0, Rows({{1, 100, 0}}), out), out);
  Finish(*join, join->advance(0, 500, out), out);
  Finish(*join, join->advance(1, 100, out), out);  // a right row at 100 may still come
  EXPECT_TRUE(out.given.empty());
  Finish(*join, join->process(1, Rows({{1, 100, 7}, {2, 100, 8}}), out), out);
  Finish(*join, join->advance(1, 101, out), out);
  EXPECT_EQ(Sorted(out.given), (std::vector<Pair>{{0, 7}}));
  EXPECT_EQ(join->promise(), 101);
}

// One row per key is kept for ever, and with a tolerance none.
TEST(AsofJoinTest, KeepsTheLatestRowOfAKey) {
  for (const int64_t tolerance : {int64_t{-1}, int64_t{50}}) {
    const auto join = Make({false, tolerance});
    Collect out;
    int64_t bytes[3];
    for (int64_t round = 0; round < 3; ++round) {
      std::vector<Row> rows;
      for (int64_t i = 0; i < 1'000; ++i) rows.push_back({i % 100, round * 1'000 + i, i});
      Finish(*join, join->process(1, Rows(rows), out), out);
      for (int side = 0; side < 2; ++side) Finish(*join, join->advance(side, (round + 1) * 1'000, out), out);
      ASSERT_TRUE(join->snapshot(false).ok());
      bytes[round] = join->state_bytes();
    }
    EXPECT_LT(bytes[2], bytes[0] * 5 / 4) << tolerance;
    Finish(*join, join->process(0, Rows({{5, 3'000, 0}, {95, 3'000, 1}}), out), out);
    Finish(*join, join->advance(1, 4'000, out), out);
    const int64_t first = tolerance < 0 ? 905 : -1;
    EXPECT_EQ(Sorted(out.given), (std::vector<Pair>{{0, first}, {1, 995}}));
  }
}

TEST(AsofJoinTest, ARowBehindTheWatermarkIsADefect) {
  const auto join = Make({});
  Collect out;
  Finish(*join, join->advance(0, 100, out), out);
  EXPECT_FALSE(join->process(0, Rows({{1, 99, 0}}), out).ok());
}

}  // namespace
}  // namespace frazil
