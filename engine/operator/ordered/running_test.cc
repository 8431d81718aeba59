#include "operator/ordered/running.h"

#include <gtest/gtest.h>

#include <map>
#include <optional>

#include "operator/ordered/test_ordered.h"

namespace frazil {
namespace {

using namespace ordered_test;
using nlohmann::json;

json Sum() { return {{"name", "total"}, {"fn", "sum"}, {"args", {{{"col", "v"}}}}, {"filter", nullptr}}; }
json Count() { return {{"name", "n"}, {"fn", "count"}, {"args", json::array()}, {"filter", nullptr}}; }
// Its accumulator owns memory.
json Distinct() {
  return {{"name", "kinds"}, {"fn", "count_distinct"}, {"args", {{{"col", "v"}}}}, {"filter", nullptr}};
}
json Last() { return {{"name", "last"}, {"fn", "last"}, {"args", {{{"col", "v"}}}}, {"filter", nullptr}}; }

json Spec(json aggregates, std::optional<int64_t> ttl = {}) {
  json spec = {{"keys", {"k"}},
               {"time", {{"column", "at"}, {"minus_us", 0}}},
               {"aggregates", std::move(aggregates)},
               {"ttl_us", nullptr}};
  if (ttl.has_value()) spec["ttl_us"] = *ttl;
  return spec;
}

std::unique_ptr<Operator> Make(const json& spec) { return Running::Make(spec, *Input(), {}).ValueOrDie(); }

std::vector<int64_t> Column(const std::vector<Batch>& batches, const std::string& name) {
  std::vector<int64_t> values;
  for (const Batch& batch : batches) {
    const auto column = Int64s(*batch.columns, name);
    for (int64_t i = 0; i < batch.rows(); ++i) values.push_back(column->Value(i));
  }
  return values;
}

TEST(Running, GivesEveryRowOnWithWhatIsUpToIt) {
  for (const json& aggregates : {json{Sum(), Count()}, json{Sum(), Count(), Distinct()}}) {
    const auto op = Make(Spec(aggregates));
    Collect out;
    Expect(op->process(BatchOf({{1, 0, 5}, {2, 0, 7}, {1, 1, 6}, {1, 1, 8}}), out), Progress::kDone);
    Expect(op->process(BatchOf({{2, 1, 9}, {-1, 2, 1}}), out), Progress::kDone);
    EXPECT_EQ(RowsOf(out.batches).size(), 6U);
    EXPECT_EQ(Column(out.batches, "total"), (std::vector<int64_t>{5, 7, 11, 19, 16, 1}));
    EXPECT_EQ(Column(out.batches, "n"), (std::vector<int64_t>{1, 1, 2, 3, 2, 1}));
  }
}

TEST(Running, DoesNotSeeWhatIsOlderThanTheTimeToLive) {
  const auto op = Make(Spec(json::array({Count()}), 10));
  Collect out;
  Expect(op->process(BatchOf({{1, 0, 0}, {1, 10, 1}, {1, 20, 2}, {1, 31, 3}, {1, 32, 4}}), out),
         Progress::kDone);
  EXPECT_EQ(Column(out.batches, "n"), (std::vector<int64_t>{1, 2, 3, 1, 2}));
}

TEST(Running, SeesNoRowFromTheOtherEndOfTime) {
  const auto op = Make(Spec(json::array({Count()}), 10));
  constexpr int64_t kEnd = int64_t{1} << 62;
  Collect out;
  Expect(op->process(BatchOf({{1, -kEnd, 0}, {1, kEnd, 1}}), out), Progress::kDone);
  EXPECT_EQ(Column(out.batches, "n"), (std::vector<int64_t>{1, 1}));
}

TEST(Running, ForgetsAKeyWhenNothingCanSeeIt) {
  const auto op = Make(Spec({Count(), Distinct()}, 100));
  Collect out;
  for (int64_t at = 0; at < 20'000; at += 5) {
    Expect(op->process(BatchOf({{at, at, at}}), out), Progress::kDone);
    Expect(op->advance(0, at + 5, out), Progress::kDone);
  }
  EXPECT_LT(op->state_bytes(), 64 << 10);
  Expect(op->advance(0, 30'000, out), Progress::kDone);
  EXPECT_TRUE(op->snapshot(true).ValueOrDie().empty());
}

TEST(Running, SaysWhereASumOverflows) {
  const auto op = Make(Spec(json::array({Sum()})));
  Collect out;
  const int64_t most = std::numeric_limits<int64_t>::max();
  const auto done = op->process(BatchOf({{1, 0, most}, {1, 1'000'000, most}}), out);
  ASSERT_FALSE(done.ok());
  EXPECT_NE(done.status().ToString().find("row at 1970-01-01T00:00:01Z"), std::string::npos)
      << done.status().ToString();
}

TEST(Running, RefusesStateOfAnotherShape) {
  EXPECT_EQ(KindOf(Make(Spec(json::array({Sum()})))->restore(BatchOf({{1, 0, 0}}).columns)),
            ErrorKind::kState);
}

// Any split, any watermarks, deaths at any time.
TEST(Running, DrawnRunsGiveWhatTheModelGives) {
  for (uint32_t seed = 0; seed < 200; ++seed) {
    std::mt19937 rng(seed);
    const auto rows =
        DrawRows(&rng, 100, 2 + static_cast<int>(rng() % 5), 1 + static_cast<int64_t>(rng() % 6));
    std::optional<int64_t> ttl;
    if (rng() % 2 == 0) ttl = 1 + static_cast<int64_t>(rng() % 20);
    json aggregates = {Sum(), Last()};
    if (rng() % 2 == 0) aggregates.push_back(Distinct());
    std::map<int64_t, std::pair<int64_t, int64_t>> state;  // when, and sum
    std::vector<int64_t> totals, lasts;
    for (const Row& row : rows) {
      auto& [at, total] = state.try_emplace(row.k, row.at, 0).first->second;
      if (ttl.has_value() && row.at - at > *ttl) total = 0;
      at = row.at;
      total += row.v;
      totals.push_back(total);
      lasts.push_back(row.v);
    }
    const auto given = RunDrawn([&] { return Make(Spec(aggregates, ttl)); }, rows, &rng, 3);
    EXPECT_EQ(RowsOf(given), rows) << seed;
    EXPECT_EQ(Column(given, "total"), totals) << seed;
    EXPECT_EQ(Column(given, "last"), lasts) << seed;
  }
}

}  // namespace
}  // namespace frazil
