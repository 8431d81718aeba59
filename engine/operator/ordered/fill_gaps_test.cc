#include "operator/ordered/fill_gaps.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "operator/ordered/test_ordered.h"

namespace frazil {
namespace {

using namespace ordered_test;
using nlohmann::json;

constexpr int64_t kSize = 10;  // us

std::shared_ptr<arrow::Schema> WindowInput() {
  return arrow::schema({arrow::field("k", arrow::int64()), arrow::field("window_start", kTime, false),
                        arrow::field("window_end", kTime, false), arrow::field("v", arrow::int64()),
                        arrow::field("z", arrow::float64(), false), arrow::field("n", arrow::int64(), false),
                        arrow::field("d", arrow::decimal128(3, 1))});
}

json Spec(int64_t most, const json& window) {
  return {{"keys", {"k"}},
          {"time", {{"column", "window_end"}, {"minus_us", 1}}},
          {"window", window},
          {"most", most},
          {"fills",
           {{{"column", "v"}, {"how", "previous"}},
            {{"column", "z"}, {"how", "zero"}},
            {{"column", "n"}, {"how", "null"}},
            {{"column", "d"}, {"how", "zero"}}}}};
}

json Tumbling() { return {{"kind", "tumbling"}, {"size_us", kSize}, {"offset_us", 0}}; }

// Takes rows of a time, and hands on those of the windows that end behind it.
class Windows : public Operator {
 public:
  explicit Windows(std::unique_ptr<Operator> op, int64_t size = kSize) : op_(std::move(op)), size_(size) {}

  Result<Progress> process(Batch batch, Output& out) override {
    const auto k = Int64s(*batch.columns, "k"), at = Int64s(*batch.columns, "at"),
               v = Int64s(*batch.columns, "v");
    arrow::TimestampBuilder starts(kTime, arrow::default_memory_pool()),
        ends(kTime, arrow::default_memory_pool());
    arrow::DoubleBuilder z;
    arrow::Decimal128Builder d(arrow::decimal128(3, 1));
    for (int64_t i = 0; i < batch.rows(); ++i) {
      FZ_TRY(starts.Append(at->Value(i) + 1 - size_));
      FZ_TRY(ends.Append(at->Value(i) + 1));
      FZ_TRY(z.Append(1.5));
      FZ_TRY(d.Append(arrow::Decimal128(15)));
    }
    batch.columns = arrow::RecordBatch::Make(
        WindowInput(), batch.rows(),
        {batch.columns->column(0), starts.Finish().ValueOrDie(), ends.Finish().ValueOrDie(), v,
         z.Finish().ValueOrDie(), v, d.Finish().ValueOrDie()});
    return op_->process(std::move(batch), out);
  }
  Result<Progress> resume(Output& out) override { return op_->resume(out); }
  Result<Progress> advance(int port, Timestamp to, Output& out) override {
    auto done = op_->advance(port, to, out);
    promise_ = op_->promise();
    return done;
  }
  Timestamp promise() const override { return op_->promise(); }
  Result<StateRows> snapshot(bool full) override { return op_->snapshot(full); }
  Status restore(const std::shared_ptr<arrow::RecordBatch>& rows) override { return op_->restore(rows); }
  int64_t state_bytes() const override { return op_->state_bytes(); }

 private:
  const std::unique_ptr<Operator> op_;
  const int64_t size_;
};

std::unique_ptr<Operator> Make(int64_t most, const json& window = Tumbling()) {
  auto made = FillGaps::Make(Spec(most, window), *WindowInput(), {});
  EXPECT_TRUE(made.ok()) << made.status().ToString();
  return std::make_unique<Windows>(std::move(made).ValueOrDie());
}

// Key, end, v, and whether it was made up.
using Given = std::vector<int64_t>;

std::vector<Given> GivenIn(const std::vector<Batch>& batches) {
  std::vector<Given> given;
  for (const Batch& batch : batches) {
    EXPECT_TRUE(batch.columns->ValidateFull().ok());
    const auto k = Int64s(*batch.columns, "k"), start = Int64s(*batch.columns, "window_start"),
               end = Int64s(*batch.columns, "window_end"), v = Int64s(*batch.columns, "v"),
               n = Int64s(*batch.columns, "n");
    const auto z = std::static_pointer_cast<arrow::DoubleArray>(batch.columns->GetColumnByName("z"));
    const auto d = std::static_pointer_cast<arrow::Decimal128Array>(batch.columns->GetColumnByName("d"));
    for (int64_t i = 0; i < batch.rows(); ++i) {
      const bool made_up = n->IsNull(i);
      EXPECT_EQ(z->Value(i), made_up ? 0.0 : 1.5);
      EXPECT_EQ(d->FormatValue(i), made_up ? "0.0" : "1.5");
      EXPECT_EQ(start->Value(i), end->Value(i) - kSize);
      given.push_back({k->IsNull(i) ? -1 : k->Value(i), end->Value(i), v->Value(i), made_up ? 1 : 0});
    }
  }
  return given;
}

TEST(FillGaps, MakesUpRowsBehindThoseOfAKey) {
  const auto op = Make(3);
  Collect out;
  Expect(op->process(BatchOf({{1, 9, 5}, {2, 9, 6}, {1, 19, 7}, {2, 39, 8}}), out), Progress::kDone);
  EXPECT_EQ(GivenIn(out.batches), (std::vector<Given>{{1, 10, 5, 0},
                                                      {2, 10, 6, 0},
                                                      {1, 20, 7, 0},
                                                      {2, 20, 6, 1},
                                                      {2, 30, 6, 1},
                                                      {1, 30, 7, 1},
                                                      {2, 40, 8, 0}}));
}

// When the watermark has passed the end of a window, not before; and for a time.
TEST(FillGaps, MakesUpARowWhenItsTimeHasCome) {
  const auto op = Make(2);
  Collect out;
  Expect(op->process(BatchOf({{1, 9, 5}}), out), Progress::kDone);
  Expect(op->advance(0, 19, out), Progress::kDone);
  EXPECT_EQ(GivenIn(out.batches).size(), 1U);
  Expect(op->advance(0, 20, out), Progress::kDone);
  EXPECT_EQ(GivenIn(out.batches).back(), (Given{1, 20, 5, 1}));
  EXPECT_EQ(op->promise(), 20);
  Expect(op->advance(0, 1'000, out), Progress::kDone);
  EXPECT_EQ(GivenIn(out.batches).size(), 3U);
  EXPECT_TRUE(op->snapshot(true).ValueOrDie().empty());
}

TEST(FillGaps, ForgetsKeysWithoutRows) {
  const auto op = Make(4);
  Collect out;
  for (int64_t at = 9; at < 40'000; at += 10) {
    Expect(op->process(BatchOf({{at, at, at}}), out), Progress::kDone);
    Expect(op->advance(0, at + 1, out), Progress::kDone);
    if (at % 90 == 0) ASSERT_TRUE(op->snapshot(false).ok());
    out.batches.clear();
  }
  EXPECT_LT(op->state_bytes(), 256 << 10);
}

// Days of 23 and 25 hours are windows.
TEST(FillGaps, GoesByTheCalendar) {
  constexpr int64_t kHour = 3'600'000'000;
  const json day = {{"kind", "calendar"}, {"unit", "day"}, {"count", 1}, {"zone", "Europe/Berlin"}};
  const Panes panes(ParseWindow(day).ValueOrDie());
  for (const int64_t noon : {int64_t{1'774'605'600}, int64_t{1'792'749'600}}) {  // before the clocks change
    auto made = FillGaps::Make(Spec(4, day), *WindowInput(), {});
    const auto op = std::make_unique<Windows>(std::move(made).ValueOrDie());
    Collect out;
    Timestamp end = panes.first_end(panes.pane(noon * 1'000'000));
    Expect(op->process(BatchOf({{1, end - 1, 5}}), out), Progress::kDone);
    Expect(op->advance(0, end + 200 * kHour, out), Progress::kDone);
    std::set<int64_t> hours;
    ASSERT_EQ(out.batches.size(), 5U);
    for (size_t i = 1; i < out.batches.size(); ++i) {
      const auto start = Int64s(*out.batches[i].columns, "window_start")->Value(0);
      EXPECT_EQ(start, end);
      end = Int64s(*out.batches[i].columns, "window_end")->Value(0);
      hours.insert((end - start) / kHour);
    }
    EXPECT_EQ(hours, (std::set<int64_t>{24, noon == 1'774'605'600 ? 23 : 25}));
  }
}

TEST(FillGaps, RefusesStateThatCannotBeIts) {
  EXPECT_EQ(KindOf(Make(3)->restore(BatchOf({{1, 0, 0}}).columns)), ErrorKind::kState);
  const auto op = Make(3);
  Collect out;
  Expect(op->process(BatchOf({{1, 9, 5}}), out), Progress::kDone);
  Expect(op->advance(0, 35, out), Progress::kDone);
  const StateRows saved = op->snapshot(true).ValueOrDie();
  ASSERT_EQ(saved.size(), 1U);
  const auto& good = saved.front();
  EXPECT_TRUE(Make(3)->restore(good).ok());
  EXPECT_EQ(KindOf(Make(2)->restore(good)), ErrorKind::kState);
  const auto with = [&](int column, std::shared_ptr<arrow::Array> values) {
    return good->SetColumn(column, good->schema()->field(column), std::move(values)).ValueOrDie();
  };
  const auto null = [&](int column) {
    return with(column, arrow::MakeArrayOfNull(good->column(column)->type(), 1).ValueOrDie());
  };
  const auto number = [&](int column, int64_t value) {
    return with(column, arrow::MakeArrayFromScalar(arrow::Int64Scalar(value), 1).ValueOrDie());
  };
  for (const auto& bad : {null(1), null(2), null(3), null(4), number(2, 33), number(3, -1), number(3, 3)}) {
    EXPECT_EQ(KindOf(Make(3)->restore(bad)), ErrorKind::kState) << bad->ToString();
  }
}

// Any split, any watermarks, deaths at any time.
TEST(FillGaps, DrawnRunsGiveWhatTheModelGives) {
  for (uint32_t seed = 0; seed < 300; ++seed) {
    std::mt19937 rng(seed);
    std::vector<Row> rows;
    std::set<std::pair<int64_t, int64_t>> seen;
    for (Row row :
         DrawRows(&rng, 80, 2 + static_cast<int>(rng() % 4), 1 + static_cast<int64_t>(rng() % 30))) {
      row.at = row.at / kSize * kSize + kSize - 1;
      if (seen.emplace(row.k, row.at).second) rows.push_back(row);
    }
    const int64_t most = 1 + static_cast<int64_t>(rng() % 6);
    std::vector<Given> expected;
    std::map<int64_t, Row> last;
    const auto fill = [&](const Row& row, int64_t up_to) {
      for (int64_t i = 1; i <= most && row.at + i * kSize < up_to; ++i) {
        expected.push_back({row.k, row.at + 1 + i * kSize, row.v, 1});
      }
    };
    for (const Row& row : rows) {
      if (last.contains(row.k)) fill(last.at(row.k), row.at);
      last[row.k] = row;
      expected.push_back({row.k, row.at + 1, row.v, 0});
    }
    for (const auto& [k, row] : last) fill(row, std::numeric_limits<int64_t>::max());
    auto given = GivenIn(RunDrawn([&] { return Make(most); }, rows, &rng, 3));
    EXPECT_TRUE(std::is_sorted(given.begin(), given.end(), [](const Given& a, const Given& b) {
      return a[1] < b[1];
    })) << seed;
    std::sort(given.begin(), given.end());
    std::sort(expected.begin(), expected.end());
    EXPECT_EQ(given, expected) << seed;
  }
}

}  // namespace
}  // namespace frazil
