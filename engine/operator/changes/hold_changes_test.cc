#include "operator/changes/hold_changes.h"

#include <gtest/gtest.h>

#include <map>

#include "operator/changes/kinds.h"
#include "operator/ordered/test_ordered.h"

namespace frazil {
namespace {

using namespace ordered_test;
using nlohmann::json;

constexpr int64_t kEvery = 10;

struct Changed {
  RowKind kind;
  int64_t k, at, v;
  auto operator<=>(const Changed&) const = default;
};

std::shared_ptr<arrow::Schema> Schema() { return Input()->AddField(3, KindField()).ValueOrDie(); }

std::unique_ptr<Operator> Make() {
  const json spec = {{"keys", {"k"}}, {"row", {"k", "at"}}, {"every_us", kEvery}};
  return HoldChanges::Make(spec, Schema(), {}).ValueOrDie();
}

Batch BatchOf(const std::vector<Changed>& changes) {
  std::vector<Row> rows;
  arrow::UInt8Builder kinds;
  for (const Changed& each : changes) {
    rows.push_back({each.k, each.at, each.v});
    EXPECT_TRUE(kinds.Append(static_cast<uint8_t>(each.kind)).ok());
  }
  auto columns = ordered_test::BatchOf(rows).columns->columns();
  columns.push_back(kinds.Finish().ValueOrDie());
  return {
      arrow::RecordBatch::Make(Schema(), static_cast<int64_t>(rows.size()), std::move(columns)), {}, nullptr};
}

std::vector<Changed> ChangesOf(const std::vector<Batch>& batches) {
  std::vector<Changed> changes;
  size_t at = 0;
  for (const Row& row : RowsOf(batches)) changes.push_back({RowKind::kInsert, row.k, row.at, row.v});
  for (const Batch& batch : batches) {
    const auto kinds = KindsOf(batch).ValueOrDie();
    for (int64_t i = 0; i < batch.rows(); ++i) changes[at++].kind = static_cast<RowKind>(kinds->Value(i));
  }
  return changes;
}

TEST(HoldChanges, GivesWhatChangedInAllWhenItsTimeHasCome) {
  const auto op = Make();
  Collect out;
  Expect(op->advance(0, 1, out), Progress::kDone);
  Expect(op->process(BatchOf({{RowKind::kInsert, 1, 5, 1},
                              {RowKind::kInsert, 2, 5, 1},
                              {RowKind::kInsert, 3, 5, 1},
                              {RowKind::kUpdateBefore, 1, 5, 1},
                              {RowKind::kUpdateAfter, 1, 5, 2},
                              {RowKind::kDelete, 2, 5, 1}}),
                     out),
         Progress::kDone);
  Expect(op->advance(0, 9, out), Progress::kDone);
  EXPECT_TRUE(out.batches.empty());
  Expect(op->advance(0, 10, out), Progress::kDone);
  EXPECT_EQ(ChangesOf(out.batches),
            (std::vector<Changed>{{RowKind::kInsert, 1, 5, 2}, {RowKind::kInsert, 3, 5, 1}}));

  out.batches.clear();
  Expect(op->process(BatchOf({{RowKind::kDelete, 3, 5, 1},
                              {RowKind::kInsert, 3, 2, 4},
                              {RowKind::kUpdateBefore, 1, 5, 2},
                              {RowKind::kUpdateAfter, 1, 5, 3},
                              {RowKind::kUpdateBefore, 1, 5, 3},
                              {RowKind::kUpdateAfter, 1, 5, 7}}),
                     out),
         Progress::kDone);
  Expect(op->advance(0, 25, out), Progress::kDone);
  EXPECT_EQ(ChangesOf(out.batches), (std::vector<Changed>{{RowKind::kDelete, 3, 5, 1},
                                                          {RowKind::kUpdateBefore, 1, 5, 2},
                                                          {RowKind::kUpdateAfter, 1, 5, 7},
                                                          {RowKind::kInsert, 3, 2, 4}}));

  out.batches.clear();
  Expect(op->process(BatchOf({{RowKind::kDelete, 3, 2, 4}, {RowKind::kInsert, 3, 2, 4}}), out),
         Progress::kDone);
  Expect(op->advance(0, kWatermarkMax, out), Progress::kDone);
  EXPECT_TRUE(out.batches.empty()) << "it is as it was";
}

// Changes of a table that is drawn: after all of them the table is the same whether they were held or not,
// each step fits the one before, and it dies at times.
TEST(HoldChanges, LeavesTheSameRows) {
  for (uint32_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 rng(seed);
    const auto below = [&](int n) { return static_cast<int64_t>(rng() % static_cast<uint32_t>(n)); };
    std::map<std::pair<int64_t, int64_t>, int64_t> table;
    auto op = Make();
    std::vector<StateRows> chain;
    Collect out(/*slow=*/seed % 2 == 0);
    Timestamp watermark = 0;
    for (int step = 0; step < 60; ++step) {
      std::vector<Changed> changes;
      for (int64_t n = 1 + below(4); n > 0; --n) {
        const std::pair row{below(6), below(3)};
        const auto found = table.find(row);
        const int64_t v = below(5);
        if (found == table.end()) {
          changes.push_back({RowKind::kInsert, row.first, row.second, v});
          table[row] = v;
        } else if (below(2) == 0) {
          changes.push_back({RowKind::kDelete, row.first, row.second, found->second});
          table.erase(found);
        } else {
          changes.push_back({RowKind::kUpdateBefore, row.first, row.second, found->second});
          changes.push_back({RowKind::kUpdateAfter, row.first, row.second, v});
          found->second = v;
        }
      }
      Finish(op.get(), op->process(BatchOf(changes), out), &out);
      if (below(3) == 0) {
        watermark += below(15);
        Finish(op.get(), op->advance(0, watermark, out), &out);
      }
      if (below(4) == 0) {
        const bool full = chain.empty() || below(4) == 0;
        if (full) chain.clear();
        chain.push_back(op->snapshot(full).ValueOrDie());
        if (below(2) == 0) op = Restored(Make, chain);
      }
    }
    Finish(op.get(), op->advance(0, kWatermarkMax, out), &out);
    std::map<std::pair<int64_t, int64_t>, int64_t> left;
    for (const Changed& each : ChangesOf(out.batches)) {
      const std::pair row{each.k, each.at};
      switch (each.kind) {
        case RowKind::kInsert:
          EXPECT_TRUE(left.emplace(row, each.v).second);
          break;
        case RowKind::kUpdateAfter:
          EXPECT_NE(left.at(row), each.v);
          left[row] = each.v;
          break;
        default:
          ASSERT_EQ(left.at(row), each.v);
          if (each.kind == RowKind::kDelete) left.erase(row);
      }
    }
    EXPECT_EQ(left, table);
    EXPECT_EQ(op->state_bytes(), 0);
  }
}

// A file of another worker may come after one that is further.
TEST(HoldChanges, ForgetsWhatWasGivenWhicheverFileComesFirst) {
  Collect out;
  const auto op = Make();
  Expect(op->process(BatchOf({{RowKind::kInsert, 1, 5, 1}}), out), Progress::kDone);
  const StateRows old = op->snapshot(true).ValueOrDie();
  Expect(op->advance(0, 30, out), Progress::kDone);
  Expect(op->process(BatchOf({{RowKind::kInsert, 2, 5, 1}}), out), Progress::kDone);
  const StateRows newer = op->snapshot(false).ValueOrDie();
  for (const auto& chain : {std::vector{old, newer}, std::vector{newer, old}}) {
    const auto again = Restored(Make, chain);
    Collect given;
    Expect(again->advance(0, kWatermarkMax, given), Progress::kDone);
    EXPECT_EQ(ChangesOf(given.batches), (std::vector<Changed>{{RowKind::kInsert, 2, 5, 1}}));
  }
}

TEST(HoldChanges, RefusesOtherState) {
  const auto op = Make();
  const auto rows = op->snapshot(true).ValueOrDie().front();
  EXPECT_FALSE(op->restore(rows->SelectColumns({0, 1}).ValueOrDie()).ok());
  auto columns = rows->columns();
  columns[2] = arrow::MakeArrayOfNull(arrow::int64(), 1).ValueOrDie();
  const Status status = op->restore(arrow::RecordBatch::Make(rows->schema(), 1, columns));
  EXPECT_NE(status.ToString().find("does not say of when"), std::string::npos) << status.ToString();
}

}  // namespace
}  // namespace frazil
