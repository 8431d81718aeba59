// IntervalJoin against all pairs of rows: any order of arrival, any number of workers, crashes anywhere.
#include "operator/join/interval_join.h"

#include <arrow/api.h>
#include <arrow/compute/api.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <random>
#include <string>
#include <tuple>

#include "base/schema_text.h"
#include "state/key.h"

namespace frazil {
namespace {

const auto kTime = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
const auto kInput = arrow::schema({arrow::field("key", arrow::int64()), arrow::field("at", kTime, false),
                                   arrow::field("id", arrow::int64())});

struct Row {
  std::optional<int64_t> key;
  Timestamp at = 0;
  int64_t id = 0;
};
// Ids of a left and a right row; -1 where there is none.
using Pair = std::pair<int64_t, int64_t>;

struct Given {
  Pair pair;
  Timestamp time = 0;
};

struct Case {
  std::string how = "inner";
  int64_t before = 0, after = 0;
};

nlohmann::json Spec(const Case& of) {
  const nlohmann::json side = {{"keys", {"key"}}, {"time", {{"column", "at"}, {"minus_us", 0}}}};
  auto columns = nlohmann::json::parse(R"([["left","id"],["right","id"],["either",0],["time",0]])");
  if (of.how == "right") columns[3] = {"right", "at"};
  arrow::FieldVector fields = {arrow::field("l", arrow::int64()), arrow::field("r", arrow::int64()),
                               arrow::field("key", arrow::int64()), arrow::field("time", kTime, false)};
  const std::string schema = SchemaText(*arrow::schema(fields)).ValueOrDie();
  return {{"left", side},         {"right", side},      {"how", of.how},   {"before_us", of.before},
          {"after_us", of.after}, {"columns", columns}, {"schema", schema}};
}

std::unique_ptr<IntervalJoin> Make(const Case& of) {
  auto made = IntervalJoin::Make(Spec(of), {kInput, kInput}, {});
  EXPECT_TRUE(made.ok()) << made.status();
  return std::move(*made);
}

Batch Rows(const std::vector<Row>& rows) {
  arrow::Int64Builder keys, ids;
  arrow::TimestampBuilder times(kTime, arrow::default_memory_pool());
  for (const Row& row : rows) {
    EXPECT_TRUE((row.key ? keys.Append(*row.key) : keys.AppendNull()).ok());
    EXPECT_TRUE(times.Append(row.at).ok());
    EXPECT_TRUE(ids.Append(row.id).ok());
  }
  return {arrow::RecordBatch::Make(
              kInput, static_cast<int64_t>(rows.size()),
              {keys.Finish().ValueOrDie(), times.Finish().ValueOrDie(), ids.Finish().ValueOrDie()}),
          {},
          nullptr};
}

// Takes rows, and is full at random.
class Collect : public Output {
 public:
  explicit Collect(std::mt19937* random = nullptr) : random_(random) {}
  Status push(Batch batch) override {
    largest = std::max(largest, batch.rows());
    const auto ids = [&](int column, int64_t row) {
      const auto& array = static_cast<const arrow::Int64Array&>(*batch.columns->column(column));
      return array.IsNull(row) ? -1 : array.Value(row);
    };
    const auto& times = static_cast<const arrow::TimestampArray&>(*batch.columns->column(3));
    for (int64_t i = 0; i < batch.rows(); ++i) given.push_back({{ids(0, i), ids(1, i)}, times.Value(i)});
    return batch.columns->Validate();
  }
  bool full() const override { return random_ != nullptr && (*random_)() % 3 == 0; }
  std::vector<Given> given;
  int64_t largest = 0;

 private:
  std::mt19937* random_;
};

void Finish(IntervalJoin& join, Result<Progress> progress, Collect& out) {
  ASSERT_TRUE(progress.ok()) << progress.status();
  while (*progress == Progress::kMore) {
    progress = join.resume(out);
    ASSERT_TRUE(progress.ok()) << progress.status();
  }
}

bool Match(const Case& of, const Row& left, const Row& right) {
  return left.key && right.key && *left.key == *right.key && right.at >= left.at - of.before &&
         right.at <= left.at + of.after;
}

// What the definition says.
std::vector<Pair> Expected(const Case& of, const std::vector<Row>& lefts, const std::vector<Row>& rights) {
  std::vector<Pair> pairs;
  const bool pairing = of.how != "semi" && of.how != "anti";
  for (const Row& left : lefts) {
    bool matched = false;
    for (const Row& right : rights) {
      if (!Match(of, left, right)) continue;
      matched = true;
      if (pairing) pairs.push_back({left.id, right.id});
    }
    const bool alone = of.how == "left" || of.how == "full" || of.how == "anti";
    if ((matched && of.how == "semi") || (!matched && alone)) pairs.push_back({left.id, -1});
  }
  for (const Row& right : rights) {
    const bool matched =
        std::any_of(lefts.begin(), lefts.end(), [&](const Row& left) { return Match(of, left, right); });
    if (!matched && (of.how == "right" || of.how == "full")) pairs.push_back({-1, right.id});
  }
  std::sort(pairs.begin(), pairs.end());
  return pairs;
}

std::vector<Pair> Sorted(const std::vector<Given>& given) {
  std::vector<Pair> pairs;
  for (const Given& each : given) pairs.push_back(each.pair);
  std::sort(pairs.begin(), pairs.end());
  return pairs;
}

// Something that reaches a join: rows of a side, or its watermark.
struct Event {
  int side = 0;
  std::vector<Row> rows;
  Timestamp watermark = kWatermarkMin;
};

// Two inputs whose times rise by and by, none behind its watermark, in a drawn interleaving.
struct Input {
  std::vector<Row> rows[2];
  std::vector<Event> events;
};

Input Draw(std::mt19937& random, int keys, int rows, int disorder) {
  std::vector<Event> sides[2];
  Input input;
  for (int side = 0; side < 2; ++side) {
    Timestamp now = static_cast<Timestamp>(random() % 50), watermark = kWatermarkMin;
    while (static_cast<int>(input.rows[side].size()) < rows) {
      Event event{side, {}, kWatermarkMin};
      for (unsigned n = random() % 4; n-- > 0;) {
        Row row{static_cast<int64_t>(random() % static_cast<unsigned>(keys)),
                now - static_cast<Timestamp>(random() % static_cast<unsigned>(disorder + 1)),
                static_cast<int64_t>(input.rows[side].size())};
        if (random() % 12 == 0) row.key.reset();
        now += static_cast<Timestamp>(random() % 4);
        if (row.at < watermark) continue;  // the gate has refused it
        event.rows.push_back(row);
        input.rows[side].push_back(row);
      }
      if (!event.rows.empty()) sides[side].push_back(event);
      if (random() % 2 == 0) {
        watermark = std::max(watermark, now - disorder);
        sides[side].push_back({side, {}, watermark});
      }
    }
    sides[side].push_back({side, {}, kWatermarkMax});
  }
  const unsigned share = 1 + random() % 9;  // of ten: how much faster one of them is read
  for (size_t left = 0, right = 0; left < sides[0].size() || right < sides[1].size();) {
    const bool take = right == sides[1].size() || (left < sides[0].size() && random() % 10 < share);
    input.events.push_back(take ? sides[0][left++] : sides[1][right++]);
  }
  return input;
}

// Workers that a join is spread over, with what their checkpoint has.
class Workers {
 public:
  Workers(Case of, std::mt19937* random) : of_(std::move(of)), random_(random) { start(1 + (*random)() % 3); }

  void start(unsigned count) {
    joins_.clear();
    for (unsigned worker = 0; worker < count; ++worker) {
      joins_.push_back(Make(of_));
      for (const auto& batch : files_) {
        ASSERT_TRUE(joins_.back()->restore(rows_of(batch, worker, count)).ok());
      }
    }
    out_.given = kept_;
    whole_ = true;
    std::copy_n(kept_watermarks_, 2, watermarks_);
    for (int side = 0; side < 2; ++side)
      take({side, {}, kept_watermarks_[side]});  // it follows from frontiers
  }

  void take(const Event& event) {
    watermarks_[event.side] = std::max(watermarks_[event.side], event.watermark);
    for (size_t worker = 0; worker < joins_.size(); ++worker) {
      IntervalJoin& join = *joins_[worker];
      if (event.rows.empty()) {
        const Timestamp before = join.promise();
        Finish(join, join.advance(event.side, event.watermark, out_), out_);
        EXPECT_GE(join.promise(), before);
        continue;
      }
      std::vector<Row> mine;
      for (const Row& row : event.rows) {
        arrow::Int64Builder key;
        ASSERT_TRUE((row.key ? key.Append(*row.key) : key.AppendNull()).ok());
        const auto hash = HashKeys({key.Finish().ValueOrDie()}, 1).ValueOrDie().front();
        if (WorkerOf(GroupOf(hash), static_cast<int>(joins_.size())) == static_cast<int>(worker)) {
          mine.push_back(row);
        }
      }
      if (mine.empty()) continue;
      const Timestamp promise = join.promise();
      const size_t before = out_.given.size();
      Finish(join, join.process(event.side, Rows(mine), out_), out_);
      for (size_t i = before; i < out_.given.size(); ++i) EXPECT_GE(out_.given[i].time, promise);
    }
  }

  void checkpoint() {
    if (whole_) files_.clear();
    for (const auto& join : joins_) {
      auto rows = join->snapshot(whole_);
      ASSERT_TRUE(rows.ok()) << rows.status();
      for (const auto& batch : *rows) ASSERT_TRUE(batch->ValidateFull().ok());
      files_.insert(files_.end(), rows->begin(), rows->end());
    }
    whole_ = false;
    kept_ = out_.given;
    std::copy_n(watermarks_, 2, kept_watermarks_);
  }

  const std::vector<Given>& given() const { return out_.given; }

 private:
  // The rows of a state file that a worker gets.
  static std::shared_ptr<arrow::RecordBatch> rows_of(const std::shared_ptr<arrow::RecordBatch>& batch,
                                                     unsigned worker, unsigned count) {
    const auto& hashes = static_cast<const arrow::UInt64Array&>(*batch->column(0));
    arrow::BooleanBuilder mine;
    for (int64_t i = 0; i < batch->num_rows(); ++i) {
      const bool everybody = hashes.IsNull(i);
      EXPECT_TRUE(mine.Append(everybody || WorkerOf(GroupOf(hashes.Value(i)), static_cast<int>(count)) ==
                                               static_cast<int>(worker))
                      .ok());
    }
    return arrow::compute::Filter(batch, mine.Finish().ValueOrDie()).ValueOrDie().record_batch();
  }

  const Case of_;
  std::mt19937* const random_;
  std::vector<std::unique_ptr<IntervalJoin>> joins_;
  std::vector<std::shared_ptr<arrow::RecordBatch>> files_;
  std::vector<Given> kept_;  // given before the checkpoint
  Timestamp watermarks_[2] = {kWatermarkMin, kWatermarkMin};
  Timestamp kept_watermarks_[2] = {kWatermarkMin, kWatermarkMin};
  Collect out_{random_};
  bool whole_ = true;
};

class IntervalJoinTest : public testing::TestWithParam<std::string> {};

TEST_P(IntervalJoinTest, IsAllPairsInAnyOrderAndOverCrashes) {
  for (unsigned seed = 0; seed < 50; ++seed) {
    std::mt19937 random(seed);
    const Case of{GetParam(), static_cast<int64_t>(random() % 8), static_cast<int64_t>(random() % 8)};
    const Input input = Draw(random, 1 + static_cast<int>(random() % 4), 40, static_cast<int>(random() % 12));
    Workers workers(of, &random);
    size_t kept = 0;
    int crashes = 3;
    for (size_t next = 0; next < input.events.size(); ++next) {
      workers.take(input.events[next]);
      if (random() % 5 == 0) {
        workers.checkpoint();
        kept = next + 1;
      }
      if (crashes > 0 && random() % 20 == 0) {
        --crashes;
        workers.start(1 + random() % 4);
        next = kept - 1;  // wraps around to nothing
      }
    }
    ASSERT_EQ(Sorted(workers.given()), Expected(of, input.rows[0], input.rows[1])) << seed;
  }
}

TEST_P(IntervalJoinTest, KeepsNothingWhenAllIsOver) {
  std::mt19937 random(7);
  const Case of{GetParam(), 5, 3};
  const auto join = Make(of);
  Collect out;
  for (const Event& event : Draw(random, 3, 500, 10).events) {
    Finish(*join,
           event.rows.empty() ? join->advance(event.side, event.watermark, out)
                              : join->process(event.side, Rows(event.rows), out),
           out);
  }
  EXPECT_LT(join->state_bytes(), 16 << 10);
  EXPECT_EQ(join->promise(), kWatermarkMax);
}

INSTANTIATE_TEST_SUITE_P(Hows, IntervalJoinTest,
                         testing::Values("inner", "left", "right", "full", "semi", "anti"),
                         [](const auto& info) { return info.param; });

TEST(IntervalJoinBoundsTest, AreClosedAndOnTheRightSide) {
  const auto join = Make({"inner", 5, 3});
  Collect out;
  Finish(*join, join->process(0, Rows({{1, 100, 0}}), out), out);
  std::vector<Row> rights;
  for (Timestamp at = 90; at < 110; ++at) rights.push_back({1, at, at});
  Finish(*join, join->process(1, Rows(rights), out), out);
  std::vector<Pair> expected;
  for (int64_t at = 95; at <= 103; ++at) expected.push_back({0, at});
  EXPECT_EQ(Sorted(out.given), expected);
}

TEST(IntervalJoinBoundsTest, UnmatchedComesWhenNoMatchCan) {
  const auto join = Make({"left", 5, 3});
  Collect out;
  Finish(*join, join->process(0, Rows({{1, 100, 0}}), out), out);
  Finish(*join, join->advance(0, 500, out), out);
  Finish(*join, join->advance(1, 103, out), out);  // a right row at 103 may still come
  EXPECT_TRUE(out.given.empty());
  EXPECT_EQ(join->promise(), 100);
  Finish(*join, join->advance(1, 104, out), out);
  EXPECT_EQ(Sorted(out.given), (std::vector<Pair>{{0, -1}}));
  EXPECT_EQ(out.given.front().time, 100);
  EXPECT_EQ(join->promise(), 101);
}

// A key with many rows, of which each has few matches; and one batch whose rows match everything.
TEST(IntervalJoinBoundsTest, OneKeyWithManyRows) {
  const auto join = Make({"left", 2, 2});
  Collect out;
  constexpr int64_t kRows = 100'000;
  for (int side = 0; side < 2; ++side) {
    for (int64_t from = 0; from < kRows; from += 10'000) {
      std::vector<Row> rows;
      for (int64_t i = 0; i < 10'000; ++i) rows.push_back({7, (from + i) * 10, from + i});
      Finish(*join, join->process(side, Rows(rows), out), out);
    }
  }
  EXPECT_EQ(out.given.size(), static_cast<size_t>(kRows));
  const auto product = Make({"inner", 10'000, 10'000});
  Collect all;
  for (int side = 0; side < 2; ++side) {
    std::vector<Row> rows;
    for (int64_t i = 0; i < 1'000; ++i) rows.push_back({7, i, i});
    Finish(*product, product->process(side, Rows(rows), all), all);
  }
  EXPECT_EQ(all.given.size(), 1'000'000u);
  EXPECT_LE(all.largest, 16 * 1024);
}

TEST(IntervalJoinBoundsTest, ARowBehindTheWatermarkIsADefect) {
  const auto join = Make({"inner", 5, 3});
  Collect out;
  Finish(*join, join->advance(1, 100, out), out);
  const auto progress = join->process(1, Rows({{1, 99, 0}}), out);
  EXPECT_FALSE(progress.ok());
  EXPECT_NE(progress.status().message().find("behind the watermark"), std::string::npos);
}

TEST(IntervalJoinBoundsTest, RefusesDamagedState) {
  const auto join = Make({"left", 5, 3});
  Collect out;
  Finish(*join, join->process(0, Rows({{1, 100, 0}}), out), out);
  const auto rows = join->snapshot(true).ValueOrDie();
  ASSERT_EQ(rows.size(), 2u);
  auto columns = rows[0]->columns();
  columns[1] = arrow::MakeArrayFromScalar(arrow::Int8Scalar(5), 1).ValueOrDie();
  const auto other = Make({"left", 5, 3});
  const auto refused = other->restore(arrow::RecordBatch::Make(rows[0]->schema(), 1, columns));
  EXPECT_NE(refused.message().find("unknown kind"), std::string::npos);
  std::swap(columns[4], columns[5]);
  columns[1] = rows[0]->column(1);
  EXPECT_FALSE(other->restore(arrow::RecordBatch::Make(rows[0]->schema(), 1, columns)).ok());
  EXPECT_FALSE(other->restore(Rows({{1, 1, 1}}).columns).ok());
}

}  // namespace
}  // namespace frazil
