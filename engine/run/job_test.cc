#include "run/job.h"

#include <arrow/compute/api_vector.h>
#include <arrow/ipc/writer.h>
#include <arrow/table.h>
#include <arrow/util/base64.h>
#include <gtest/gtest.h>

#include "connector/generator/source.h"
#include "run/token_rows.h"

namespace frazil {
namespace {

using nlohmann::json;

constexpr int64_t kRows = 20'000;
constexpr int64_t kPartitions = 3;

std::string Encoded(const arrow::Schema& schema) {
  return arrow::util::base64_encode(arrow::ipc::SerializeSchema(schema).ValueOrDie()->ToString());
}

// Rows of a generator, a function over them, to memory by key.
std::string Shuffled() {
  const std::string schema = Encoded(*GeneratorSchema());
  const json options = {{"rows", kRows}, {"partitions", kPartitions}, {"seed", 1}};
  return json{{"v", 1},
              {"pipeline", "shuffled"},
              {"nodes",
               {{{"id", "s"},
                 {"kind", "source"},
                 {"name", "numbers"},
                 {"connector", "generator"},
                 {"options", options},
                 {"format", nullptr},
                 {"schema", schema},
                 {"on_bad_row", "fail"}},
                {{"id", "f"},
                 {"kind", "map_batches"},
                 {"input", {"s", "rows"}},
                 {"function", "test:function"},
                 {"schema", schema}},
                {{"id", "x"}, {"kind", "exchange"}, {"input", {"f", "rows"}}, {"keys", {"user"}}},
                {{"id", "w"},
                 {"kind", "sink"},
                 {"name", "rows"},
                 {"connector", "memory"},
                 {"input", {"x", "rows"}},
                 {"options", json::object()}}}}}
      .dump();
}

std::unique_ptr<Job> Started(const JobOptions& options, BatchFunction function) {
  auto job = Job::Make(Shuffled(), options, {{"test:function", std::move(function)}}).ValueOrDie();
  json assigned = json::array();
  const json found = job->discover(true, json::object(), {"s"}).ValueOrDie();
  for (const json& each : found.at("s")) {
    assigned.push_back({{"ordinal", assigned.size()},
                        {"name", each.at("name")},
                        {"position", each.at("start")},
                        {"end", each.at("end")},
                        {"worker", assigned.size() % static_cast<size_t>(options.workers)}});
  }
  EXPECT_EQ(assigned.size(), kPartitions);
  EXPECT_TRUE(job->assign({{"s", assigned}}).ok());
  EXPECT_TRUE(job->start().ok());
  return job;
}

JobOptions Workers(int workers) {
  return {.workers = workers, .bounded = true, .memory_bytes = 256 << 20, .channel_bytes = 64 << 10};
}

BatchFunction Same() {
  return [](const std::shared_ptr<arrow::RecordBatch>& batch) { return batch; };
}

// Cuts one epoch after another until the sources have ended and one more epoch is cut. All tokens, by epoch.
std::vector<Token> RunToEnd(Job* job) {
  Epoch epoch = 1;
  std::vector<Token> all_tokens;
  bool ended = false;
  EXPECT_TRUE(job->barrier(epoch).ok());
  for (int waits = 0; waits < 3000; ++waits) {
    (void)job->metrics();  // what the control thread does while workers work
    (void)job->polled();
    for (const json& event : job->wait(0.1)) {
      if (event.at("kind") == "failed") ADD_FAILURE() << event.dump();
      ended = ended || event.at("kind") == "ended";
      if (event.at("kind") != "epoch") continue;
      EXPECT_EQ(event.at("epoch"), epoch);
      for (const auto& [sink, tokens] : event.at("tokens").items()) {
        for (const json& token : tokens) all_tokens.push_back(token.get<std::string>());
      }
      bool all = ended;
      for (const auto& [name, position] : event.at("sources").at("s").at("positions").items()) {
        const auto row = json::parse(position.get<std::string>()).at("row").get<int64_t>();
        all = all && row >= kRows / kPartitions;
      }
      if (all) return all_tokens;
      EXPECT_TRUE(job->barrier(++epoch).ok());
    }
  }
  ADD_FAILURE() << "no end";
  return all_tokens;
}

// The rows of tokens in their order.
std::shared_ptr<arrow::Table> RowsOf(const std::vector<Token>& tokens) {
  std::vector<std::shared_ptr<arrow::Table>> tables;
  for (const Token& token : tokens) tables.push_back(TokenRows(token).ValueOrDie());
  return arrow::ConcatenateTables(tables).ValueOrDie()->CombineChunks().ValueOrDie();
}

std::shared_ptr<arrow::Table> ById(const std::shared_ptr<arrow::Table>& rows) {
  const std::vector<arrow::compute::SortKey> id = {arrow::compute::SortKey("id")};
  const auto order = arrow::compute::SortIndices(rows, arrow::compute::SortOptions(id)).ValueOrDie();
  return arrow::compute::Take(rows, order).ValueOrDie().table()->CombineChunks().ValueOrDie();
}

// What the generator makes, read without a job.
std::shared_ptr<arrow::Table> Generated() {
  const json options = {{"rows", kRows}, {"partitions", 1}, {"seed", 1}};
  auto source = MakeGeneratorSource(options, GeneratorSchema(), arrow::default_memory_pool()).ValueOrDie();
  const json end = {{"v", 1}, {"row", kRows}};
  EXPECT_TRUE(source->assign({{0, "generator-0", R"({"v":1,"row":0})", end.dump()}}, [] {}).ok());
  arrow::RecordBatchVector batches;
  while (true) {
    const Poll poll = source->poll({1000, 1 << 20}).ValueOrDie();
    if (poll.kind != Poll::Kind::kRows) break;
    batches.push_back(poll.columns);
  }
  return arrow::Table::FromRecordBatches(batches).ValueOrDie()->CombineChunks().ValueOrDie();
}

TEST(Job, WorkersPassOnEveryRowOnce) {
  const auto expected = Generated();
  ASSERT_EQ(expected->num_rows(), kRows);
  for (const int workers : {1, 2, 4}) {
    auto job = Started(Workers(workers), Same());
    EXPECT_TRUE(ById(RowsOf(RunToEnd(job.get())))->Equals(*expected)) << workers;
    const json metrics = job->metrics();
    EXPECT_EQ(metrics.at("nodes").at("w").at("rows_in"), kRows);
    EXPECT_EQ(metrics.at("queue_bytes"), 0);
  }
}

std::vector<Token> Simulated(uint64_t seed) {
  JobOptions options = Workers(2);
  options.simulated = true;
  options.seed = seed;
  return RunToEnd(Started(options, Same()).get());
}

TEST(Job, SimulatedRunsGiveEveryRowOnce) {
  const auto expected = Generated();
  for (const uint64_t seed : {1, 2, 3}) {
    EXPECT_TRUE(ById(RowsOf(Simulated(seed)))->Equals(*expected)) << seed;
  }
}

TEST(Job, ASeedReplaysTheSameRowsInTheSameOrder) {
  const std::vector<Token> first = Simulated(1);
  EXPECT_TRUE(Simulated(1) == first);
  const auto rows = RowsOf(first);
  EXPECT_FALSE(RowsOf(Simulated(2))->Equals(*rows));
  EXPECT_FALSE(ById(rows)->Equals(*rows));
}

TEST(Job, FirstFailureIsTheLastEvent) {
  std::atomic<int> calls{0};
  auto job = Started(Workers(4), [&](const auto& batch) -> Result<std::shared_ptr<arrow::RecordBatch>> {
    if (++calls > 2) return Error(ErrorKind::kUser, "enough");
    return batch;
  });
  json last;
  for (int waits = 0; waits < 300 && last.is_null(); ++waits) {
    for (json& event : job->wait(0.1)) {
      if (event.at("kind") == "failed") last = std::move(event);
    }
  }
  ASSERT_FALSE(last.is_null());
  EXPECT_EQ(last.at("error"), "user");
  EXPECT_NE(last.at("message").get<std::string>().find("enough"), std::string::npos) << last.dump();
  job->stop();
  EXPECT_TRUE(job->wait(0).empty());
}

TEST(Job, StopsInTheMiddle) {
  for (int round = 0; round < 10; ++round) {
    auto job = Started(Workers(3), Same());
    EXPECT_TRUE(job->barrier(1).ok());
    (void)job->wait(0.001 * round);
    job->stop();
    job->stop();
  }
}

}  // namespace
}  // namespace frazil
