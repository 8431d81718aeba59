#include "operator/changes/kinds.h"

#include <arrow/api.h>
#include <gtest/gtest.h>

#include <random>
#include <set>
#include <string>
#include <utility>

#include "base/truncate.h"
#include "operator/changes/as_log.h"

namespace frazil {
namespace {

constexpr auto kInsert = static_cast<uint8_t>(RowKind::kInsert);
constexpr auto kBefore = static_cast<uint8_t>(RowKind::kUpdateBefore);
constexpr auto kAfter = static_cast<uint8_t>(RowKind::kUpdateAfter);
constexpr auto kDelete = static_cast<uint8_t>(RowKind::kDelete);

using Rows = std::vector<std::pair<uint8_t, int64_t>>;

Batch BatchOf(const Rows& rows) {
  arrow::Int64Builder values;
  arrow::UInt8Builder kinds;
  for (const auto& [kind, value] : rows) EXPECT_TRUE(values.Append(value).ok() && kinds.Append(kind).ok());
  const auto schema = arrow::schema({arrow::field("v", arrow::int64()), KindField()});
  return {arrow::RecordBatch::Make(schema, static_cast<int64_t>(rows.size()),
                                   {values.Finish().ValueOrDie(), kinds.Finish().ValueOrDie()}),
          {},
          nullptr};
}

Rows RowsOf(const Batch& batch) {
  Rows rows;
  const auto& values = static_cast<const arrow::Int64Array&>(*batch.columns->column(0));
  const auto kinds = KindsOf(batch, /*truncates=*/true).ValueOrDie();
  for (int64_t i = 0; i < batch.rows(); ++i) rows.emplace_back(kinds->Value(i), values.Value(i));
  return rows;
}

Rows Keep(const Rows& rows, const std::vector<bool>& mask) {
  arrow::BooleanBuilder builder;
  EXPECT_TRUE(builder.AppendValues(mask).ok());
  std::shared_ptr<arrow::BooleanArray> selected;
  EXPECT_TRUE(builder.Finish(&selected).ok());
  return RowsOf(KeepChanges(BatchOf(rows), selected, arrow::default_memory_pool()).ValueOrDie());
}

TEST(Kinds, HalfAnUpdateBecomesADeleteOrAnInsert) {
  const Rows update = {{kInsert, 0}, {kBefore, 1}, {kAfter, 2}, {kDelete, 3}};
  EXPECT_EQ(Keep(update, {true, true, true, true}), update);
  EXPECT_EQ(Keep(update, {true, true, false, true}), (Rows{{kInsert, 0}, {kDelete, 1}, {kDelete, 3}}));
  EXPECT_EQ(Keep(update, {false, false, true, false}), (Rows{{kInsert, 2}}));
  EXPECT_EQ(Keep(update, {true, false, false, false}), (Rows{{kInsert, 0}}));
  EXPECT_EQ(Keep(update, {false, false, false, false}), Rows());
}

TEST(Kinds, WhereOnlyTheKeyIsKnownWhatIsNotSelectedIsADelete) {
  const Rows changes = {{kInsert, 1}, {kInsert, 2}, {kAfter, 3}, {kAfter, 4}, {kDelete, 5}, {kDelete, 6}};
  arrow::BooleanBuilder builder;
  ASSERT_TRUE(builder.AppendValues(std::vector<bool>{true, false, true, false, true, false}).ok());
  std::shared_ptr<arrow::BooleanArray> mask;
  ASSERT_TRUE(builder.Finish(&mask).ok());
  const auto kept = KeepChanges(BatchOf(changes), mask, arrow::default_memory_pool(), /*whole=*/false);
  ASSERT_TRUE(kept.ok());
  EXPECT_EQ(RowsOf(*kept),
            (Rows{{kInsert, 1}, {kDelete, 2}, {kAfter, 3}, {kDelete, 4}, {kDelete, 5}, {kDelete, 6}}));
}

TEST(Kinds, ATruncateIsKept) {
  constexpr auto kTruncate = static_cast<uint8_t>(kTruncateKind);
  const Rows changes = {{kInsert, 1}, {kTruncate, 0}, {kInsert, 2}};
  EXPECT_EQ(Keep(changes, {false, false, true}), (Rows{{kTruncate, 0}, {kInsert, 2}}));
  arrow::BooleanBuilder builder;
  ASSERT_TRUE(builder.AppendValues(std::vector<bool>{false, false, true}).ok());
  std::shared_ptr<arrow::BooleanArray> mask;
  ASSERT_TRUE(builder.Finish(&mask).ok());
  const auto kept = KeepChanges(BatchOf(changes), mask, arrow::default_memory_pool(), /*whole=*/false);
  ASSERT_TRUE(kept.ok());
  EXPECT_EQ(RowsOf(*kept), (Rows{{kDelete, 1}, {kTruncate, 0}, {kInsert, 2}}));
}

TEST(Kinds, AnUpdateWithoutTheRowBeforeTakesItAwayIfItIsNotSelected) {
  EXPECT_EQ(Keep({{kAfter, 1}, {kAfter, 2}}, {true, false}), (Rows{{kAfter, 1}, {kDelete, 2}}));
  EXPECT_EQ(Keep({{kAfter, 1}}, {false}), (Rows{{kDelete, 1}}));
}

// What is left of the changes that are kept is what is kept of the rows that are left.
TEST(Kinds, FilteringChangesIsFilteringRows) {
  for (uint32_t seed = 0; seed < 200; ++seed) {
    std::mt19937 rng(seed);
    Rows rows;
    std::vector<int64_t> there;
    for (int i = 0; i < 50; ++i) {
      const auto value = static_cast<int64_t>(rng() % 20);
      const size_t choice = rng() % 3;
      if (choice == 0 || there.empty()) {
        rows.emplace_back(kInsert, value);
        there.push_back(value);
      } else if (choice == 1) {
        rows.emplace_back(kBefore, there.back());
        rows.emplace_back(kAfter, value);
        there.back() = value;
      } else {
        rows.emplace_back(kDelete, there.back());
        there.pop_back();
      }
    }
    std::vector<bool> mask;
    for (const auto& [kind, value] : rows) mask.push_back(value % 3 == 0);
    std::multiset<int64_t> left, expected;
    for (const int64_t value : there) {
      if (value % 3 == 0) expected.insert(value);
    }
    for (const auto& [kind, value] : Keep(rows, mask)) {
      ASSERT_EQ(value % 3, 0);
      if (kind == kInsert || kind == kAfter) {
        left.insert(value);
      } else {
        ASSERT_NE(left.find(value), left.end()) << seed;
        left.erase(left.find(value));
      }
    }
    EXPECT_EQ(left, expected) << seed;
  }
}

TEST(Kinds, AnUnknownKindIsADefect) {
  EXPECT_EQ(KindOf(KindsOf(BatchOf({{5, 1}}), /*truncates=*/true).status()), ErrorKind::kInternal);
  EXPECT_EQ(KindOf(KindsOf(BatchOf({{4, 1}})).status()), ErrorKind::kInternal);
  EXPECT_TRUE(KindsOf(BatchOf({{4, 1}}), /*truncates=*/true).ok());
}

class Keeps : public Output {
 public:
  Status push(Batch batch) override {
    batches.push_back(std::move(batch));
    return Status::OK();
  }
  bool full() const override { return false; }
  std::vector<Batch> batches;
};

TEST(AsLog, HasTheKindAsText) {
  const Batch changes = BatchOf({{kInsert, 0}, {kBefore, 1}, {kAfter, 2}, {kDelete, 3}});
  const auto schema = LogSchema(*changes.columns->schema()).ValueOrDie();
  AsLog log(schema, arrow::default_memory_pool());
  Keeps out;
  ASSERT_TRUE(log.process(changes, out).ok());
  ASSERT_EQ(out.batches.size(), 1U);
  ASSERT_TRUE(out.batches[0].columns->ValidateFull().ok());
  EXPECT_EQ(out.batches[0].columns->num_columns(), 2);
  EXPECT_EQ(out.batches[0].columns->GetColumnByName("_kind")->ToString(),
            "[\n  \"insert\",\n  \"update_before\",\n  \"update_after\",\n  \"delete\"\n]");
}

}  // namespace
}  // namespace frazil
