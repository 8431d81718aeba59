// Both halves of an aggregate over sessions, against a plain model.
#include <arrow/api.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>
#include <random>
#include <string>
#include <tuple>
#include <utility>

#include "operator/time/session_aggregate.h"
#include "operator/time/session_partial.h"

namespace frazil {
namespace {

const auto kTime = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
const auto kInput = arrow::schema(
    {arrow::field("key", arrow::utf8()), arrow::field("at", kTime), arrow::field("value", arrow::int64())});

struct Row {
  std::string key;
  int64_t at = 0;
  int64_t value = 0;
  int64_t position = 0;
};

// key, window_start, window_end, count, sum, values in the order of rows
using Result_ = std::tuple<std::string, int64_t, int64_t, int64_t, int64_t, std::vector<int64_t>>;

// Takes rows, and is full at random.
class Collect : public Output {
 public:
  explicit Collect(std::mt19937_64* random = nullptr) : random_(random) {}
  Status push(Batch batch) override {
    batches.push_back(std::move(batch));
    return Status::OK();
  }
  bool full() const override { return random_ != nullptr && (*random_)() % 4 == 0; }
  std::vector<Batch> take() { return std::exchange(batches, {}); }
  std::vector<Batch> batches;

 private:
  std::mt19937_64* random_;
};

struct Options {
  int64_t gap = 10;
  int64_t lateness = 0;
};

nlohmann::json Spec(const Options& options) {
  const nlohmann::json value = {{"col", "value"}};
  return {{"keys", {"key"}},
          {"time", {{"column", "at"}, {"minus_us", 0}}},
          {"window", {{"kind", "session"}, {"gap_us", options.gap}}},
          {"lateness_us", options.lateness},
          {"aggregates",
           {{{"name", "n"}, {"fn", "count"}, {"args", nlohmann::json::array()}},
            {{"name", "s"}, {"fn", "sum"}, {"args", {value}}},
            {{"name", "all"}, {"fn", "collect_list"}, {"args", {value}}}}}};
}

std::unique_ptr<SessionPartial> MakePartial(const Options& options) {
  return SessionPartial::Make(Spec(options), *kInput, {}).ValueOrDie();
}

std::unique_ptr<SessionAggregate> MakeAggregate(const Options& options,
                                                arrow::MemoryPool* pool = arrow::default_memory_pool()) {
  const auto input = PartialSchema(Spec(options), *kInput).ValueOrDie();
  return SessionAggregate::Make(Spec(options), *input, {.pool = pool}).ValueOrDie();
}

// Rows of a partition with the watermark of those that are behind theirs.
Batch Rows(const std::vector<Row>& rows, const std::vector<int64_t>& watermarks = {}, int partition = 0) {
  arrow::StringBuilder keys;
  arrow::Int64Builder times, values, positions, marks;
  bool late = false;
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_TRUE(keys.Append(rows[i].key).ok());
    EXPECT_TRUE(times.Append(rows[i].at).ok());
    EXPECT_TRUE(values.Append(rows[i].value).ok());
    EXPECT_TRUE(positions.Append(rows[i].position).ok());
    const bool behind = i < watermarks.size() && rows[i].at < watermarks[i];
    EXPECT_TRUE((behind ? marks.Append(watermarks[i]) : marks.AppendNull()).ok());
    late = late || behind;
  }
  Batch batch{arrow::RecordBatch::Make(
                  kInput, static_cast<int64_t>(rows.size()),
                  {keys.Finish().ValueOrDie(), times.Finish().ValueOrDie()->View(kTime).ValueOrDie(),
                   values.Finish().ValueOrDie()}),
              Origin{.partition = partition, .source = 0}, nullptr};
  SetMark(&batch, kPositionMark, positions.Finish().ValueOrDie());
  if (late) SetMark(&batch, kRowWatermarkMark, marks.Finish().ValueOrDie());
  return batch;
}

const arrow::Int64Array& Ints(const Batch& batch, const std::string& name) {
  return static_cast<const arrow::Int64Array&>(*batch.columns->GetColumnByName(name));
}

std::vector<Result_> Results(const std::vector<Batch>& batches) {
  std::vector<Result_> results;
  for (const Batch& batch : batches) {
    EXPECT_TRUE(batch.columns->ValidateFull().ok());
    const auto& keys = static_cast<const arrow::StringArray&>(*batch.columns->GetColumnByName("key"));
    const auto& lists = static_cast<const arrow::ListArray&>(*batch.columns->GetColumnByName("all"));
    for (int64_t i = 0; i < batch.rows(); ++i) {
      const auto values = lists.value_slice(i);
      const auto& typed = static_cast<const arrow::Int64Array&>(*values);
      std::vector<int64_t> list(typed.raw_values(), typed.raw_values() + typed.length());
      results.emplace_back(keys.GetString(i), Ints(batch, "window_start").Value(i),
                           Ints(batch, "window_end").Value(i), Ints(batch, "n").Value(i),
                           Ints(batch, "s").Value(i), std::move(list));
    }
  }
  return results;
}

Status Give(Operator& from, Batch batch, SessionAggregate& to) {
  Collect partials;
  FZ_TRY(from.process(std::move(batch), partials));
  for (Batch& partial : partials.batches) {
    FZ_ASSIGN(const Progress progress, to.process(std::move(partial), partials));
    EXPECT_EQ(progress, Progress::kDone);
  }
  return Status::OK();
}

void Advance(SessionAggregate& to, Timestamp watermark, Collect& out) {
  auto progress = to.advance(0, watermark, out);
  while (progress.ok() && *progress == Progress::kMore) progress = to.resume(out);
  ASSERT_TRUE(progress.ok()) << progress.status();
}

std::vector<Result_> Closed(SessionAggregate& by, Timestamp watermark) {
  Collect out;
  Advance(by, watermark, out);
  auto results = Results(out.batches);
  std::sort(results.begin(), results.end());
  return results;
}

void Restore(SessionAggregate& into, const StateRows& rows) {
  for (const auto& batch : rows) {
    const Status status = into.restore(batch);
    ASSERT_TRUE(status.ok()) << status;
  }
}

TEST(Sessions, AreRowsAtMostTheGapApart) {
  const Options options;
  const auto partial = MakePartial(options);
  const auto aggregate = MakeAggregate(options);
  ASSERT_TRUE(Give(*partial, Rows({{"a", 100, 1, 0}, {"a", 110, 2, 1}, {"a", 121, 3, 2}}), *aggregate).ok());
  ASSERT_TRUE(Give(*partial, Rows({{"b", 105, 4, 3}}), *aggregate).ok());
  EXPECT_EQ(Closed(*aggregate, 115), (std::vector<Result_>{}));  // b's ends at 115: a row there belongs to it
  EXPECT_EQ(Closed(*aggregate, 116), (std::vector<Result_>{{"b", 105, 115, 1, 4, {4}}}));
  EXPECT_EQ(aggregate->promise(), 116);
  EXPECT_EQ(Closed(*aggregate, 120), (std::vector<Result_>{}));
  EXPECT_EQ(Closed(*aggregate, 121), (std::vector<Result_>{{"a", 100, 120, 2, 3, {1, 2}}}));
  EXPECT_EQ(Closed(*aggregate, kWatermarkMax), (std::vector<Result_>{{"a", 121, 131, 1, 3, {3}}}));
  EXPECT_EQ(aggregate->promise(), kWatermarkMax);
}

TEST(Sessions, ARowBetweenTwoMakesThemOne) {
  const Options options;
  const auto partial = MakePartial(options);
  const auto aggregate = MakeAggregate(options);
  for (const int64_t at : {100, 140, 180, 160, 120}) {
    ASSERT_TRUE(Give(*partial, Rows({{"a", at, at, at}}), *aggregate).ok());
  }
  // 130 belongs to that at 120 and that at 140, and 150 to 160 as well; one batch.
  ASSERT_TRUE(Give(*partial, Rows({{"a", 150, 150, 150}, {"a", 130, 130, 130}}), *aggregate).ok());
  EXPECT_EQ(Closed(*aggregate, 1000),
            (std::vector<Result_>{{"a", 100, 110, 1, 100, {100}},
                                  {"a", 120, 170, 5, 700, {120, 130, 140, 150, 160}},
                                  {"a", 180, 190, 1, 180, {180}}}));
}

TEST(Sessions, ALateRowIsOneBehindItsWatermark) {
  const Options options{.gap = 10, .lateness = 5};
  const auto partial = MakePartial(options);
  Collect rows, late;
  partial->set_aside(&late);
  const Batch batch = Rows({{"a", 94, 1, 7}, {"a", 95, 2, 8}, {"a", 100, 3, 9}}, {100, 100, 100});
  ASSERT_TRUE(partial->process(batch, rows).ok());
  EXPECT_EQ(partial->late_rows(), 1);
  ASSERT_EQ(late.batches.size(), 1u);
  const auto& columns = *late.batches[0].columns;
  ASSERT_EQ(columns.num_rows(), 1);
  EXPECT_TRUE(columns.schema()->Equals(*LateSchema(*kInput)));
  EXPECT_EQ(Ints(late.batches[0], "at").Value(0), 94);
  EXPECT_EQ(Ints(late.batches[0], "watermark").Value(0), 100);
  EXPECT_EQ(Ints(late.batches[0], "position").Value(0), 7);
  EXPECT_TRUE(columns.GetColumnByName("window_start")->IsNull(0));
  EXPECT_TRUE(columns.GetColumnByName("window_end")->IsNull(0));
  ASSERT_EQ(rows.batches.size(), 1u);
  EXPECT_EQ(Ints(rows.batches[0], "first").Value(0), 95);
  EXPECT_EQ(Ints(rows.batches[0], "last").Value(0), 100);
}

TEST(Sessions, ARowForWhatWasEmittedIsAnError) {
  const Options options;
  const auto partial = MakePartial(options);
  const auto aggregate = MakeAggregate(options);
  EXPECT_EQ(Closed(*aggregate, 100), (std::vector<Result_>{}));
  EXPECT_TRUE(Give(*partial, Rows({{"a", 100, 1, 0}}), *aggregate).ok());
  const Status status = Give(*partial, Rows({{"a", 99, 1, 0}}), *aggregate);
  EXPECT_EQ(KindOf(status), ErrorKind::kInternal);
  EXPECT_NE(status.message().find("emitted up to 1970-01-01T00:00:00.000100Z"), std::string::npos) << status;
}

TEST(Sessions, AnErrorOfAResultNamesSessionAndKey) {
  const Options options;
  const auto partial = MakePartial(options);
  const auto aggregate = MakeAggregate(options);
  const int64_t most = std::numeric_limits<int64_t>::max();
  const std::vector<Row> rows = {{"b", 100, 1, 0}, {"a", 100, most, 1}, {"a", 105, most, 2}};
  ASSERT_TRUE(Give(*partial, Rows(rows), *aggregate).ok());
  Collect out;
  const Status status = aggregate->advance(0, 200, out).status();
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.message().find("window 1970-01-01T00:00:00.000100Z of key=a: aggregate s"),
            std::string::npos)
      << status;
}

TEST(Sessions, TheEndsOfTimeAreTimes) {
  const Options options{.gap = 1000};
  const auto partial = MakePartial(options);
  const auto aggregate = MakeAggregate(options);
  const int64_t least = kWatermarkMin, most = kWatermarkMax;
  ASSERT_TRUE(
      Give(*partial, Rows({{"a", most, 1, 0}, {"a", least, 2, 1}, {"a", most - 999, 3, 2}}), *aggregate)
          .ok());
  ASSERT_TRUE(Give(*partial, Rows({{"a", most - 5, 4, 3}, {"a", least, 5, 4}}), *aggregate).ok());
  const auto closed = Closed(*aggregate, kWatermarkMax);
  ASSERT_EQ(closed.size(), 2u);
  EXPECT_EQ(std::get<4>(closed[0]), 7);
  EXPECT_EQ(closed[1], (Result_{"a", most - 999, most, 3, 8, {3, 4, 1}}));
}

TEST(Sessions, ManyOfOneKeyAreEmittedInSlices) {
  const Options options;
  const auto partial = MakePartial(options);
  const auto aggregate = MakeAggregate(options);
  constexpr int64_t kCount = 40'000;
  std::vector<Row> rows;
  for (int64_t i = 0; i < kCount; ++i) rows.push_back({"a", (kCount - i) * 20, 1, i});
  rows.push_back({"b", 0, 1, kCount});
  for (size_t from = 0; from < rows.size(); from += 1000) {
    const auto begin = rows.begin() + static_cast<std::ptrdiff_t>(from);
    const auto count = static_cast<std::ptrdiff_t>(std::min<size_t>(1000, rows.size() - from));
    ASSERT_TRUE(Give(*partial, Rows({begin, begin + count}), *aggregate).ok());
  }
  Collect out;
  Advance(*aggregate, kWatermarkMax, out);
  EXPECT_EQ(Results(out.batches).size(), static_cast<size_t>(kCount + 1));
  EXPECT_EQ(out.batches.size(), 3u);
  // Nothing is left to be saved but how far it is.
  const StateRows rows_left = aggregate->snapshot(true).ValueOrDie();
  ASSERT_EQ(rows_left.size(), 1u);
  EXPECT_EQ(rows_left[0]->num_rows(), 1);
}

TEST(Sessions, DamagedStateIsRefused) {
  const Options options;
  const auto partial = MakePartial(options);
  const auto aggregate = MakeAggregate(options);
  ASSERT_TRUE(Give(*partial, Rows({{"a", 100, 1, 0}, {"a", 200, 2, 1}}), *aggregate).ok());
  const StateRows rows = aggregate->snapshot(true).ValueOrDie();
  ASSERT_EQ(rows.size(), 2u);
  const auto& good = rows[1];  // behind how far it is
  const auto refused = [&](const std::shared_ptr<arrow::RecordBatch>& batch) {
    return KindOf(MakeAggregate(options)->restore(batch)) == ErrorKind::kState;
  };
  const auto with = [&](int column, std::vector<int64_t> values) {
    arrow::Int64Builder builder;
    EXPECT_TRUE(builder.AppendValues(values).ok());
    return good->SetColumn(column, good->schema()->field(column), builder.Finish().ValueOrDie()).ValueOrDie();
  };
  EXPECT_FALSE(refused(good));
  EXPECT_TRUE(refused(good->Slice(1)));                      // a further session without a first
  EXPECT_TRUE(refused(with(3, {300, 200})));                 // ends before it begins
  EXPECT_TRUE(refused(with(3, {100, 100})));                 // overlaps the other one
  EXPECT_TRUE(refused(good->RemoveColumn(4).ValueOrDie()));  // another schema
  const auto null = arrow::MakeArrayOfNull(arrow::binary(), 2).ValueOrDie();
  EXPECT_TRUE(refused(good->SetColumn(2, good->schema()->field(2), null).ValueOrDie()));
}

// What the rules say of the rows of all partitions.
struct Model {
  std::vector<std::vector<Row>> partitions;
  std::vector<std::vector<int64_t>> watermarks;  // of each row
  std::vector<Result_> sessions;
  int64_t late = 0;
};

Model MakeModel(std::mt19937_64& random, const Options& options, int64_t out_of_order) {
  Model model;
  std::map<std::string, std::vector<std::tuple<int64_t, int64_t>>> accepted;
  const size_t partitions = 1 + random() % 3;
  for (size_t p = 0; p < partitions; ++p) {
    auto& rows = model.partitions.emplace_back();
    auto& watermarks = model.watermarks.emplace_back();
    int64_t frontier = kWatermarkMin;
    int64_t now = static_cast<int64_t>(random() % 100);
    const size_t count = random() % 120;
    for (size_t i = 0; i < count; ++i) {
      now += static_cast<int64_t>(random() % (random() % 8 == 0 ? 60 : 6));
      const int64_t at = now - static_cast<int64_t>(random() % (random() % 4 == 0 ? 50 : 8));
      // Positions tell all rows apart, so that lists have one order.
      const int64_t position = static_cast<int64_t>(i * 4 + p);
      rows.push_back(
          {std::string(1, static_cast<char>('a' + random() % 4)), at, position * 7 % 101, position});
      watermarks.push_back(Earlier(frontier, out_of_order));
      frontier = std::max(frontier, at);
      if (at < Earlier(watermarks.back(), options.lateness)) {
        ++model.late;
      } else {
        accepted[rows.back().key].emplace_back(at, rows.back().value);
      }
    }
  }
  for (auto& [key, rows] : accepted) {
    std::sort(rows.begin(), rows.end());
    Result_* open = nullptr;
    for (const auto& [at, value] : rows) {
      if (open == nullptr || at > std::get<2>(*open)) {
        open = &model.sessions.emplace_back(key, at, at, 0, 0, std::vector<int64_t>());
      }
      std::get<2>(*open) = at + options.gap;
      ++std::get<3>(*open);
      std::get<4>(*open) += value;
      std::get<5>(*open).push_back(value);
    }
  }
  return model;
}

// Values of one time may come in the order of their partitions' hashes.
std::vector<Result_> Sorted(std::vector<Result_> results) {
  for (Result_& each : results) std::sort(std::get<5>(each).begin(), std::get<5>(each).end());
  std::sort(results.begin(), results.end());
  return results;
}

struct Trial {
  Trial(std::mt19937_64& random, const Options& options, int64_t out_of_order)
      : random_(random),
        options_(options),
        out_of_order_(out_of_order),
        model_(MakeModel(random, options, out_of_order)),
        aggregate_(MakeAggregate(options, &pool_)),
        at_(model_.partitions.size(), 0) {
    late_.resize(model_.partitions.size(), 0);
    kept_ = at_;
  }

  Timestamp watermark() const {
    Timestamp least = kWatermarkMax;
    for (size_t p = 0; p < at_.size(); ++p) {
      Timestamp frontier = kWatermarkMin;
      for (size_t i = 0; i < at_[p]; ++i) frontier = std::max(frontier, model_.partitions[p][i].at);
      least = std::min(least, Earlier(frontier, out_of_order_));
    }
    return least;
  }

  bool done() const {
    for (size_t p = 0; p < at_.size(); ++p) {
      if (at_[p] < model_.partitions[p].size()) return false;
    }
    return true;
  }

  void give() {
    const size_t p = random_() % at_.size();
    const auto& rows = model_.partitions[p];
    const size_t count = std::min(rows.size() - at_[p], 1 + random_() % (random_() % 2 == 0 ? 3 : 40));
    if (count == 0) return;
    const auto from = static_cast<std::ptrdiff_t>(at_[p]), to = from + static_cast<std::ptrdiff_t>(count);
    const auto partial = MakePartial(options_);
    const Status status = Give(
        *partial,
        Rows({rows.begin() + from, rows.begin() + to},
             {model_.watermarks[p].begin() + from, model_.watermarks[p].begin() + to}, static_cast<int>(p)),
        *aggregate_);
    ASSERT_TRUE(status.ok()) << status;
    late_[p] += partial->late_rows();
    at_[p] += count;
  }

  // All that has to be there by now is, and nothing else.
  void advance(Timestamp to) {
    Collect out(&random_);
    const Timestamp promised = aggregate_->promise();
    Advance(*aggregate_, to, out);
    for (Result_& result : Results(out.batches)) {
      EXPECT_GE(std::get<2>(result), promised);
      emitted_.push_back(std::move(result));
    }
    const Timestamp due = Earlier(to, options_.lateness);
    EXPECT_EQ(aggregate_->promise(), std::max(promised, due));
    std::vector<Result_> wanted;
    for (const Result_& session : model_.sessions) {
      if (std::get<2>(session) < due || due == kWatermarkMax) wanted.push_back(session);
    }
    ASSERT_EQ(Sorted(emitted_), Sorted(wanted));
  }

  void checkpoint() {
    if (saving_) return;
    saving_ = true;
    next_ = {chain_.empty() || random_() % 4 == 0, at_, late_, emitted_, {}};
    const Status status = aggregate_->freeze(next_.full);
    ASSERT_TRUE(status.ok()) << status;
  }

  // Some more of what is saved for a checkpoint; it counts when it is whole.
  void save() {
    if (!saving_) return;
    const auto done = aggregate_->save(static_cast<int64_t>(random_() % 4), &next_.rows);
    ASSERT_TRUE(done.ok()) << done.status();
    if (!*done) return;
    saving_ = false;
    if (next_.full) chain_.clear();
    chain_.push_back(std::move(next_.rows));
    kept_ = next_.at;
    kept_late_ = next_.late;
    kept_emitted_ = next_.emitted;
    next_ = {};
  }

  // Begins again with the last checkpoint, or with nothing.
  void crash() {
    saving_ = false;
    next_ = {};
    aggregate_ = MakeAggregate(options_, &pool_);
    for (const StateRows& rows : chain_) Restore(*aggregate_, rows);
    at_ = kept_;
    late_ = kept_late_.empty() ? std::vector<int64_t>(late_.size(), 0) : kept_late_;
    emitted_ = kept_emitted_;
  }

  void run() {
    while (!done() && !testing::Test::HasFatalFailure()) {
      save();
      switch (random_() % 8) {
        case 0:
          checkpoint();
          break;
        case 1:
          if (random_() % 3 == 0) crash();
          break;
        case 2:
        case 3:
        case 4:
          advance(watermark());
          break;
        default:
          give();
      }
    }
    advance(kWatermarkMax);
    EXPECT_EQ(std::accumulate(late_.begin(), late_.end(), int64_t{0}), model_.late);
    aggregate_.reset();
    chain_.clear();
    next_ = {};
    EXPECT_EQ(pool_.bytes_allocated(), 0);
  }

  std::mt19937_64& random_;
  const Options options_;
  const int64_t out_of_order_;
  arrow::ProxyMemoryPool pool_{arrow::default_memory_pool()};
  const Model model_;
  std::unique_ptr<SessionAggregate> aggregate_;
  std::vector<size_t> at_, kept_;  // by partition
  std::vector<int64_t> late_, kept_late_;
  std::vector<Result_> emitted_, kept_emitted_;
  std::vector<StateRows> chain_;
  struct Cut {
    bool full = false;
    std::vector<size_t> at;
    std::vector<int64_t> late;
    std::vector<Result_> emitted;
    StateRows rows;
  };
  Cut next_;
  bool saving_ = false;
};

TEST(Sessions, AnyOrderAndAnyCrashGiveTheSame) {
  for (uint64_t seed = 0; seed < 1500; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    const Options options{.gap = 1 + static_cast<int64_t>(random() % 20),
                          .lateness = random() % 2 == 0 ? 0 : static_cast<int64_t>(random() % 30)};
    Trial trial(random, options, static_cast<int64_t>(random() % 30));
    trial.run();
    if (testing::Test::HasFailure()) break;
  }
}

// Bytes are those of the pool, and none are left when all sessions are gone but what tables keep for new
// rows.
TEST(Sessions, StateBytesAreThoseOfThePool) {
  const Options options;
  arrow::ProxyMemoryPool pool(arrow::default_memory_pool());
  const auto partial = MakePartial(options);
  const auto aggregate = MakeAggregate(options, &pool);
  std::vector<Row> rows;
  for (int64_t i = 0; i < 5000; ++i) rows.push_back({"k" + std::to_string(i % 500), i * i % 7919 * 10, i, i});
  ASSERT_TRUE(Give(*partial, Rows(rows), *aggregate).ok());
  const int64_t heap = 5000 * 8;  // at least: the values collected
  EXPECT_GT(aggregate->state_bytes(), heap);
  EXPECT_GT(aggregate->state_bytes() - heap, pool.bytes_allocated() / 4);
  const int64_t before = aggregate->state_bytes();
  EXPECT_EQ(Closed(*aggregate, kWatermarkMax).size() > 500, true);
  EXPECT_LT(aggregate->state_bytes(), before - heap);
}

}  // namespace
}  // namespace frazil
