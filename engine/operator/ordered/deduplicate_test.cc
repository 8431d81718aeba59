#include "operator/ordered/deduplicate.h"

#include <gtest/gtest.h>

#include <map>

#include "operator/ordered/deduplicate_last.h"
#include "operator/ordered/test_ordered.h"

namespace frazil {
namespace {

using namespace ordered_test;
using nlohmann::json;

json Spec(int64_t within) {
  return {{"keys", {"k"}}, {"time", {{"column", "at"}, {"minus_us", 0}}}, {"within_us", within}};
}

std::unique_ptr<Operator> First(int64_t within) {
  return Deduplicate::Make(Spec(within), *Input(), {}).ValueOrDie();
}
std::unique_ptr<Operator> Last(int64_t within) {
  return DeduplicateLast::Make(Spec(within), Input(), {}).ValueOrDie();
}

// First and last row of each group: one begins with a row that is `within` or more behind the beginning of
// the group before.
std::map<bool, std::vector<Row>> Model(const std::vector<Row>& rows, int64_t within) {
  std::map<int64_t, std::pair<Row, Row>> open;
  std::map<bool, std::vector<Row>> given;
  for (const Row& row : rows) {
    const auto at = open.find(row.k);
    if (at != open.end() && row.at < at->second.first.at + within) {
      at->second.second = row;
      continue;
    }
    if (at != open.end()) given[true].push_back(at->second.second);
    given[false].push_back(row);
    open[row.k] = {row, row};
  }
  for (const auto& [key, group] : open) given[true].push_back(group.second);
  return given;
}

std::vector<Row> Sorted(std::vector<Row> rows) {
  std::sort(rows.begin(), rows.end());
  return rows;
}

TEST(Deduplicate, KeepsARowIfNoneIsKeptThatIsNear) {
  const auto op = First(10);
  Collect out;
  Expect(op->process(BatchOf({{1, 0, 0}, {1, 9, 1}, {2, 9, 2}, {1, 10, 3}, {1, 19, 4}, {-1, 19, 5}}), out),
         Progress::kDone);
  Expect(op->process(BatchOf({{-1, 20, 6}, {1, 20, 7}, {1, 20, 8}}), out), Progress::kDone);
  EXPECT_EQ(RowsOf(out.batches),
            (std::vector<Row>{{1, 0, 0}, {2, 9, 2}, {1, 10, 3}, {-1, 19, 5}, {1, 20, 7}}));
}

TEST(Deduplicate, HoldsRowsBackThatAreNearInBothDirections) {
  const auto op = First(10);
  Collect out;
  Expect(op->process(BatchOf({{1, 50, 0}, {1, 41, 1}, {1, 59, 2}, {1, 40, 3}, {1, 60, 4}, {1, 31, 5}}), out),
         Progress::kDone);
  EXPECT_EQ(RowsOf(out.batches), (std::vector<Row>{{1, 50, 0}, {1, 40, 3}, {1, 60, 4}}));
}

TEST(Deduplicate, ForgetsWhatCannotBeSeen) {
  const auto op = First(10);
  Collect out;
  for (int64_t at = 0; at < 10'000; at += 5) {
    Expect(op->process(BatchOf({{at, at, at}}), out), Progress::kDone);
    Expect(op->advance(0, at + 5, out), Progress::kDone);
  }
  const int64_t bytes = op->state_bytes();
  EXPECT_LT(bytes, 64 << 10);
  EXPECT_EQ(op->promise(), 10'000);
  Expect(op->advance(0, 20'000, out), Progress::kDone);
  EXPECT_EQ(op->state_bytes(), 0);
  EXPECT_TRUE(op->snapshot(true).ValueOrDie().empty());
}

TEST(Deduplicate, RefusesARowBeforeTheWatermark) {
  const auto op = First(10);
  Collect out;
  Expect(op->advance(0, 100, out), Progress::kDone);
  EXPECT_EQ(KindOf(op->process(BatchOf({{1, 99, 0}}), out).status()), ErrorKind::kInternal);
}

TEST(Deduplicate, SavesOnlyWhatChanged) {
  const auto op = First(100);
  Collect out;
  Expect(op->process(BatchOf({{1, 0, 0}, {2, 1, 1}}), out), Progress::kDone);
  EXPECT_EQ(op->snapshot(false).ValueOrDie().front()->num_rows(), 2);
  EXPECT_TRUE(op->snapshot(false).ValueOrDie().empty());
  Expect(op->process(BatchOf({{1, 2, 2}, {3, 3, 3}}), out), Progress::kDone);
  EXPECT_EQ(op->snapshot(false).ValueOrDie().front()->num_rows(), 1);
}

TEST(Deduplicate, RefusesStateOfAnotherShape) {
  const auto rows = BatchOf({{1, 0, 0}}).columns;
  EXPECT_EQ(KindOf(First(10)->restore(rows)), ErrorKind::kState);
  EXPECT_EQ(KindOf(Last(10)->restore(rows)), ErrorKind::kState);
}

TEST(DeduplicateLast, GivesAGroupWhenNothingCanJoinIt) {
  const auto op = Last(10);
  Collect out;
  Expect(op->process(BatchOf({{1, 0, 0}, {1, 9, 1}, {2, 9, 2}}), out), Progress::kDone);
  Expect(op->advance(0, 10, out), Progress::kDone);
  EXPECT_EQ(RowsOf(out.batches), (std::vector<Row>{{1, 9, 1}}));
  EXPECT_EQ(op->promise(), 0);
  Expect(op->process(BatchOf({{1, 12, 3}, {2, 18, 4}}), out), Progress::kDone);
  Expect(op->advance(0, 19, out), Progress::kDone);
  EXPECT_EQ(RowsOf(out.batches), (std::vector<Row>{{1, 9, 1}, {2, 18, 4}}));
  Expect(op->advance(0, kWatermarkMax, out), Progress::kDone);
  EXPECT_EQ(RowsOf(out.batches).back(), (Row{1, 12, 3}));
  EXPECT_EQ(op->promise(), kWatermarkMax);
}

TEST(DeduplicateLast, DoesNotGiveAGroupAgainAfterItWasRestored) {
  auto op = Last(10);
  Collect out;
  Expect(op->process(BatchOf({{1, 0, 0}, {2, 5, 1}}), out), Progress::kDone);
  std::vector<StateRows> chain = {op->snapshot(false).ValueOrDie()};
  Expect(op->advance(0, 12, out), Progress::kDone);
  chain.push_back(op->snapshot(false).ValueOrDie());
  op = Restored([] { return Last(10); }, chain);
  Collect rest;
  Expect(op->process(BatchOf({{1, 13, 2}}), rest), Progress::kDone);
  Expect(op->advance(0, kWatermarkMax, rest), Progress::kDone);
  EXPECT_EQ(RowsOf(rest.batches), (std::vector<Row>{{2, 5, 1}, {1, 13, 2}}));
}

// Any split, any watermarks, deaths at any time.
TEST(Deduplicate, DrawnRunsGiveWhatTheModelGives) {
  for (uint32_t seed = 0; seed < 300; ++seed) {
    std::mt19937 rng(seed);
    const auto rows =
        DrawRows(&rng, 120, 2 + static_cast<int>(rng() % 8), 1 + static_cast<int64_t>(rng() % 6));
    const int64_t within = 1 + static_cast<int64_t>(rng() % 40);
    auto expected = Model(rows, within);
    EXPECT_EQ(RowsOf(RunDrawn([&] { return First(within); }, rows, &rng, 3)), expected[false]) << seed;
    EXPECT_EQ(Sorted(RowsOf(RunDrawn([&] { return Last(within); }, rows, &rng, 3))), Sorted(expected[true]))
        << seed;
  }
}

}  // namespace
}  // namespace frazil
