#include "operator/time/assign_window.h"

#include <arrow/api.h>
#include <gtest/gtest.h>

#include <tuple>

#include "operator/ordered/test_ordered.h"

namespace frazil {
namespace {

using namespace ordered_test;
using nlohmann::json;
using Assigned = std::vector<std::tuple<int64_t, int64_t, int64_t>>;  // v, window_start, window_end

std::unique_ptr<Operator> Make(const json& window) {
  const json spec = {{"time", {{"column", "at"}, {"minus_us", 0}}}, {"window", window}};
  return AssignWindow::Make(spec, *Input(), {}).ValueOrDie();
}

Assigned Of(const std::vector<Batch>& batches) {
  Assigned found;
  for (const Batch& batch : batches) {
    const auto v = Int64s(*batch.columns, "v"), start = Int64s(*batch.columns, "window_start"),
               end = Int64s(*batch.columns, "window_end");
    for (int64_t i = 0; i < batch.rows(); ++i)
      found.emplace_back(v->Value(i), start->Value(i), end->Value(i));
  }
  return found;
}

const json kTumbling = {{"kind", "tumbling"}, {"size_us", 10}, {"offset_us", 0}};
const json kHopping = {{"kind", "hopping"}, {"size_us", 20}, {"every_us", 10}, {"offset_us", 0}};
const json kCumulating = {{"kind", "cumulating"}, {"size_us", 20}, {"every_us", 10}, {"offset_us", 0}};

TEST(AssignWindow, GivesARowOnceForEachOfItsWindows) {
  Collect out;
  Expect(Make(kTumbling)->process(BatchOf({{1, 0, 0}, {1, 9, 1}, {1, 10, 2}}), out), Progress::kDone);
  EXPECT_EQ(Of(out.batches), (Assigned{{0, 0, 10}, {1, 0, 10}, {2, 10, 20}}));
  Collect hopping;
  Expect(Make(kHopping)->process(BatchOf({{1, 5, 0}, {1, 10, 1}}), hopping), Progress::kDone);
  EXPECT_EQ(Of(hopping.batches), (Assigned{{0, -10, 10}, {0, 0, 20}, {1, 0, 20}, {1, 10, 30}}));
  EXPECT_NE(MarkOf(hopping.batches[0], kOrderMark), nullptr);
  Collect cumulating;
  Expect(Make(kCumulating)->process(BatchOf({{1, 5, 0}, {1, 10, 1}}), cumulating), Progress::kDone);
  EXPECT_EQ(Of(cumulating.batches), (Assigned{{0, 0, 10}, {0, 0, 20}, {1, 0, 20}}));
}

TEST(AssignWindow, RefusesARowForTheWindowsThatAreBehindItsWatermark) {
  const auto op = Make(kHopping);
  Collect out, late;
  op->set_aside(&late);
  Batch batch = BatchOf({{1, 5, 0}, {1, 5, 1}, {1, 5, 2}, {1, 5, 3}});
  arrow::Int64Builder marks;
  ASSERT_TRUE(marks.AppendNull().ok() && marks.Append(9).ok() && marks.Append(10).ok() &&
              marks.Append(20).ok());
  SetMark(&batch, kRowWatermarkMark, marks.Finish().ValueOrDie());
  Expect(op->process(batch, out), Progress::kDone);
  EXPECT_EQ(Of(out.batches), (Assigned{{0, -10, 10}, {0, 0, 20}, {1, -10, 10}, {1, 0, 20}, {2, 0, 20}}));
  EXPECT_EQ(Of(late.batches), (Assigned{{2, -10, 10}, {3, -10, 10}, {3, 0, 20}}));
  EXPECT_EQ(op->late_rows(), 3);
  // None is late for what comes behind it.
  for (const Batch& given : out.batches) EXPECT_EQ(MarkOf(given, kRowWatermarkMark), nullptr);
}

TEST(AssignWindow, GivesAsManyRowsAsThereWereButOthers) {
  const auto op = Make(kHopping);
  Batch batch = BatchOf({{1, 5, 0}, {1, 6, 1}, {1, 7, 2}});
  arrow::Int64Builder marks;
  ASSERT_TRUE(marks.AppendNull().ok() && marks.Append(20).ok() && marks.Append(10).ok());
  SetMark(&batch, kRowWatermarkMark, marks.Finish().ValueOrDie());
  Collect out;
  Expect(op->process(batch, out), Progress::kDone);
  EXPECT_EQ(Of(out.batches), (Assigned{{0, -10, 10}, {0, 0, 20}, {2, 0, 20}}));
}

TEST(AssignWindow, GivesMuchInPieces) {
  const auto op = Make({{"kind", "hopping"}, {"size_us", 1000}, {"every_us", 1}, {"offset_us", 0}});
  std::vector<Row> rows;
  for (int64_t i = 0; i < 100; ++i) rows.push_back({1, i, i});
  Collect out(/*slow=*/true);
  Finish(op.get(), op->process(BatchOf(rows), out), &out);
  EXPECT_GT(out.batches.size(), 4U);
  EXPECT_EQ(Of(out.batches).size(), 100'000U);
}

}  // namespace
}  // namespace frazil
