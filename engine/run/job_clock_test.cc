// Timers by the machine's clock in a whole job: simulated, where the clock jumps, and in threads.
#include <arrow/compute/api_vector.h>
#include <arrow/io/memory.h>
#include <arrow/ipc/writer.h>
#include <arrow/table.h>
#include <arrow/util/base64.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <mutex>

#include "base/schema_text.h"
#include "operator/keyed/keyed_function.h"
#include "run/job.h"
#include "run/token_rows.h"

namespace frazil {
namespace {

using nlohmann::json;

constexpr Timestamp kStart = 1'000'000'000;
constexpr int64_t kPause = 30;  // us between a row and its timer

std::shared_ptr<arrow::Schema> Numbers() { return arrow::schema({arrow::field("n", arrow::int64())}); }

std::shared_ptr<arrow::Schema> Fired() {
  return arrow::schema({arrow::field("n", arrow::int64()), arrow::field("at", arrow::int64())});
}

std::shared_ptr<arrow::Array> Int64s(const std::vector<int64_t>& values) {
  arrow::Int64Builder builder;
  EXPECT_TRUE(builder.AppendValues(values).ok());
  return builder.Finish().ValueOrDie();
}

std::string Table(const std::vector<int64_t>& numbers) {
  const auto batch =
      arrow::RecordBatch::Make(Numbers(), static_cast<int64_t>(numbers.size()), {Int64s(numbers)});
  const auto out = arrow::io::BufferOutputStream::Create().ValueOrDie();
  const auto writer = arrow::ipc::MakeStreamWriter(out, batch->schema()).ValueOrDie();
  EXPECT_TRUE(writer->WriteRecordBatch(*batch).ok() && writer->Close().ok());
  return arrow::util::base64_encode(out->Finish().ValueOrDie()->ToString());
}

// Numbers of memory, by number to a function with timers of the clock, to memory.
std::string Plan(const json& partitions, const json& waits) {
  const json options = {{"partitions", partitions}, {"waits", waits}};
  return json{{"v", 1},
              {"pipeline", "timed"},
              {"nodes",
               {{{"id", "s"},
                 {"kind", "source"},
                 {"name", "numbers"},
                 {"connector", "memory"},
                 {"options", options},
                 {"format", nullptr},
                 {"schema", SchemaText(*Numbers()).ValueOrDie()},
                 {"on_bad_row", "fail"}},
                {{"id", "x"}, {"kind", "exchange"}, {"input", {"s", "rows"}}, {"keys", {"n"}}},
                {{"id", "f"},
                 {"kind", "keyed_function"},
                 {"input", {"x", "rows"}},
                 {"function", "test:function"},
                 {"keys", {"n"}},
                 {"time", nullptr},
                 {"states", SchemaText(*arrow::schema({})).ValueOrDie()},
                 {"schema", SchemaText(*Fired()).ValueOrDie()},
                 {"ends", false},
                 {"clock", true}},
                {{"id", "w"},
                 {"kind", "sink"},
                 {"name", "rows"},
                 {"connector", "memory"},
                 {"input", {"f", "rows"}},
                 {"options", json::object()}}}}}
      .dump();
}

template <typename T>
std::shared_ptr<T> ListAt(const arrow::RecordBatch& batch, const std::string& name) {
  return std::static_pointer_cast<T>(
      static_cast<const arrow::ListArray&>(*batch.GetColumnByName(name)).value_slice(0));
}

std::shared_ptr<arrow::Array> OneList(const std::shared_ptr<arrow::Array>& values) {
  return std::make_shared<arrow::ListArray>(
      arrow::list(values->type()), 1,
      arrow::Buffer::FromVector(std::vector<int32_t>{0, static_cast<int32_t>(values->length())}), values);
}

// A row sets a timer; that gives the number and what the clock says then.
Result<std::shared_ptr<arrow::RecordBatch>> Call(const std::shared_ptr<arrow::RecordBatch>& asked) {
  const int8_t what = static_cast<const arrow::Int8Array&>(*asked->GetColumnByName("what")).Value(0);
  const auto& clocks = static_cast<const arrow::Int64Array&>(*asked->GetColumnByName("clock"));
  const bool fires = what == KeyedFunction::kClock;
  const auto keys = ListAt<arrow::StructArray>(*asked, "keys");
  const auto& key = static_cast<const arrow::Int64Array&>(*keys->field(0));
  std::vector<int64_t> numbers, times;
  arrow::UInt8Builder outcomes;
  auto set = std::make_shared<arrow::Int64Builder>(), none = std::make_shared<arrow::Int64Builder>();
  const auto type = arrow::list(arrow::field("element", arrow::int64()));
  arrow::ListBuilder timers(arrow::default_memory_pool(), set, type);
  arrow::ListBuilder no_timers(arrow::default_memory_pool(), none, type);
  for (int64_t i = 0; i < keys->length(); ++i) {
    EXPECT_TRUE(timers.Append().ok() && no_timers.Append().ok());
    EXPECT_TRUE(outcomes.Append(fires ? KeyedFunction::kForget : KeyedFunction::kAssign).ok());
    if (fires) {
      numbers.push_back(key.Value(i));
      times.push_back(clocks.Value(0));
    } else {
      EXPECT_TRUE(set->Append(clocks.Value(0) + kPause).ok());
    }
  }
  const auto rows = std::make_shared<arrow::StructArray>(arrow::struct_(Fired()->fields()),
                                                         static_cast<int64_t>(numbers.size()),
                                                         arrow::ArrayVector{Int64s(numbers), Int64s(times)});
  const auto states =
      std::make_shared<arrow::StructArray>(arrow::struct_({}), keys->length(), arrow::ArrayVector{});
  const std::vector<std::pair<const char*, std::shared_ptr<arrow::Array>>> parts = {
      {"rows", rows},
      {"states", states},
      {"timers", no_timers.Finish().ValueOrDie()},
      {"clock_timers", timers.Finish().ValueOrDie()},
      {"what", outcomes.Finish().ValueOrDie()}};
  arrow::FieldVector fields;
  arrow::ArrayVector columns;
  for (const auto& [name, values] : parts) {
    columns.push_back(OneList(values));
    fields.push_back(arrow::field(name, columns.back()->type()));
  }
  return arrow::RecordBatch::Make(arrow::schema(fields), 1, columns);
}

std::unique_ptr<Job> Started(const std::string& plan, const JobOptions& options) {
  auto job = Job::Make(plan, options, {{"test:function", Call}}).ValueOrDie();
  json assigned = json::array();
  const json found = job->discover(true, json::object(), {"s"}).ValueOrDie();
  for (const json& each : found.at("s")) {
    assigned.push_back({{"ordinal", assigned.size()},
                        {"name", each.at("name")},
                        {"position", each.at("start")},
                        {"end", each.at("end")},
                        {"worker", assigned.size() % static_cast<size_t>(options.workers)}});
  }
  EXPECT_TRUE(job->assign({{"s", assigned}}).ok());
  EXPECT_TRUE(job->start().ok());
  return job;
}

JobOptions Options(int workers, bool simulated, uint64_t seed = 0) {
  return {.workers = workers,
          .bounded = true,
          .memory_bytes = 64 << 20,
          .channel_bytes = 64 << 10,
          .simulated = simulated,
          .seed = seed,
          .clock_us = kStart};
}

using FiredRows = std::vector<std::pair<int64_t, int64_t>>;  // number, time

FiredRows RowsOf(const json& event) {
  FiredRows rows;
  for (const auto& [sink, tokens] : event.at("tokens").items()) {
    for (const json& token : tokens) {
      const auto table = TokenRows(token.get<std::string>()).ValueOrDie();
      if (table == nullptr) continue;
      const auto batch = table->CombineChunksToBatch().ValueOrDie();
      for (int64_t i = 0; i < batch->num_rows(); ++i) {
        rows.emplace_back(static_cast<const arrow::Int64Array&>(*batch->column(0)).Value(i),
                          static_cast<const arrow::Int64Array&>(*batch->column(1)).Value(i));
      }
    }
  }
  std::sort(rows.begin(), rows.end());
  return rows;
}

// Waits for an event, and takes it.
json Await(Job* job, const std::string& kind) {
  for (int waits = 0; waits < 3000; ++waits) {
    for (json& event : job->wait(0.1)) {
      if (event.at("kind") == "failed") ADD_FAILURE() << event.dump();
      if (event.at("kind") == kind) return event;
    }
  }
  ADD_FAILURE() << "no " << kind;
  return {};
}

TEST(JobClock, JumpsToTheNextTimerOrWaitWhereverRowsAre) {
  const json partitions = {Table({1, 2, 3}), Table({4, 5})};
  const json waits = {{{1, kStart + 20}, {2, kStart + 20 + 7}, {3, kStart + 500}}, {{0, kStart + 25}}};
  const FiredRows expected = {
      {1, kStart + 30}, {2, kStart + 50}, {3, kStart + 57}, {4, kStart + 55}, {5, kStart + 55}};
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    auto job = Started(Plan(partitions, waits), Options(1 + static_cast<int>(seed % 4), true, seed));
    EXPECT_EQ(job->clock(), kStart);
    (void)Await(job.get(), "ended");
    EXPECT_EQ(job->clock(), kStart + 500);
    EXPECT_TRUE(job->barrier(1).ok());
    EXPECT_EQ(RowsOf(Await(job.get(), "epoch")), expected) << seed;
  }
}

// The input ends before the timers: they are in the state, and fired by the next job if they are due.
TEST(JobClock, TimersOutliveTheEndOfTheInput) {
  for (const int64_t later : {kPause - 1, kPause, int64_t{100'000}}) {
    const json partitions = {Table({1, 2})};
    auto first = Started(Plan(partitions, json::array()), Options(2, true, 3));
    (void)Await(first.get(), "ended");
    EXPECT_TRUE(first->barrier(1, {"f"}).ok());
    EXPECT_TRUE(RowsOf(Await(first.get(), "epoch")).empty());
    std::vector<std::shared_ptr<arrow::Buffer>> files;
    for (const auto& file : first->take_state()) {
      if (file.bytes != nullptr) files.push_back(file.bytes);
    }
    ASSERT_FALSE(files.empty());
    JobOptions options = Options(1, true, 4);
    options.clock_us = kStart + later;
    auto second =
        Job::Make(Plan({Table({})}, json::array()), options, {{"test:function", Call}}).ValueOrDie();
    for (const auto& file : files) EXPECT_TRUE(second->restore("f", file).ok());
    const json none = {{"ordinal", 0},
                       {"name", "memory-0"},
                       {"position", R"({"v":1,"row":0})"},
                       {"end", R"({"v":1,"row":0})"},
                       {"worker", 0}};
    EXPECT_TRUE(second->assign({{"s", json::array({none})}}).ok());
    EXPECT_TRUE(second->start().ok());
    const int64_t polled = second->polled();
    (void)Await(second.get(), "ended");
    const bool due = later >= kPause;
    EXPECT_EQ(second->polled() > polled, due);  // what was fired is something to checkpoint
    EXPECT_TRUE(second->barrier(1).ok());
    const FiredRows fired = {{1, kStart + later}, {2, kStart + later}};
    EXPECT_EQ(RowsOf(Await(second.get(), "epoch")), due ? fired : FiredRows{});
  }
}

// Threads sleep while there is no row, and wake for the timer: the source is silent for centuries.
TEST(JobClock, ThreadsWakeForTimers) {
  const json waits = {{{3, int64_t{9'000'000'000'000'000}}}};
  const Timestamp begin = SystemClock().now();
  auto job = Started(Plan({Table({1, 2, 3})}, waits), Options(2, false));
  for (int waited = 0; job->metrics().at("nodes").at("f").at("rows_out") != 3; ++waited) {
    ASSERT_LT(waited, 3000);
    EXPECT_TRUE(job->wait(0.01).empty());
  }
  EXPECT_TRUE(job->barrier(1).ok());
  const FiredRows rows = RowsOf(Await(job.get(), "epoch"));
  ASSERT_EQ(rows.size(), 3u);
  for (const auto& [number, at] : rows) EXPECT_GE(at, begin + kPause);
}

}  // namespace
}  // namespace frazil
