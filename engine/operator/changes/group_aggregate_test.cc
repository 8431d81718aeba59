#include "operator/changes/group_aggregate.h"

#include <gtest/gtest.h>

#include <map>
#include <optional>

#include "operator/changes/kinds.h"
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

// With windows, `at` is taken for the end of one.
json Spec(json aggregates, bool windows = false, std::optional<int64_t> early = {}, int64_t lateness = 0) {
  json spec = {{"keys", windows ? json{"k", "at"} : json::array({"k"})},
               {"time", {{"column", "at"}, {"minus_us", 0}}},
               {"aggregates", std::move(aggregates)},
               {"window_end", nullptr},
               {"lateness_us", lateness},
               {"early_us", nullptr}};
  if (windows) spec["window_end"] = "at";
  if (early.has_value()) spec["early_us"] = *early;
  return spec;
}

std::unique_ptr<Operator> Make(const json& spec) {
  return GroupAggregate::Make(spec, *Input(), {}).ValueOrDie();
}

// The rows that are left after all changes, by key: the columns behind it as text. Every step is checked.
std::map<int64_t, std::string> Fold(const std::vector<Batch>& batches) {
  std::map<int64_t, std::string> rows;
  for (const Batch& batch : batches) {
    EXPECT_TRUE(batch.columns->ValidateFull().ok());
    const auto kinds = KindsOf(batch).ValueOrDie();
    const auto k = Int64s(*batch.columns, "k");
    for (int64_t i = 0; i < batch.rows(); ++i) {
      const int64_t key = k->IsNull(i) ? -1 : k->Value(i);
      std::string text;
      for (int c = 1; c + 1 < batch.columns->num_columns(); ++c) {
        text += batch.columns->column(c)->GetScalar(i).ValueOrDie()->ToString() + " ";
      }
      switch (static_cast<RowKind>(kinds->Value(i))) {
        case RowKind::kInsert:
          EXPECT_TRUE(rows.emplace(key, text).second) << key;
          break;
        case RowKind::kUpdateBefore:
          EXPECT_EQ(rows[key], text);
          EXPECT_EQ(kinds->Value(i + 1), static_cast<uint8_t>(RowKind::kUpdateAfter));
          break;
        case RowKind::kUpdateAfter:
          EXPECT_NE(rows[key], text);
          rows[key] = text;
          break;
        default:
          ADD_FAILURE() << "a delete";
      }
    }
  }
  return rows;
}

TEST(GroupAggregate, GivesWhatABatchChanges) {
  const auto op = Make(Spec({Sum(), Count(), Distinct()}));
  Collect out;
  Expect(op->process(BatchOf({{1, 0, 5}, {2, 0, 7}, {1, 1, 6}}), out), Progress::kDone);
  EXPECT_EQ(Fold(out.batches), (std::map<int64_t, std::string>{{1, "11 2 2 "}, {2, "7 1 1 "}}));
  Expect(op->process(BatchOf({{2, 1, 7}, {-1, 2, 1}}), out), Progress::kDone);
  EXPECT_EQ(out.batches.back().rows(), 3);
  EXPECT_EQ(Fold(out.batches),
            (std::map<int64_t, std::string>{{1, "11 2 2 "}, {2, "14 2 1 "}, {-1, "1 1 1 "}}));
}

TEST(GroupAggregate, GivesNothingWhereResultsStay) {
  const auto op = Make(Spec(json::array({Distinct()})));
  Collect out;
  Expect(op->process(BatchOf({{1, 0, 5}}), out), Progress::kDone);
  Expect(op->process(BatchOf({{1, 0, 5}, {1, 0, 5}}), out), Progress::kDone);
  EXPECT_EQ(out.batches.size(), 1U);
}

TEST(GroupAggregate, ForgetsAWindowBehindTheLateness) {
  const auto op = Make(Spec(json::array({Count()}), true, {}, 5));
  Collect out;
  for (int64_t end = 10; end < 10'000; end += 10) {
    Expect(op->process(BatchOf({{1, end, 1}}), out), Progress::kDone);
    Expect(op->advance(0, end + 4, out), Progress::kDone);
    EXPECT_EQ(op->promise(), end - 1);
    Expect(op->process(BatchOf({{1, end, 1}}), out), Progress::kDone);
    Expect(op->advance(0, end + 5, out), Progress::kDone);
  }
  const auto late = op->process(BatchOf({{1, 9'990, 1}}), out);
  EXPECT_EQ(KindOf(late.status()), ErrorKind::kInternal);
  EXPECT_LT(op->state_bytes(), 64 << 10);
}

TEST(GroupAggregate, GivesEarlyResultsAsTimeGoes) {
  const auto op = Make(Spec(json::array({Count()}), true, 10));
  Collect out;
  Expect(op->advance(0, 1, out), Progress::kDone);
  Expect(op->process(BatchOf({{1, 25, 1}, {1, 25, 1}}), out), Progress::kDone);
  Expect(op->advance(0, 9, out), Progress::kDone);
  EXPECT_TRUE(out.batches.empty());
  Expect(op->advance(0, 10, out), Progress::kDone);
  EXPECT_EQ(out.batches.size(), 1U);
  Expect(op->process(BatchOf({{1, 25, 1}}), out), Progress::kDone);
  Expect(op->advance(0, 24, out), Progress::kDone);
  Expect(op->process(BatchOf({{1, 25, 1}}), out), Progress::kDone);
  EXPECT_EQ(out.batches.size(), 2U);
  Expect(op->advance(0, 25, out), Progress::kDone);  // its end
  EXPECT_EQ(out.batches.size(), 3U);
  EXPECT_EQ(Int64s(*out.batches.back().columns, "n")->Value(1), 4);
}

TEST(GroupAggregate, RefusesStateThatIsDamaged) {
  const json spec = Spec({Sum(), Count()});
  EXPECT_EQ(KindOf(Make(spec)->restore(BatchOf({{1, 0, 0}}).columns)), ErrorKind::kState);
  const auto op = Make(spec);
  Collect out;
  Expect(op->process(BatchOf({{1, 0, 5}}), out), Progress::kDone);
  const auto good = op->snapshot(true).ValueOrDie().front();
  EXPECT_TRUE(Make(spec)->restore(good).ok());
  const auto with = [&](const std::string& name, const std::shared_ptr<arrow::Array>& column) {
    const int place = good->schema()->GetFieldIndex(name);
    return good->SetColumn(place, good->schema()->field(place), column).ValueOrDie();
  };
  for (const auto& [name, column] : std::map<std::string, std::shared_ptr<arrow::Array>>{
           {"key", arrow::MakeArrayFromScalar(arrow::BinaryScalar("xyz"), 1).ValueOrDie()},
           {"key", arrow::MakeArrayOfNull(arrow::binary(), 1).ValueOrDie()},
           {"what", arrow::MakeArrayFromScalar(arrow::Int8Scalar(7), 1).ValueOrDie()},
           {"end", arrow::MakeArrayOfNull(arrow::int64(), 1).ValueOrDie()}}) {
    EXPECT_EQ(KindOf(Make(spec)->restore(with(name, column))), ErrorKind::kState) << name;
  }
}

// Any split, any watermarks, deaths at any time: the same rows are left.
TEST(GroupAggregate, DrawnRunsEndAsTheModel) {
  for (uint32_t seed = 0; seed < 300; ++seed) {
    std::mt19937 rng(seed);
    const auto rows =
        DrawRows(&rng, 100, 2 + static_cast<int>(rng() % 5), 1 + static_cast<int64_t>(rng() % 6));
    const bool windows = rng() % 2 == 0;
    std::optional<int64_t> early;
    if (rng() % 2 == 0) early = 1 + static_cast<int64_t>(rng() % 20);
    json aggregates = {Sum(), Last()};
    if (rng() % 2 == 0) aggregates.push_back(Distinct());
    // A row may be at the watermark, and so at the end that is drawn for it.
    const json spec = Spec(aggregates, windows, early, 1 + static_cast<int64_t>(rng() % 10));
    std::map<std::pair<int64_t, int64_t>, std::pair<int64_t, int64_t>> model;
    for (const Row& row : rows) {
      auto& [total, last] = model[{row.k, windows ? row.at : 0}];
      total += row.v;
      last = row.v;
    }
    std::vector<Batch> given = RunDrawn([&] { return Make(spec); }, rows, &rng, 3);
    std::map<std::pair<int64_t, int64_t>, std::pair<int64_t, int64_t>> left;
    for (const Batch& batch : given) {
      const auto kinds = KindsOf(batch).ValueOrDie();
      const auto k = Int64s(*batch.columns, "k"), total = Int64s(*batch.columns, "total"),
                 last = Int64s(*batch.columns, "last");
      for (int64_t i = 0; i < batch.rows(); ++i) {
        const std::pair<int64_t, int64_t> key{k->IsNull(i) ? -1 : k->Value(i),
                                              windows ? Int64s(*batch.columns, "at")->Value(i) : 0};
        const std::pair<int64_t, int64_t> values{total->Value(i), last->Value(i)};
        const auto kind = static_cast<RowKind>(kinds->Value(i));
        ASSERT_EQ(left.contains(key), kind != RowKind::kInsert) << seed;
        ASSERT_TRUE(kind != RowKind::kUpdateBefore || left[key] == values) << seed;
        left[key] = values;
      }
    }
    EXPECT_EQ(left, model) << seed;
  }
}

}  // namespace
}  // namespace frazil
