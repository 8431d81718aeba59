#include "operator/ordered/fill_gaps.h"

#include <arrow/io/memory.h>
#include <arrow/ipc/writer.h>
#include <arrow/util/base64.h>
#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <set>
#include <tuple>

#include "base/calendar.h"
#include "operator/ordered/test_ordered.h"

namespace frazil {
namespace {

using namespace ordered_test;
using nlohmann::json;

constexpr int64_t kSize = 10, kOffset = 3;

// A row of a window: key (below 0: null), end, what is kept of it, and what is given as 7 or null.
struct Cell {
  int64_t k, end, v, fixed, none;
  auto operator<=>(const Cell&) const = default;
};

std::shared_ptr<arrow::Schema> Windows() {
  return arrow::schema({arrow::field("k", arrow::int64()), arrow::field("window_start", kTime, false),
                        arrow::field("window_end", kTime, false), arrow::field("v", arrow::int64(), false),
                        arrow::field("fixed", arrow::int64(), false),
                        arrow::field("none", arrow::int64(), false)});
}

json Seven() {
  auto out = arrow::io::BufferOutputStream::Create().ValueOrDie();
  const auto value = arrow::MakeArrayFromScalar(arrow::Int64Scalar(7), 1).ValueOrDie();
  const auto batch = arrow::RecordBatch::Make(arrow::schema({arrow::field("", arrow::int64())}), 1, {value});
  auto writer = arrow::ipc::MakeStreamWriter(out, batch->schema()).ValueOrDie();
  EXPECT_TRUE(writer->WriteRecordBatch(*batch).ok() && writer->Close().ok());
  return {{"lit", arrow::util::base64_encode(out->Finish().ValueOrDie()->ToString())}};
}

json Spec(int64_t windows, const std::string& v = "previous") {
  return {{"keys", {"k"}},
          {"time", {{"column", "window_end"}, {"minus_us", 1}}},
          {"window", {{"kind", "tumbling"}, {"size_us", kSize}, {"offset_us", kOffset}}},
          {"windows", windows},
          {"fill",
           {{{"column", "k"}, {"how", "key"}, {"key", 0}},
            {{"column", "window_start"}, {"how", "start"}},
            {{"column", "window_end"}, {"how", "end"}},
            {{"column", "v"}, {"how", v}},
            {{"column", "fixed"}, {"how", "value"}, {"value", Seven()}},
            {{"column", "none"}, {"how", "null"}}}}};
}

std::unique_ptr<Operator> Make(const json& spec) { return FillGaps::Make(spec, *Windows(), {}).ValueOrDie(); }

// Ends are given as numbers of windows.
int64_t EndOf(int64_t number) { return kOffset + number * kSize; }

Batch BatchOf(const std::vector<Cell>& cells) {
  arrow::Int64Builder k, v, fixed, none;
  arrow::TimestampBuilder starts(kTime, arrow::default_memory_pool());
  arrow::TimestampBuilder ends(kTime, arrow::default_memory_pool());
  for (const Cell& cell : cells) {
    EXPECT_TRUE((cell.k < 0 ? k.AppendNull() : k.Append(cell.k)).ok() &&
                starts.Append(EndOf(cell.end) - kSize).ok() && ends.Append(EndOf(cell.end)).ok() &&
                v.Append(cell.v).ok() && fixed.Append(cell.fixed).ok() && none.Append(cell.none).ok());
  }
  return {arrow::RecordBatch::Make(
              Windows(), static_cast<int64_t>(cells.size()),
              {k.Finish().ValueOrDie(), starts.Finish().ValueOrDie(), ends.Finish().ValueOrDie(),
               v.Finish().ValueOrDie(), fixed.Finish().ValueOrDie(), none.Finish().ValueOrDie()}),
          {},
          nullptr};
}

// What was given; null is -1. Each row has the bounds of its window, and those of a window differ in their
// mark.
std::vector<Cell> CellsOf(const std::vector<Batch>& batches) {
  const auto schema = Windows();
  std::vector<Cell> cells;
  std::set<std::pair<int64_t, int64_t>> marks;
  for (const Batch& batch : batches) {
    EXPECT_TRUE(batch.columns->ValidateFull().ok());
    EXPECT_TRUE(batch.columns->schema()->field(5)->nullable());
    const auto mark = std::static_pointer_cast<arrow::Int64Array>(MarkOf(batch, kPositionMark));
    std::map<std::string, std::shared_ptr<arrow::Int64Array>> columns;
    for (const auto& field : schema->fields()) {
      columns[field->name()] = Int64s(*batch.columns, field->name());
    }
    for (int64_t i = 0; i < batch.rows(); ++i) {
      const auto value = [&](const std::string& name) {
        return columns[name]->IsNull(i) ? -1 : columns[name]->Value(i);
      };
      EXPECT_EQ(value("window_end") - value("window_start"), kSize);
      EXPECT_TRUE(marks.emplace(value("window_end"), mark->Value(i)).second);
      cells.push_back(
          {value("k"), (value("window_end") - kOffset) / kSize, value("v"), value("fixed"), value("none")});
    }
  }
  return cells;
}

std::vector<Cell> Sorted(std::vector<Cell> cells) {
  std::sort(cells.begin(), cells.end());
  return cells;
}

// What is given of all rows when the watermark has passed everything.
std::vector<Cell> Model(const std::vector<Cell>& rows, int64_t windows) {
  std::map<int64_t, std::map<int64_t, Cell>> keys;
  for (const Cell& row : rows) keys[row.k][row.end] = row;
  std::vector<Cell> given = rows;
  for (const auto& [key, cells] : keys) {
    for (auto at = cells.begin(); at != cells.end(); ++at) {
      const auto next = std::next(at);
      for (int64_t n = at->first + 1; n <= at->first + windows; ++n) {
        if (next != cells.end() && n >= next->first) break;
        given.push_back({key, n, at->second.v, 7, -1});
      }
    }
  }
  return given;
}

TEST(FillGaps, GivesEachKeyARowInEachWindow) {
  const auto op = Make(Spec(3));
  Collect out;
  Expect(op->process(BatchOf({{1, 1, 5, 0, 0}, {2, 1, 6, 0, 0}, {-1, 1, 9, 0, 0}}), out), Progress::kDone);
  Expect(op->advance(0, EndOf(1), out), Progress::kDone);
  EXPECT_EQ(out.batches.size(), 1U);
  Expect(op->process(BatchOf({{2, 2, 8, 0, 0}}), out), Progress::kDone);
  Expect(op->advance(0, EndOf(2) - 1, out), Progress::kDone);
  EXPECT_EQ(out.batches.size(), 2U);
  EXPECT_EQ(op->promise(), EndOf(2) - 1);
  Expect(op->advance(0, EndOf(2), out), Progress::kDone);
  EXPECT_EQ(op->promise(), EndOf(2));
  out.batches.erase(out.batches.begin(), out.batches.begin() + 2);
  EXPECT_EQ(Sorted(CellsOf(out.batches)), (std::vector<Cell>{{-1, 2, 9, 7, -1}, {1, 2, 5, 7, -1}}));
}

TEST(FillGaps, ForgetsAKeyThatHasBeenGivenItsLastRow) {
  const auto op = Make(Spec(2));
  Collect out;
  for (int64_t n = 1; n < 2'000; ++n) {
    Expect(op->process(BatchOf({{n, n, n, 0, 0}}), out), Progress::kDone);
    Expect(op->advance(0, EndOf(n), out), Progress::kDone);
  }
  EXPECT_LT(op->state_bytes(), 64 << 10);
  out.batches.clear();
  Expect(op->advance(0, EndOf(5'000'000'000), out), Progress::kDone);
  EXPECT_EQ(
      Sorted(CellsOf(out.batches)),
      (std::vector<Cell>{{1998, 2000, 1998, 7, -1}, {1999, 2000, 1999, 7, -1}, {1999, 2001, 1999, 7, -1}}));
  const StateRows rows = op->snapshot(true).ValueOrDie();
  ASSERT_EQ(rows.size(), 1U);  // how far it has come
  EXPECT_TRUE(rows[0]->column(1)->IsNull(0));
}

TEST(FillGaps, EndsWhereTimeEnds) {
  const auto op = Make(Spec(4));
  Collect out;
  Expect(op->process(BatchOf({{1, 9, 5, 0, 0}}), out), Progress::kDone);
  Expect(op->advance(0, kWatermarkMax, out), Progress::kDone);
  EXPECT_EQ(op->promise(), kWatermarkMax);
  EXPECT_EQ(Sorted(CellsOf(out.batches)), Sorted(Model({{1, 9, 5, 0, 0}}, 4)));
}

TEST(FillGaps, KeepsNoRowsWhereNothingIsOfTheLastOne) {
  const auto op = Make(Spec(4, "null"));
  Collect out;
  Expect(op->process(BatchOf({{1, 9, 5, 0, 0}}), out), Progress::kDone);
  Expect(op->advance(0, EndOf(9), out), Progress::kDone);
  const StateRows rows = op->snapshot(true).ValueOrDie();
  EXPECT_EQ(rows[0]->num_columns(), 4);
  const auto again = Restored([] { return Make(Spec(4, "null")); }, {rows});
  out.batches.clear();
  Expect(again->advance(0, EndOf(10), out), Progress::kDone);
  EXPECT_EQ(CellsOf(out.batches), (std::vector<Cell>{{1, 10, -1, 7, -1}}));
}

// Days of Berlin, by their ends: of 24, 23 and 24 hours.
TEST(FillGaps, KnowsTheEndsOfDays) {
  json spec = Spec(3);
  spec["window"] = {{"kind", "calendar"}, {"unit", "day"}, {"count", 1}, {"zone", "Europe/Berlin"}};
  const auto op = Make(spec);
  const int64_t hour = 3'600'000'000;
  const int64_t first = DaysFromCivil(2026, 3, 28) * 24 * hour - hour;  // the beginning of the 28th
  arrow::Int64Builder one;
  arrow::TimestampBuilder starts(kTime, arrow::default_memory_pool());
  arrow::TimestampBuilder ends(kTime, arrow::default_memory_pool());
  ASSERT_TRUE(one.Append(1).ok() && starts.Append(first - 24 * hour).ok() && ends.Append(first).ok());
  const auto value = one.Finish().ValueOrDie();
  const Batch batch{arrow::RecordBatch::Make(Windows(), 1,
                                             {value, starts.Finish().ValueOrDie(), ends.Finish().ValueOrDie(),
                                              value, value, value}),
                    {},
                    nullptr};
  Collect out;
  Expect(op->process(batch, out), Progress::kDone);
  Expect(op->advance(0, kWatermarkMax, out), Progress::kDone);
  std::vector<int64_t> given;
  for (const Batch& each : out.batches) given.push_back(Int64s(*each.columns, "window_end")->Value(0));
  EXPECT_EQ(given, (std::vector<int64_t>{first, first + 24 * hour, first + 47 * hour, first + 71 * hour}));
}

TEST(FillGaps, RefusesRowsThatCannotBe) {
  Collect out;
  const auto twice = Make(Spec(1));
  Expect(twice->process(BatchOf({{1, 1, 0, 0, 0}, {1, 1, 1, 0, 0}}), out), Progress::kDone);
  EXPECT_EQ(KindOf(twice->advance(0, EndOf(1), out).status()), ErrorKind::kInternal);
  const auto late = Make(Spec(1));
  Expect(late->advance(0, EndOf(3), out), Progress::kDone);
  EXPECT_EQ(KindOf(late->process(BatchOf({{1, 3, 0, 0, 0}}), out).status()), ErrorKind::kInternal);
  json other = Spec(1);
  other["window"]["offset_us"] = kOffset + 1;
  EXPECT_EQ(KindOf(Make(other)->process(BatchOf({{1, 3, 0, 0, 0}}), out).status()), ErrorKind::kInternal);
}

TEST(FillGaps, RefusesPlansThatDoNotFit) {
  const auto refused = [](const std::function<void(json*)>& change) {
    json spec = Spec(1);
    change(&spec);
    const auto made = FillGaps::Make(spec, *Windows(), {});
    return !made.ok() && KindOf(made.status()) == ErrorKind::kConfig;
  };
  EXPECT_TRUE(refused([](json* spec) { (*spec)["windows"] = 0; }));
  EXPECT_TRUE(refused([](json* spec) { (*spec)["windows"] = 1'000'001; }));
  EXPECT_TRUE(refused([](json* spec) { (*spec)["window"] = {{"kind", "session"}, {"gap_us", 5}}; }));
  EXPECT_TRUE(refused([](json* spec) {
    (*spec)["window"] = {{"kind", "cumulating"}, {"size_us", 10}, {"every_us", 5}, {"offset_us", 0}};
  }));
  EXPECT_TRUE(refused([](json* spec) { (*spec)["fill"].erase(3); }));
  EXPECT_TRUE(refused([](json* spec) { (*spec)["fill"][0]["key"] = 1; }));
  EXPECT_TRUE(refused([](json* spec) { (*spec)["fill"][3]["how"] = "start"; }));
  EXPECT_TRUE(refused([](json* spec) { (*spec)["fill"][3]["how"] = "some"; }));
}

TEST(FillGaps, RefusesDamagedState) {
  const auto op = Make(Spec(2));
  Collect out;
  Expect(op->process(BatchOf({{1, 1, 5, 0, 0}}), out), Progress::kDone);
  Expect(op->advance(0, EndOf(1), out), Progress::kDone);
  const auto good = op->snapshot(true).ValueOrDie().front();
  const auto changed = [&](int column, const std::shared_ptr<arrow::Array>& values) {
    const auto rows = good->SetColumn(column, good->schema()->field(column), values).ValueOrDie();
    return KindOf(Make(Spec(2))->restore(rows));
  };
  const auto number = [](int64_t value) {
    return arrow::MakeArrayFromScalar(arrow::Int64Scalar(value), 1).ValueOrDie();
  };
  EXPECT_TRUE(Make(Spec(2))->restore(good).ok());
  EXPECT_EQ(changed(1, arrow::MakeArrayOfNull(arrow::binary(), 1).ValueOrDie()), ErrorKind::kState);
  EXPECT_EQ(changed(2, arrow::MakeArrayOfNull(arrow::int64(), 1).ValueOrDie()), ErrorKind::kState);
  EXPECT_EQ(changed(2, number(EndOf(1) + 1)), ErrorKind::kState);
  EXPECT_EQ(changed(2, number(kWatermarkMin)), ErrorKind::kState);
  EXPECT_EQ(changed(2, number(kWatermarkMax)), ErrorKind::kState);
  EXPECT_EQ(changed(4, arrow::MakeArrayOfNull(good->schema()->field(4)->type(), 1).ValueOrDie()),
            ErrorKind::kState);
  EXPECT_EQ(KindOf(Make(Spec(2, "null"))->restore(good)), ErrorKind::kState);
  // Bytes that are no key are found when a row is made of them.
  const auto keys = arrow::MakeArrayFromScalar(arrow::BinaryScalar("?"), 1);
  const auto rows = good->SetColumn(1, good->schema()->field(1), keys.ValueOrDie()).ValueOrDie();
  const auto other = Make(Spec(2));
  ASSERT_TRUE(other->restore(rows).ok());
  EXPECT_EQ(KindOf(other->advance(0, EndOf(2), out).status()), ErrorKind::kState);
}

// Rows of any windows, in any order that the watermark allows.
std::vector<Cell> Draw(std::mt19937* rng, int64_t keys) {
  std::vector<std::pair<int64_t, Cell>> arrivals;
  int64_t v = 0;
  for (int64_t key = -1; key < keys - 1; ++key) {
    for (int64_t end = 1; end < 40; ++end) {
      if ((*rng)() % 4 != 0) continue;
      arrivals.push_back({end + static_cast<int64_t>((*rng)() % 5), {key, end, ++v, v, v}});
    }
  }
  std::sort(arrivals.begin(), arrivals.end());
  std::vector<Cell> rows;
  for (const auto& [at, cell] : arrivals) rows.push_back(cell);
  return rows;
}

// Any order, any batches and watermarks, deaths at any time; what is given after the last checkpoint before
// one is forgotten, as it is in a table.
TEST(FillGaps, DrawnRunsGiveWhatTheModelGives) {
  for (uint32_t seed = 0; seed < 300; ++seed) {
    std::mt19937 rng(seed);
    const int64_t windows = 1 + static_cast<int64_t>(rng() % 6);
    const std::vector<Cell> rows = Draw(&rng, 1 + static_cast<int64_t>(rng() % 4));
    const auto make = [&] { return Make(Spec(windows)); };
    auto op = make();
    std::vector<StateRows> chain;
    Collect out(/*slow=*/true);
    size_t kept = 0, saved_at = 0, at = 0;
    int deaths = 3;
    while (at < rows.size()) {
      const size_t to = std::min(rows.size(), at + 1 + rng() % 7);
      const std::vector<Cell> some(rows.begin() + static_cast<std::ptrdiff_t>(at),
                                   rows.begin() + static_cast<std::ptrdiff_t>(to));
      Finish(op.get(), op->process(BatchOf(some), out), &out);
      out.drain();
      at = to;
      int64_t least = 100;
      for (size_t i = at; i < rows.size(); ++i) least = std::min(least, rows[i].end);
      if (at < rows.size() && rng() % 3 != 0) {
        const Timestamp watermark = EndOf(least) - 1 - static_cast<int64_t>(rng() % 12);
        Finish(op.get(), op->advance(0, watermark, out), &out);
        out.drain();
      }
      if (rng() % 4 == 0) {
        const bool full = chain.empty() || rng() % 4 == 0;
        if (full) chain.clear();
        chain.push_back(op->snapshot(full).ValueOrDie());
        kept = out.batches.size();
        saved_at = at;
      } else if (deaths > 0 && rng() % 6 == 0) {
        --deaths;
        op = Restored(make, chain);
        out.batches.resize(kept);
        at = saved_at;
      }
    }
    Finish(op.get(), op->advance(0, kWatermarkMax, out), &out);
    EXPECT_EQ(Sorted(CellsOf(out.batches)), Sorted(Model(rows, windows))) << seed;
  }
}

}  // namespace
}  // namespace frazil
