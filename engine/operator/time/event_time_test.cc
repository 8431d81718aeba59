#include "operator/time/event_time.h"

#include <arrow/api.h>
#include <gtest/gtest.h>

#include <optional>
#include <random>

namespace frazil {
namespace {

using Times = std::vector<std::optional<int64_t>>;

const auto kSchema = arrow::schema({arrow::field("at", arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"))});

class Collect : public Output {
 public:
  Status push(Batch batch) override {
    batches.push_back(std::move(batch));
    return Status::OK();
  }
  bool full() const override { return false; }
  std::vector<Batch> batches;
};

std::shared_ptr<arrow::Array> Ints(const Times& values) {
  arrow::Int64Builder builder;
  for (const auto& value : values) EXPECT_TRUE((value ? builder.Append(*value) : builder.AppendNull()).ok());
  return builder.Finish().ValueOrDie();
}

Batch Rows(const Times& times, int partition = 0, int64_t position = 0) {
  const auto rows = static_cast<int64_t>(times.size());
  Batch batch{
      arrow::RecordBatch::Make(kSchema, rows, {Ints(times)->View(kSchema->field(0)->type()).ValueOrDie()}),
      Origin{partition, position, position + rows}, nullptr};
  Times positions;
  for (int64_t i = 0; i < rows; ++i) positions.push_back(position + i);
  SetMark(&batch, kPositionMark, Ints(positions));
  return batch;
}

struct Timed {
  explicit Timed(const nlohmann::json& more = nlohmann::json::object()) {
    nlohmann::json spec = {{"column", "at"}, {"out_of_order_us", 10}};
    spec.update(more);
    time = EventTime::Make(spec, *kSchema, arrow::default_memory_pool(), [this](const auto& rows) {
             rejected.insert(rejected.end(), rows.begin(), rows.end());
             return Status::OK();
           }).ValueOrDie();
  }
  void give(const Batch& batch) { EXPECT_EQ(time->process(batch, out).ValueOrDie(), Progress::kDone); }
  // Row watermarks of all rows so far, as text; "-" for rows in bound.
  std::string marks() const {
    std::string text;
    for (const Batch& batch : out.batches) {
      const auto mark = MarkOf(batch, kRowWatermarkMark);
      for (int64_t i = 0; i < batch.rows(); ++i) {
        const bool none = mark == nullptr || mark->IsNull(i);
        text += (none ? "-" : std::to_string(static_cast<const arrow::Int64Array&>(*mark).Value(i))) + " ";
      }
    }
    return text;
  }

  std::unique_ptr<EventTime> time;
  Collect out;
  std::vector<RejectedRow> rejected;
};

TEST(EventTime, MarksRowsBehindTheirOwnWatermark) {
  Timed timed;
  timed.time->add_partition(0, "p", kWatermarkMin);
  timed.give(Rows({100, 90, 89, 120, 110, 109}));
  EXPECT_EQ(timed.marks(), "- - 90 - - 110 ");
  EXPECT_EQ(timed.time->promise(), 110);
}

TEST(EventTime, IsTheSameHoweverRowsAreSplit) {
  std::mt19937 random(7);
  Times times;
  for (int i = 0; i < 500; ++i) times.push_back(i + static_cast<int>(random() % 40));
  Timed whole;
  whole.time->add_partition(0, "p", kWatermarkMin);
  whole.give(Rows(times));
  Timed split;
  split.time->add_partition(0, "p", kWatermarkMin);
  for (size_t from = 0; from < times.size();) {
    const size_t to = std::min(times.size(), from + 1 + random() % 9);
    split.give(Rows({times.begin() + static_cast<int64_t>(from), times.begin() + static_cast<int64_t>(to)}, 0,
                    static_cast<int64_t>(from)));
    from = to;
  }
  EXPECT_EQ(split.marks(), whole.marks());
  EXPECT_NE(whole.marks().find_first_of("0123456789"), std::string::npos);
  EXPECT_EQ(split.time->frontiers(), whole.time->frontiers());
}

TEST(EventTime, WaitsForTheSlowestPartition) {
  Timed timed;
  timed.time->add_partition(0, "a", kWatermarkMin);
  timed.time->add_partition(1, "b", kWatermarkMin);
  timed.give(Rows({100}, 0));
  EXPECT_EQ(timed.time->promise(), kWatermarkMin);
  timed.give(Rows({50}, 1));
  EXPECT_EQ(timed.time->promise(), 40);
  EXPECT_EQ(timed.time->frontiers(), (std::map<std::string, Timestamp>{{"a", 100}, {"b", 50}}));
}

TEST(EventTime, APartitionThatJoinsCannotContradictWhatWasPromised) {
  Timed timed;
  timed.time->add_partition(0, "a", kWatermarkMin);
  timed.give(Rows({100}, 0));
  timed.time->add_partition(1, "b", timed.time->joining_frontier());
  timed.give(Rows({200}, 0));
  EXPECT_EQ(timed.time->promise(), 90);  // held until b has rows
  timed.give(Rows({89, 90}, 1));
  EXPECT_EQ(timed.marks(), "- - 90 - ");
}

TEST(EventTime, AWorkerWithoutPartitionsHoldsNobodyUpIfOthersHaveThem) {
  Timed timed;
  EXPECT_EQ(timed.time->promise(), kWatermarkMin);
  timed.time->stand_aside();
  EXPECT_EQ(timed.time->promise(), kWatermarkMax);
}

TEST(EventTime, PartitionsFarAheadWaitForTheSlowestThatHasRows) {
  Timed timed;
  for (int i = 0; i < 3; ++i)
    timed.time->add_partition(i, std::string(1, static_cast<char>('a' + i)), kWatermarkMin);
  const auto held = [&](std::vector<bool> behind) {
    return timed.time->too_far_ahead([&](int ordinal) { return behind[static_cast<size_t>(ordinal)]; });
  };
  EXPECT_EQ(held({true, true, true}), std::vector<int32_t>());
  timed.give(Rows({100}, 0));
  EXPECT_EQ(held({true, true, true}), std::vector<int32_t>({0}));  // nothing is known of the others
  EXPECT_EQ(held({true, false, false}), std::vector<int32_t>());   // which have nothing
  timed.give(Rows({90}, 1));
  timed.give(Rows({80}, 2));
  EXPECT_EQ(held({true, true, true}), std::vector<int32_t>({0}));
  EXPECT_EQ(held({true, true, false}), std::vector<int32_t>());
  EXPECT_EQ(timed.time->least_frontier([](int) { return true; }), 80);
  EXPECT_EQ(timed.time->least_frontier([](int) { return false; }), kWatermarkMax);
  const auto all = [](int) { return true; };
  EXPECT_EQ(timed.time->too_far_ahead(all, 1'000), std::vector<int32_t>({0}));
  EXPECT_EQ(timed.time->too_far_ahead(all, 60), std::vector<int32_t>({0, 1, 2}));  // a source joined with it
  timed.give(Rows({180}, 2));  // a chunk covers more time: a little more is allowed
  EXPECT_EQ(held({true, true, true}), std::vector<int32_t>({2}));
}

TEST(EventTime, PartitionsFarAheadWaitForOtherWorkers) {
  Timed timed;
  timed.time->add_partition(0, "p", kWatermarkMin);
  const auto held = [&timed] { return !timed.time->too_far_ahead([](int) { return true; }).empty(); };
  timed.give(Rows({100}));
  timed.time->note_least([](int) { return true; });
  EXPECT_EQ(timed.time->noted_least(), 100);
  timed.time->note_least([](int) { return false; });
  EXPECT_EQ(timed.time->noted_least(), kWatermarkMax);
  EXPECT_FALSE(held());  // nothing is known of others
  timed.time->note_elsewhere(kWatermarkMin);
  EXPECT_TRUE(held());  // one there has no row yet
  timed.time->note_elsewhere(89);
  EXPECT_TRUE(held());
  timed.time->note_elsewhere(90);
  EXPECT_FALSE(held());
  // Where that advances by 40 each time, up to four times as much ahead is no reason to wait.
  for (int i = 1; i <= 40; ++i) timed.time->note_elsewhere(90 + 40 * i);
  timed.give(Rows({1'690 + 150}));
  EXPECT_FALSE(held());
  timed.give(Rows({1'690 + 700}));
  EXPECT_TRUE(held());
  timed.time->note_elsewhere(kWatermarkMax);  // those there have caught up
  EXPECT_FALSE(held());
}

TEST(EventTime, RejectsRowsWithoutATime) {
  Timed timed;
  timed.time->add_partition(0, "p", kWatermarkMin);
  timed.give(Rows({100, std::nullopt, 95}, 0, 7));
  ASSERT_EQ(timed.rejected.size(), 1u);
  EXPECT_EQ(timed.rejected[0].position, 8);
  EXPECT_EQ(timed.rejected[0].place, "p");
  EXPECT_EQ(timed.rejected[0].column, "at");
  EXPECT_EQ(timed.out.batches.at(0).rows(), 2);
}

TEST(EventTime, RejectsRowsTooFarAheadAndIsNotMovedByThem) {
  Timed timed(nlohmann::json{{"max_ahead_us", 1000}});
  timed.time->add_partition(0, "p", kWatermarkMin);
  Batch batch = Rows({100, 5000, 1100, 50});
  SetMark(&batch, kRecordTimeMark, Ints({100, 100, 100, std::nullopt}));
  timed.give(batch);
  ASSERT_EQ(timed.rejected.size(), 1u);
  EXPECT_NE(timed.rejected[0].reason.find("max_ahead"), std::string::npos);
  EXPECT_EQ(timed.marks(), "- - 1090 ");
  EXPECT_EQ(timed.time->promise(), 1090);
}

TEST(EventTime, RejectsTimesFromWhichNoWindowCanBeComputed) {
  Timed timed;
  timed.time->add_partition(0, "p", kWatermarkMin);
  timed.give(Rows({kWatermarkMin + 3, -kEventTimeMax, 100, kWatermarkMax, kEventTimeMax + 1, kEventTimeMax}));
  ASSERT_EQ(timed.rejected.size(), 3u);
  EXPECT_NE(timed.rejected[0].reason.find("out of range"), std::string::npos);
  EXPECT_EQ(timed.rejected[1].position, 3);
  EXPECT_EQ(timed.out.batches.at(0).rows(), 3);
  EXPECT_EQ(timed.time->promise(), kEventTimeMax - 10);
}

TEST(Micros, ComeFromEveryUnit) {
  const auto micros = [](arrow::TimeUnit::type unit, int64_t value) {
    const auto column = Ints({value, std::nullopt})->View(arrow::timestamp(unit)).ValueOrDie();
    return MicrosOf(column, arrow::default_memory_pool());
  };
  EXPECT_EQ(micros(arrow::TimeUnit::SECOND, -2).ValueOrDie()->Value(0), -2'000'000);
  EXPECT_EQ(micros(arrow::TimeUnit::MILLI, 3).ValueOrDie()->Value(0), 3'000);
  EXPECT_EQ(micros(arrow::TimeUnit::NANO, -1).ValueOrDie()->Value(0), -1);
  EXPECT_TRUE(micros(arrow::TimeUnit::MILLI, 3).ValueOrDie()->IsNull(1));
  EXPECT_EQ(KindOf(micros(arrow::TimeUnit::SECOND, INT64_MAX / 10).status()), ErrorKind::kUser);
}

bool Never(int) { return false; }

// `second` is silent from the start.
TEST(EventTime, LeavesOutPartitionsThatRest) {
  Timed timed(nlohmann::json{{"idle_after_us", 1000}});
  timed.time->add_partition(0, "first", kWatermarkMin);
  timed.time->add_partition(1, "second", kWatermarkMin);
  EXPECT_FALSE(timed.time->rest(0, kWatermarkMin, Never));
  timed.give(Rows({100}));
  EXPECT_FALSE(timed.time->rest(999, timed.time->moving(), Never));
  EXPECT_EQ(timed.time->moving(), kWatermarkMin);
  EXPECT_TRUE(timed.time->resting().empty());
  timed.give(Rows({130}));
  EXPECT_FALSE(timed.time->rest(1000, timed.time->moving(), Never));
  EXPECT_EQ(timed.time->resting(), std::vector<std::string>{"second"});
  EXPECT_EQ(timed.time->moving(), 120);
  EXPECT_EQ(timed.time->promise(), kWatermarkMin);
  EXPECT_TRUE(timed.time->rest(1001, timed.time->moving(), Never));
  EXPECT_EQ(timed.time->promise(), 120);
  EXPECT_EQ(timed.time->frontiers().at("second"), 130);  // a checkpoint knows what was promised for it
  EXPECT_FALSE(timed.time->rest(1002, timed.time->moving(), Never));

  // It wakes behind what was promised for it, holds the others up again, and rests again only after a while.
  timed.give(Rows({119, 120}, 1));
  EXPECT_EQ(timed.marks(), "- - 120 - ");
  timed.give(Rows({500}));
  EXPECT_FALSE(timed.time->rest(1003, timed.time->moving(), Never));
  EXPECT_EQ(timed.time->promise(), 120);
  EXPECT_FALSE(timed.time->rest(2002, timed.time->moving(), Never));
  EXPECT_EQ(timed.time->promise(), 120);
  timed.time->rest(2003, timed.time->moving(), [](int ordinal) { return ordinal == 0; });
  EXPECT_TRUE(timed.time->rest(2004, timed.time->moving(), [](int ordinal) { return ordinal == 0; }));
  EXPECT_EQ(timed.time->promise(), 490);
}

TEST(EventTime, LetsNoPartitionRestThatHasRowsToRead) {
  Timed timed(nlohmann::json{{"idle_after_us", 1000}});
  timed.time->add_partition(0, "first", kWatermarkMin);
  const auto behind = [](int) { return true; };
  for (int64_t now = 0; now < 10'000; now += 500) EXPECT_FALSE(timed.time->rest(now, 7, behind));
  EXPECT_TRUE(timed.time->resting().empty());
  // Nor without having been told that they may.
  Timed strict;
  strict.time->add_partition(0, "first", kWatermarkMin);
  EXPECT_FALSE(strict.time->rest(0, 7, Never));
  EXPECT_FALSE(strict.time->rest(1 << 30, 7, Never));
}

// A source of which all partitions rest follows the others of the pipeline.
TEST(EventTime, FollowsOtherSourcesWhileAllOfItRests) {
  Timed timed(nlohmann::json{{"idle_after_us", 1000}});
  timed.time->add_partition(0, "only", 50);
  timed.time->rest(0, 7, Never);
  EXPECT_TRUE(timed.time->rest(1000, 300, Never));
  EXPECT_EQ(timed.time->moving(), kWatermarkMax);
  EXPECT_EQ(timed.time->promise(), 300);
  EXPECT_FALSE(timed.time->rest(1001, 200, Never));
  EXPECT_EQ(timed.time->promise(), 300);
}

TEST(EventTime, PromisesWhatItIsToldUntilItIsReleased) {
  Timed timed(nlohmann::json{{"after", {"another"}}});
  EXPECT_EQ(timed.time->promise(), kWatermarkMin);
  EXPECT_TRUE(timed.time->raise_floor(50));
  EXPECT_FALSE(timed.time->raise_floor(50));
  EXPECT_FALSE(timed.time->raise_floor(40));
  EXPECT_EQ(timed.time->promise(), 50);
  EXPECT_EQ(timed.time->floor(), 50);
  // Also where it is known by now that others read it, or where it begins itself.
  timed.time->stand_aside();
  EXPECT_EQ(timed.time->promise(), 50);
  timed.time->release();
  EXPECT_EQ(timed.time->promise(), kWatermarkMax);

  Timed reads(nlohmann::json{{"after", {"another"}}});
  reads.time->add_partition(0, "p", 70);
  EXPECT_EQ(reads.time->promise(), kWatermarkMin);
  reads.time->release();
  EXPECT_FALSE(reads.time->raise_floor(65));
  EXPECT_EQ(reads.time->promise(), 60);
  reads.give(Rows({60, 59}));
  EXPECT_EQ(reads.marks(), "- 60 ");
}

TEST(EventTime, TellsThoseThatWaitHowFarItHasComeThoughTheRunEnds) {
  Timed timed;
  timed.time->add_partition(0, "p", kWatermarkMin);
  timed.give(Rows({100}));
  timed.time->close();  // all windows of this run close, but rows of another source are to come
  EXPECT_EQ(timed.time->promise(), kWatermarkMax);
  EXPECT_EQ(timed.time->floor(), 90);
  timed.time->end();
  EXPECT_EQ(timed.time->floor(), kWatermarkMax);
}

}  // namespace
}  // namespace frazil
