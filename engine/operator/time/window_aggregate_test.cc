#include "operator/time/window_aggregate.h"

#include <arrow/api.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "operator/time/window_partial.h"

namespace frazil {
namespace {

using nlohmann::json;

const auto kTime = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
const auto kInput = arrow::schema(
    {arrow::field("k", arrow::int64()), arrow::field("at", kTime, false), arrow::field("v", arrow::int64())});

struct Row {
  int64_t k, at, v;
};

// Full after every batch, if `slow`.
class Collect : public Output {
 public:
  explicit Collect(bool slow = false) : slow_(slow) {}
  Status push(Batch batch) override {
    full_ = slow_;
    batches.push_back(std::move(batch));
    return Status::OK();
  }
  bool full() const override { return full_; }
  void drain() { full_ = false; }
  std::vector<Batch> batches;

 private:
  const bool slow_;
  bool full_ = false;
};

Batch Rows(const std::vector<Row>& rows) {
  arrow::Int64Builder keys, values;
  arrow::TimestampBuilder times(kTime, arrow::default_memory_pool());
  for (const Row& row : rows) {
    EXPECT_TRUE(keys.Append(row.k).ok() && times.Append(row.at).ok() && values.Append(row.v).ok());
  }
  return {arrow::RecordBatch::Make(
              kInput, static_cast<int64_t>(rows.size()),
              {keys.Finish().ValueOrDie(), times.Finish().ValueOrDie(), values.Finish().ValueOrDie()}),
          Origin{0, 0, static_cast<int64_t>(rows.size())}, nullptr};
}

json Spec(json window) {
  return {
      {"keys", {"k"}},
      {"time", {{"column", "at"}, {"minus_us", 0}}},
      {"window", std::move(window)},
      {"lateness_us", 0},
      {"aggregates", {{{"name", "total"}, {"fn", "sum"}, {"args", {{{"col", "v"}}}}, {"filter", nullptr}}}}};
}

// Both halves, without an exchange.
struct Windowed {
  explicit Windowed(const json& spec) {
    partial = WindowPartial::Make(spec, *kInput, {}).ValueOrDie();
    aggregate = WindowAggregate::Make(spec, *PartialSchema(spec, *kInput).ValueOrDie(), {}).ValueOrDie();
  }
  void give(const std::vector<Row>& rows) {
    Collect between, none;
    EXPECT_EQ(partial->process(Rows(rows), between).ValueOrDie(), Progress::kDone);
    for (Batch& batch : between.batches) {
      const auto done = aggregate->process(std::move(batch), none);
      EXPECT_TRUE(done.ok()) << done.status().ToString();
    }
  }
  std::unique_ptr<WindowPartial> partial;
  std::unique_ptr<WindowAggregate> aggregate;
};

using Results = std::map<std::pair<int64_t, int64_t>, int64_t>;  // (key, end of window) -> total

Results Of(const std::vector<Batch>& batches) {
  Results results;
  for (const Batch& batch : batches) {
    const auto column = [&](const char* name) {
      const auto found = batch.columns->GetColumnByName(name)->View(arrow::int64()).ValueOrDie();
      return std::static_pointer_cast<arrow::Int64Array>(found);
    };
    for (int64_t i = 0; i < batch.rows(); ++i) {
      const auto [at, is_new] = results.emplace(
          std::pair(column("k")->Value(i), column("window_end")->Value(i)), column("total")->Value(i));
      EXPECT_TRUE(is_new) << "a window twice";
    }
  }
  return results;
}

const json kTumbling = {{"kind", "tumbling"}, {"size_us", 10}, {"offset_us", 0}};
const json kHopping = {{"kind", "hopping"}, {"size_us", 20}, {"every_us", 10}, {"offset_us", 0}};
const json kCumulating = {{"kind", "cumulating"}, {"size_us", 20}, {"every_us", 10}, {"offset_us", 0}};

TEST(WindowAggregate, GivesAWindowOnceWhenTheWatermarkReachesItsEnd) {
  Windowed windowed(Spec(kTumbling));
  Collect out;
  windowed.give({{1, 3, 5}, {1, 9, 6}, {2, 10, 7}});
  EXPECT_EQ(windowed.aggregate->advance(0, 9, out).ValueOrDie(), Progress::kDone);
  EXPECT_TRUE(out.batches.empty());
  EXPECT_EQ(windowed.aggregate->advance(0, 10, out).ValueOrDie(), Progress::kDone);
  EXPECT_EQ(Of(out.batches), (Results{{{1, 10}, 11}}));
  EXPECT_EQ(windowed.aggregate->promise(), 10);
  EXPECT_EQ(windowed.aggregate->advance(0, kWatermarkMax, out).ValueOrDie(), Progress::kDone);
  EXPECT_EQ(Of(out.batches), (Results{{{1, 10}, 11}, {{2, 20}, 7}}));
}

TEST(WindowAggregate, OverlappingAndGrowingWindows) {
  const std::vector<Row> rows = {{1, 3, 1}, {1, 13, 10}, {1, 23, 100}};
  Windowed hopping(Spec(kHopping));
  Collect hops;
  hopping.give(rows);
  EXPECT_TRUE(hopping.aggregate->advance(0, kWatermarkMax, hops).ok());
  EXPECT_EQ(Of(hops.batches), (Results{{{1, 10}, 1}, {{1, 20}, 11}, {{1, 30}, 110}, {{1, 40}, 100}}));
  Windowed growing(Spec(kCumulating));
  Collect steps;
  growing.give(rows);
  EXPECT_TRUE(growing.aggregate->advance(0, kWatermarkMax, steps).ok());
  EXPECT_EQ(Of(steps.batches), (Results{{{1, 10}, 1}, {{1, 20}, 11}, {{1, 30}, 100}, {{1, 40}, 100}}));
}

// Every window of every row, by the definition.
Results Hops(const std::vector<Row>& rows, int64_t size, int64_t every) {
  Results results;
  for (const Row& row : rows) {
    for (int64_t end = (row.at / every + 1) * every; end - size <= row.at; end += every) {
      results[{row.k, end}] += row.v;
    }
  }
  return results;
}

// Keys that come and go, and pauses without any, through many turns of the stacks; half-way it is restored.
TEST(WindowAggregate, HopsAsIfEachWindowWereMadeAlone) {
  std::mt19937_64 random(11);
  for (const auto& [size, every] : {std::pair<int64_t, int64_t>{20, 10}, {300, 10}, {60, 20}, {50, 10}}) {
    const json spec = Spec({{"kind", "hopping"}, {"size_us", size}, {"every_us", every}, {"offset_us", 0}});
    auto windowed = std::make_unique<Windowed>(spec);
    std::vector<Row> all;
    Collect out;
    int64_t now = 1000;
    for (int step = 0; step < 300; ++step) {
      std::vector<Row> rows;
      for (uint64_t i = random() % 5; i > 0; --i) {
        rows.push_back({static_cast<int64_t>(random() % 4) + step / 100,
                        now + static_cast<int64_t>(random() % 15), static_cast<int64_t>(random() % 100)});
      }
      all.insert(all.end(), rows.begin(), rows.end());
      if (!rows.empty()) windowed->give(rows);
      now += static_cast<int64_t>(random() % (random() % 50 == 0 ? 1000 : 12));
      ASSERT_TRUE(windowed->aggregate->advance(0, now, out).ok());
      if (step != 150) continue;
      auto restored = std::make_unique<Windowed>(spec);
      for (const auto& saved : windowed->aggregate->snapshot(true).ValueOrDie()) {
        ASSERT_TRUE(restored->aggregate->restore(saved).ok());
      }
      windowed = std::move(restored);
    }
    ASSERT_TRUE(windowed->aggregate->advance(0, kWatermarkMax, out).ok());
    ASSERT_EQ(Of(out.batches), Hops(all, size, every)) << size << " every " << every;
  }
}

// Rows and watermarks, one after the other; rows are never late.
struct Step {
  std::vector<Row> rows;
  int64_t watermark = 0;
};
std::vector<Step> DrawSteps(std::mt19937_64* random) {
  std::vector<Step> steps;
  int64_t now = 1000;
  for (int i = 0; i < 80; ++i) {
    Step step;
    for (uint64_t rows = (*random)() % 12; rows > 0; --rows) {
      step.rows.push_back({static_cast<int64_t>((*random)() % 30),
                           now + static_cast<int64_t>((*random)() % 35),
                           static_cast<int64_t>((*random)() % 100)});
    }
    now += static_cast<int64_t>((*random)() % 12);
    step.watermark = now;
    steps.push_back(std::move(step));
  }
  steps.push_back({{}, kWatermarkMax});
  return steps;
}

// Gives the steps to a window that is saved a few rows at a time while they go on, and dies at times: then it
// begins where the newest whole snapshot was taken, and what has come out since is forgotten.
Results SavedBesideTheFlow(const json& spec, const std::vector<Step>& steps, std::mt19937_64* random) {
  auto windowed = std::make_unique<Windowed>(spec);
  std::vector<StateRows> chain;
  Collect out;
  struct Cut {
    bool full = false;
    size_t step = 0, batches = 0;
    StateRows rows;
  };
  Cut kept, saving;
  bool frozen = false;
  int deaths = 5;
  for (size_t at = 0; at < steps.size(); ++at) {
    if (!steps[at].rows.empty()) windowed->give(steps[at].rows);
    if (frozen) {
      const auto done = windowed->aggregate->save(static_cast<int64_t>((*random)() % 9), &saving.rows);
      EXPECT_TRUE(done.ok()) << done.status();
      frozen = !*done;
      if (*done) {
        if (saving.full) chain.clear();
        chain.push_back(saving.rows);
        kept = std::move(saving);
      }
    }
    EXPECT_TRUE(windowed->aggregate->advance(0, steps[at].watermark, out).ok());
    if (at + 1 == steps.size()) break;
    if (!frozen && (*random)() % 3 == 0) {
      saving = {(*random)() % 3 == 0, at + 1, out.batches.size(), {}};
      EXPECT_TRUE(windowed->aggregate->freeze(saving.full).ok());
      frozen = true;
    } else if (deaths > 0 && (*random)() % 10 == 0) {
      --deaths;
      frozen = false;
      windowed = std::make_unique<Windowed>(spec);
      for (const StateRows& rows : chain) {
        for (const auto& each : rows) EXPECT_TRUE(windowed->aggregate->restore(each).ok());
      }
      out.batches.resize(kept.batches);
      at = kept.step - 1;
    }
  }
  return Of(out.batches);
}

TEST(WindowAggregate, IsRestoredFromWhatWasSavedBesideTheFlow) {
  for (unsigned seed = 0; seed < 40; ++seed) {
    for (const json& window : {kTumbling, kHopping, kCumulating}) {
      std::mt19937_64 random(seed);
      const std::vector<Step> steps = DrawSteps(&random);
      Windowed straight(Spec(window));
      Collect out;
      for (const Step& step : steps) {
        if (!step.rows.empty()) straight.give(step.rows);
        ASSERT_TRUE(straight.aggregate->advance(0, step.watermark, out).ok());
      }
      ASSERT_EQ(SavedBesideTheFlow(Spec(window), steps, &random), Of(out.batches)) << seed << window;
    }
  }
}

TEST(WindowAggregate, GoesOnWhereAFullOutputStoppedIt) {
  Windowed windowed(Spec(kTumbling));
  std::vector<Row> rows;
  for (int64_t i = 0; i < 50'000; ++i) rows.push_back({i % 20'000, (i % 3) * 10, 1});
  windowed.give(rows);
  Collect out(/*slow=*/true);
  int stops = 0;
  Progress progress = windowed.aggregate->advance(0, 30, out).ValueOrDie();
  while (progress == Progress::kMore) {
    ++stops;
    EXPECT_LT(windowed.aggregate->promise(), 30);  // not before everything is out
    out.drain();
    progress = windowed.aggregate->resume(out).ValueOrDie();
  }
  EXPECT_GT(stops, 2);
  EXPECT_EQ(windowed.aggregate->promise(), 30);
  int64_t total = 0;
  for (const auto& [window, sum] : Of(out.batches)) total += sum;
  EXPECT_EQ(total, 50'000);
}

// Snapshots of changes, put together in another operator, are the state; for each kind of window and
// watermark.
TEST(WindowAggregate, IsRestoredFromChanges) {
  for (const json& window : {kTumbling, kHopping, kCumulating}) {
    Windowed first(Spec(window));
    Collect before, after, straight;
    StateRows chain;
    const auto save = [&](bool full) {
      for (auto& rows : first.aggregate->snapshot(full).ValueOrDie()) chain.push_back(std::move(rows));
    };
    first.give({{1, 3, 1}, {2, 4, 2}});
    save(true);
    first.give({{1, 5, 4}, {1, 12, 8}});
    EXPECT_TRUE(first.aggregate->advance(0, 11, before).ok());
    save(false);
    first.give({{3, 15, 16}});
    EXPECT_TRUE(first.aggregate->advance(0, 12, before).ok());
    save(false);
    EXPECT_TRUE(first.aggregate->snapshot(false).ValueOrDie().empty());  // nothing has changed since

    Windowed second(Spec(window));
    for (const auto& rows : chain) EXPECT_TRUE(second.aggregate->restore(rows).ok());
    for (Windowed* each : {&first, &second}) {
      each->give({{1, 16, 32}, {4, 21, 64}});
      EXPECT_TRUE(each->aggregate->advance(0, kWatermarkMax, each == &first ? straight : after).ok());
    }
    EXPECT_EQ(Of(after.batches), Of(straight.batches)) << window;
    EXPECT_FALSE(after.batches.empty());
    EXPECT_EQ(Of(before.batches).count({1, 10}), 1u);
    EXPECT_EQ(Of(after.batches).count({1, 10}), 0u);  // given before the checkpoint, and not again
  }
}

TEST(WindowAggregate, RefusesStateOfOtherColumns) {
  Windowed windowed(Spec(kTumbling));
  const Status status = windowed.aggregate->restore(Rows({{1, 2, 3}}).columns);
  EXPECT_EQ(KindOf(status), ErrorKind::kState);
}

// State is refused where going on with it would end in the wrong place, or in none.
TEST(WindowAggregate, RefusesPanesThatNoRowsMade) {
  const auto saved = [](const json& window) {
    Windowed windowed(Spec(window));
    windowed.give({{7, 33, 1}});
    const StateRows all = windowed.aggregate->snapshot(true).ValueOrDie();
    return *std::find_if(all.begin(), all.end(),
                         [](const auto& rows) { return rows->column(4)->IsValid(0); });
  };
  const auto restored = [&](const json& window, int column, int64_t value) {
    const auto good = saved(window);
    const auto number = arrow::MakeArrayFromScalar(arrow::Int64Scalar(value), 1).ValueOrDie();
    const auto other = good->SetColumn(column, good->schema()->field(column), number).ValueOrDie();
    return KindOf(Windowed(Spec(window)).aggregate->restore(other));
  };
  const json kCumulating = {{"kind", "cumulating"}, {"size_us", 20}, {"every_us", 10}, {"offset_us", 0}};
  constexpr int kPane = 2, kFloor = 3;
  for (const json& window : {kTumbling, kHopping, kCumulating}) {
    EXPECT_TRUE(Windowed(Spec(window)).aggregate->restore(saved(window)).ok());
    for (const int64_t pane : {INT64_MIN, INT64_MAX, int64_t{31}}) {
      EXPECT_EQ(restored(window, kPane, pane), ErrorKind::kState) << pane;
    }
    for (const int64_t floor : {int64_t{0}, int64_t{45}, int64_t{60}, INT64_MAX - 1}) {
      EXPECT_EQ(restored(window, kFloor, floor), ErrorKind::kState) << window << floor;
    }
  }
  EXPECT_EQ(restored(kTumbling, kFloor, 40), ErrorKind::kState);
  EXPECT_EQ(restored(kTumbling, kFloor, INT64_MAX), ErrorKind::kState);
  EXPECT_EQ(restored(kCumulating, kFloor, INT64_MAX), ErrorKind::kState);  // 30 begins no period
  const auto good = saved(kHopping);
  const auto late = arrow::MakeArrayFromScalar(arrow::Int64Scalar(50), 1).ValueOrDie();
  const auto rows = good->SetColumn(kFloor, good->schema()->field(kFloor), late).ValueOrDie();
  EXPECT_TRUE(Windowed(Spec(kHopping)).aggregate->restore(rows).ok());
}

TEST(WindowAggregate, NamesTheGroupOfAResultThatIsTooLarge) {
  Windowed windowed(Spec(kTumbling));
  Collect out;
  windowed.give({{7, 3, INT64_MAX}, {7, 4, INT64_MAX}});
  const Status status = windowed.aggregate->advance(0, 10, out).status();
  EXPECT_EQ(NameOf(status), "DataError");
  EXPECT_NE(MessageOf(status).find("of k=7: aggregate total"), std::string::npos) << status.ToString();
}

TEST(WindowPartial, RowsLateForSomeWindowsCountInTheOthers) {
  Windowed windowed(Spec(kHopping));
  Collect late, between, none, out;
  windowed.partial->set_aside(&late);
  Batch rows = Rows({{1, 3, 1}, {1, 3, 10}, {1, 3, 100}});
  arrow::Int64Builder marks;
  EXPECT_TRUE(marks.AppendNull().ok() && marks.Append(15).ok() && marks.Append(20).ok());
  SetMark(&rows, kRowWatermarkMark, marks.Finish().ValueOrDie());
  EXPECT_TRUE(windowed.partial->process(rows, between).ok());
  for (Batch& batch : between.batches) EXPECT_TRUE(windowed.aggregate->process(std::move(batch), none).ok());
  EXPECT_TRUE(windowed.aggregate->advance(0, kWatermarkMax, out).ok());
  EXPECT_EQ(Of(out.batches), (Results{{{1, 10}, 1}, {{1, 20}, 11}}));
  EXPECT_EQ(windowed.partial->late_rows(), 3);  // the second for one window, the third for both
  ASSERT_EQ(late.batches.size(), 1u);
  EXPECT_EQ(late.batches[0].rows(), 3);
  EXPECT_TRUE(late.batches[0].columns->schema()->Equals(*LateSchema(*kInput)));
}

}  // namespace
}  // namespace frazil
