#include "operator/unnest.h"

#include <arrow/api.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "base/limits.h"

namespace frazil {
namespace {

class Collect : public Output {
 public:
  Status push(Batch batch) override {
    EXPECT_TRUE(batch.columns->ValidateFull().ok());
    batches.push_back(std::move(batch));
    return Status::OK();
  }
  bool full() const override { return always_full; }
  std::vector<Batch> batches;
  bool always_full = false;
};

std::shared_ptr<arrow::Array> Lists(const std::vector<std::vector<int64_t>>& lists,
                                    const std::set<size_t>& nulls = {}) {
  auto values = std::make_shared<arrow::Int64Builder>();
  arrow::ListBuilder builder(arrow::default_memory_pool(), values);
  for (size_t i = 0; i < lists.size(); ++i) {
    if (nulls.contains(i)) {
      EXPECT_TRUE(builder.AppendNull().ok());
      continue;
    }
    EXPECT_TRUE(builder.Append().ok() && values->AppendValues(lists[i]).ok());
  }
  return builder.Finish().ValueOrDie();
}

std::shared_ptr<arrow::Array> Ids(int64_t count) {
  arrow::Int64Builder builder;
  for (int64_t i = 0; i < count; ++i) EXPECT_TRUE(builder.Append(i).ok());
  return builder.Finish().ValueOrDie();
}

Batch Rows(const std::shared_ptr<arrow::Array>& lists) {
  auto schema =
      arrow::schema({arrow::field("id", arrow::int64(), false), arrow::field("items", lists->type()),
                     arrow::field("__fz_tag", arrow::int64())});
  const auto ids = Ids(lists->length());
  Batch batch{arrow::RecordBatch::Make(schema, lists->length(), {ids, lists, ids}),
              Origin{2, 0, lists->length()}, nullptr};
  SetMark(&batch, kPositionMark, ids);
  return batch;
}

std::unique_ptr<Unnest> Made(const Batch& batch, bool keep_empty = false) {
  const nlohmann::json node = {{"column", "items"}, {"into", "item"}, {"keep_empty", keep_empty}};
  return Unnest::Make(node, *batch.columns->schema(), OperatorContext{}).ValueOrDie();
}

// "id:item" of each row; looks whether marks and hidden columns went with the row.
std::string Text(const std::vector<Batch>& batches) {
  std::string text;
  for (const Batch& batch : batches) {
    const auto column = [&](const char* name) {
      return std::static_pointer_cast<arrow::Int64Array>(batch.columns->GetColumnByName(name));
    };
    const auto positions = std::static_pointer_cast<arrow::Int64Array>(MarkOf(batch, kPositionMark));
    for (int64_t i = 0; i < batch.rows(); ++i) {
      const auto id = column("id")->Value(i);
      EXPECT_EQ(column("__fz_tag")->Value(i), id);
      EXPECT_EQ(positions->Value(i), id);
      const auto item = column("item");
      text += std::to_string(id) + ":" + (item->IsNull(i) ? "-" : std::to_string(item->Value(i))) + " ";
    }
  }
  return text;
}

TEST(Unnest, ARowForEachElement) {
  const Batch batch = Rows(Lists({{5, 6}, {}, {}, {7}}, {2}));
  Collect out;
  ASSERT_EQ(Made(batch)->process(batch, out).ValueOrDie(), Progress::kDone);
  EXPECT_EQ(Text(out.batches), "0:5 0:6 3:7 ");
}

TEST(Unnest, EmptyListsMayKeepTheirRow) {
  const Batch batch = Rows(Lists({{5, 6}, {}, {}, {7}}, {2}));
  Collect out;
  ASSERT_TRUE(Made(batch, true)->process(batch, out).ok());
  EXPECT_EQ(Text(out.batches), "0:5 0:6 1:- 2:- 3:7 ");
}

TEST(Unnest, ASliceOfRowsHasItsOwnElements) {
  Batch batch = Rows(Lists({{1, 2}, {3}, {4, 5}}));
  batch.columns = batch.columns->Slice(1);
  batch.marks = batch.marks->Slice(1);
  Collect out;
  ASSERT_TRUE(Made(batch)->process(batch, out).ok());
  EXPECT_EQ(Text(out.batches), "1:3 2:4 2:5 ");
}

TEST(Unnest, RowsOfOneRowHaveMarksOfTheirOwn) {
  const Batch batch = Rows(Lists({{1, 1, 1}, {1}}));
  Collect out;
  ASSERT_TRUE(Made(batch)->process(batch, out).ok());
  const auto marks =
      std::static_pointer_cast<arrow::FixedSizeBinaryArray>(MarkOf(out.batches.front(), kOrderMark));
  std::vector<std::string> seen;
  for (int64_t i = 0; i < marks->length(); ++i) seen.emplace_back(marks->GetView(i));
  EXPECT_EQ(std::set<std::string>(seen.begin(), seen.end()).size(), 4U);
  EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));  // in the order of positions, then of elements
}

TEST(Unnest, LongListsComeInBatches) {
  const Batch batch = Rows(Lists({std::vector<int64_t>(3 * limits::kBatchRows, 9), {7}}));
  Collect out;
  out.always_full = true;
  auto unnest = Made(batch);
  auto progress = unnest->process(batch, out).ValueOrDie();
  while (progress == Progress::kMore) progress = unnest->resume(out).ValueOrDie();
  int64_t rows = 0;
  for (const Batch& each : out.batches) {
    EXPECT_LE(each.rows(), limits::kBatchRows);
    rows += each.rows();
  }
  EXPECT_EQ(rows, 3 * limits::kBatchRows + 1);
  EXPECT_GT(out.batches.size(), 2U);
}

TEST(Unnest, WhatIsNoListIsRefused) {
  const Batch batch = Rows(Lists({{1}}));
  const nlohmann::json node = {{"column", "id"}, {"into", "item"}, {"keep_empty", false}};
  EXPECT_FALSE(Unnest::Make(node, *batch.columns->schema(), OperatorContext{}).ok());
}

}  // namespace
}  // namespace frazil
