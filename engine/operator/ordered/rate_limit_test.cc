#include "operator/ordered/rate_limit.h"

#include <gtest/gtest.h>

#include <deque>
#include <map>

#include "operator/ordered/test_ordered.h"

namespace frazil {
namespace {

using namespace ordered_test;
using nlohmann::json;

std::unique_ptr<Operator> Make(int64_t limit, int64_t per) {
  const json spec = {
      {"keys", {"k"}}, {"time", {{"column", "at"}, {"minus_us", 0}}}, {"limit", limit}, {"per_us", per}};
  return RateLimit::Make(spec, *Input(), {}).ValueOrDie();
}

TEST(RateLimit, SetsAsideWhatIsTooMuch) {
  const auto op = Make(2, 10);
  Collect out, aside;
  op->set_aside(&aside);
  Expect(op->process(
             BatchOf({{1, 0, 0}, {1, 1, 1}, {1, 9, 2}, {2, 9, 3}, {1, 10, 4}, {1, 10, 5}, {1, 11, 6}}), out),
         Progress::kDone);
  EXPECT_EQ(RowsOf(out.batches), (std::vector<Row>{{1, 0, 0}, {1, 1, 1}, {2, 9, 3}, {1, 10, 4}, {1, 11, 6}}));
  EXPECT_EQ(RowsOf(aside.batches), (std::vector<Row>{{1, 9, 2}, {1, 10, 5}}));
}

TEST(RateLimit, ForgetsAKeyWhenNothingCanSeeIt) {
  const auto op = Make(50, 100);
  Collect out;
  for (int64_t at = 0; at < 20'000; at += 5) {
    Expect(op->process(BatchOf({{at, at, at}, {7, at, at}}), out), Progress::kDone);
    Expect(op->advance(0, at + 5, out), Progress::kDone);
  }
  EXPECT_LT(op->state_bytes(), 64 << 10);
  Expect(op->advance(0, 30'000, out), Progress::kDone);
  EXPECT_TRUE(op->snapshot(true).ValueOrDie().empty());
}

TEST(RateLimit, RefusesStateOfAnotherShapeAndTooManyTimes) {
  EXPECT_EQ(KindOf(Make(1, 1)->restore(BatchOf({{1, 0, 0}}).columns)), ErrorKind::kState);
  const auto op = Make(3, 10);
  Collect out;
  Expect(op->process(BatchOf({{1, 0, 0}, {1, 1, 1}, {1, 2, 2}}), out), Progress::kDone);
  const StateRows rows = op->snapshot(true).ValueOrDie();
  EXPECT_TRUE(Make(3, 10)->restore(rows.front()).ok());
  EXPECT_EQ(KindOf(Make(2, 10)->restore(rows.front())), ErrorKind::kState);
}

// Any split, any watermarks, deaths at any time.
TEST(RateLimit, DrawnRunsGiveWhatTheModelGives) {
  for (uint32_t seed = 0; seed < 300; ++seed) {
    std::mt19937 rng(seed);
    const auto rows =
        DrawRows(&rng, 120, 2 + static_cast<int>(rng() % 4), 1 + static_cast<int64_t>(rng() % 6));
    const int64_t per = 1 + static_cast<int64_t>(rng() % 30);
    const size_t limit = 1 + rng() % 7;
    std::map<int64_t, std::deque<int64_t>> kept;
    std::vector<Row> expected;
    for (const Row& row : rows) {
      auto& times = kept[row.k];
      while (!times.empty() && times.front() <= row.at - per) times.pop_front();
      if (times.size() == limit) continue;
      times.push_back(row.at);
      expected.push_back(row);
    }
    const auto make = [&] { return Make(static_cast<int64_t>(limit), per); };
    EXPECT_EQ(RowsOf(RunDrawn(make, rows, &rng, 3)), expected) << seed;
  }
}

}  // namespace
}  // namespace frazil
