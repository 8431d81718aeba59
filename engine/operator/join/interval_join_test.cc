// IntervalJoin against all pairs of rows: any order of arrival, any number of workers, crashes anywhere.
#include "operator/join/interval_join.h"

#include <string>

#include "base/schema_text.h"
#include "operator/join/test_joins.h"

namespace frazil {
namespace {

using namespace test_joins;

struct Case {
  std::string how = "inner";
  int64_t before = 0, after = 0;
};

nlohmann::json Spec(const Case& of) {
  const nlohmann::json side = {{"keys", {"key"}}, {"time", {{"column", "at"}, {"minus_us", 0}}}};
  auto columns = nlohmann::json::parse(R"([["left","id"],["right","id"],["either",0],["time",0]])");
  if (of.how == "right") columns[3] = {"right", "at"};
  arrow::FieldVector fields = {arrow::field("l", arrow::int64()), arrow::field("r", arrow::int64()),
                               arrow::field("key", arrow::int64()), arrow::field("time", kTime, false)};
  const std::string schema = SchemaText(*arrow::schema(fields)).ValueOrDie();
  return {{"left", side},         {"right", side},      {"how", of.how},   {"before_us", of.before},
          {"after_us", of.after}, {"columns", columns}, {"schema", schema}};
}

std::unique_ptr<IntervalJoin> Make(const Case& of) {
  auto made = IntervalJoin::Make(Spec(of), {kInput, kInput}, {});
  EXPECT_TRUE(made.ok()) << made.status();
  return std::move(*made);
}

bool Match(const Case& of, const Row& left, const Row& right) {
  return left.key && right.key && *left.key == *right.key && right.at >= left.at - of.before &&
         right.at <= left.at + of.after;
}

// What the definition says.
std::vector<Pair> Expected(const Case& of, const std::vector<Row>& lefts, const std::vector<Row>& rights) {
  std::vector<Pair> pairs;
  const bool pairing = of.how != "semi" && of.how != "anti";
  for (const Row& left : lefts) {
    bool matched = false;
    for (const Row& right : rights) {
      if (!Match(of, left, right)) continue;
      matched = true;
      if (pairing) pairs.push_back({left.id, right.id});
    }
    const bool alone = of.how == "left" || of.how == "full" || of.how == "anti";
    if ((matched && of.how == "semi") || (!matched && alone)) pairs.push_back({left.id, -1});
  }
  for (const Row& right : rights) {
    const bool matched =
        std::any_of(lefts.begin(), lefts.end(), [&](const Row& left) { return Match(of, left, right); });
    if (!matched && (of.how == "right" || of.how == "full")) pairs.push_back({-1, right.id});
  }
  std::sort(pairs.begin(), pairs.end());
  return pairs;
}

class IntervalJoinTest : public testing::TestWithParam<std::string> {};

TEST_P(IntervalJoinTest, IsAllPairsInAnyOrderAndOverCrashes) {
  for (unsigned seed = 0; seed < 50; ++seed) {
    std::mt19937 random(seed);
    const Case of{GetParam(), static_cast<int64_t>(random() % 8), static_cast<int64_t>(random() % 8)};
    const Input input = Draw(random, 1 + static_cast<int>(random() % 4), 40, static_cast<int>(random() % 12));
    Workers workers([&] { return Make(of); }, &random);
    RunThrough(input, workers, random);
    ASSERT_EQ(Sorted(workers.given()), Expected(of, input.rows[0], input.rows[1])) << seed;
  }
}

TEST_P(IntervalJoinTest, KeepsNothingWhenAllIsOver) {
  std::mt19937 random(7);
  const Case of{GetParam(), 5, 3};
  const auto join = Make(of);
  Collect out;
  for (const Event& event : Draw(random, 3, 500, 10).events) {
    Finish(*join,
           event.rows.empty() ? join->advance(event.side, event.watermark, out)
                              : join->process(event.side, Rows(event.rows), out),
           out);
  }
  EXPECT_LT(join->state_bytes(), 16 << 10);
  EXPECT_EQ(join->promise(), kWatermarkMax);
}

INSTANTIATE_TEST_SUITE_P(Hows, IntervalJoinTest,
                         testing::Values("inner", "left", "right", "full", "semi", "anti"),
                         [](const auto& info) { return info.param; });

TEST(IntervalJoinBoundsTest, AreClosedAndOnTheRightSide) {
  const auto join = Make({"inner", 5, 3});
  Collect out;
  Finish(*join, join->process(0, Rows({{1, 100, 0}}), out), out);
  std::vector<Row> rights;
  for (Timestamp at = 90; at < 110; ++at) rights.push_back({1, at, at});
  Finish(*join, join->process(1, Rows(rights), out), out);
  std::vector<Pair> expected;
  for (int64_t at = 95; at <= 103; ++at) expected.push_back({0, at});
  EXPECT_EQ(Sorted(out.given), expected);
}

TEST(IntervalJoinBoundsTest, UnmatchedComesWhenNoMatchCan) {
  const auto join = Make({"left", 5, 3});
  Collect out;
  Finish(*join, join->process(0, Rows({{1, 100, 0}}), out), out);
  Finish(*join, join->advance(0, 500, out), out);
  Finish(*join, join->advance(1, 103, out), out);  // a right row at 103 may still come
  EXPECT_TRUE(out.given.empty());
  EXPECT_EQ(join->promise(), 100);
  Finish(*join, join->advance(1, 104, out), out);
  EXPECT_EQ(Sorted(out.given), (std::vector<Pair>{{0, -1}}));
  EXPECT_EQ(out.given.front().time, 100);
  EXPECT_EQ(join->promise(), 101);
}

// A key with many rows, of which each has few matches; and one batch whose rows match everything.
TEST(IntervalJoinBoundsTest, OneKeyWithManyRows) {
  const auto join = Make({"left", 2, 2});
  Collect out;
  constexpr int64_t kRows = 100'000;
  for (int side = 0; side < 2; ++side) {
    for (int64_t from = 0; from < kRows; from += 10'000) {
      std::vector<Row> rows;
      for (int64_t i = 0; i < 10'000; ++i) rows.push_back({7, (from + i) * 10, from + i});
      Finish(*join, join->process(side, Rows(rows), out), out);
    }
  }
  EXPECT_EQ(out.given.size(), static_cast<size_t>(kRows));
  const auto product = Make({"inner", 10'000, 10'000});
  Collect all;
  for (int side = 0; side < 2; ++side) {
    std::vector<Row> rows;
    for (int64_t i = 0; i < 1'000; ++i) rows.push_back({7, i, i});
    Finish(*product, product->process(side, Rows(rows), all), all);
  }
  EXPECT_EQ(all.given.size(), 1'000'000u);
  EXPECT_LE(all.largest, 16 * 1024);
}

TEST(IntervalJoinBoundsTest, ARowBehindTheWatermarkIsADefect) {
  const auto join = Make({"inner", 5, 3});
  Collect out;
  Finish(*join, join->advance(1, 100, out), out);
  const auto progress = join->process(1, Rows({{1, 99, 0}}), out);
  EXPECT_FALSE(progress.ok());
  EXPECT_NE(progress.status().message().find("behind the watermark"), std::string::npos);
}

TEST(IntervalJoinBoundsTest, RefusesDamagedState) {
  const auto join = Make({"left", 5, 3});
  Collect out;
  Finish(*join, join->process(0, Rows({{1, 100, 0}}), out), out);
  const auto rows = join->snapshot(true).ValueOrDie();
  ASSERT_EQ(rows.size(), 2u);
  auto columns = rows[0]->columns();
  columns[1] = arrow::MakeArrayFromScalar(arrow::Int8Scalar(5), 1).ValueOrDie();
  const auto other = Make({"left", 5, 3});
  const auto refused = other->restore(arrow::RecordBatch::Make(rows[0]->schema(), 1, columns));
  EXPECT_NE(refused.message().find("unknown kind"), std::string::npos);
  std::swap(columns[4], columns[5]);
  columns[1] = rows[0]->column(1);
  EXPECT_FALSE(other->restore(arrow::RecordBatch::Make(rows[0]->schema(), 1, columns)).ok());
  EXPECT_FALSE(other->restore(Rows({{1, 1, 1}}).columns).ok());
}

}  // namespace
}  // namespace frazil
