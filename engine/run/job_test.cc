#include "run/job.h"

#include <arrow/io/memory.h>
#include <arrow/ipc/writer.h>
#include <arrow/util/base64.h>
#include <gtest/gtest.h>

#include "connector/generator/source.h"

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
  const json found = job->discover(true, json::object()).ValueOrDie();
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

// Cuts one epoch after another until the sources have ended and one more epoch is cut. The rows of all
// tokens.
int64_t RunToEnd(Job* job) {
  Epoch epoch = 1;
  int64_t rows = 0;
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
        for (const json& token : tokens)
          rows += json::parse(token.get<std::string>()).at("rows").get<int64_t>();
      }
      bool all = ended;
      for (const auto& [name, position] : event.at("sources").at("s").at("positions").items()) {
        const auto row = json::parse(position.get<std::string>()).at("row").get<int64_t>();
        all = all && row >= kRows / kPartitions;
      }
      if (all) return rows;
      EXPECT_TRUE(job->barrier(++epoch).ok());
    }
  }
  ADD_FAILURE() << "no end";
  return rows;
}

TEST(Job, WorkersPassOnEveryRowOnce) {
  for (const int workers : {1, 2, 4}) {
    auto job = Started(Workers(workers), Same());
    EXPECT_EQ(RunToEnd(job.get()), kRows) << workers;
    const json metrics = job->metrics();
    EXPECT_EQ(metrics.at("nodes").at("w").at("rows_in"), kRows);
    EXPECT_EQ(metrics.at("queue_bytes"), 0);
  }
}

TEST(Job, SimulatedRunsGiveEveryRowOnce) {
  for (const uint64_t seed : {1, 2}) {
    JobOptions options = Workers(2);
    options.simulated = true;
    options.seed = seed;
    EXPECT_EQ(RunToEnd(Started(options, Same()).get()), kRows);
  }
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
