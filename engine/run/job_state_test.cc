// State with threads: it is saved in slices beside the flow, given back to another number of workers, and
// goes on. What the thread sanitizer has to look at.
#include <arrow/api.h>
#include <arrow/ipc/writer.h>
#include <arrow/util/base64.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "connector/generator/source.h"
#include "run/job.h"
#include "run/token_rows.h"

namespace frazil {
namespace {

using nlohmann::json;

constexpr int64_t kRows = 30'000;
constexpr int64_t kPartitions = 4;
constexpr const char* kNode = "g";
constexpr const char* kTimes = "t";

// Counts of users, as a log of changes. Event time is there for the one who tells it.
std::string Counts() {
  const auto schema = arrow::ipc::SerializeSchema(*GeneratorSchema()).ValueOrDie();
  const json options = {{"rows", kRows}, {"partitions", kPartitions}, {"seed", 1}};
  const json count = {{"name", "n"}, {"fn", "count"}, {"args", json::array()}, {"filter", nullptr}};
  return json{{"v", 1},
              {"pipeline", "counts"},
              {"nodes",
               {{{"id", "s"},
                 {"kind", "source"},
                 {"name", "numbers"},
                 {"connector", "generator"},
                 {"options", options},
                 {"format", nullptr},
                 {"schema", arrow::util::base64_encode(schema->ToString())},
                 {"on_bad_row", "fail"}},
                {{"id", kTimes},
                 {"kind", "event_time"},
                 {"input", {"s", "rows"}},
                 {"column", "at"},
                 {"out_of_order_us", 1'000'000},
                 {"max_ahead_us", nullptr}},
                {{"id", "x"}, {"kind", "exchange"}, {"input", {kTimes, "rows"}}, {"keys", {"user"}}},
                {{"id", kNode},
                 {"kind", "group_aggregate"},
                 {"input", {"x", "rows"}},
                 {"keys", {"user"}},
                 {"aggregates", json::array({count})},
                 {"time", nullptr},
                 {"window_end", nullptr},
                 {"lateness_us", 0},
                 {"early_us", nullptr}},
                {{"id", "l"}, {"kind", "as_log"}, {"input", {kNode, "rows"}}},
                {{"id", "w"},
                 {"kind", "sink"},
                 {"name", "rows"},
                 {"connector", "memory"},
                 {"input", {"l", "rows"}},
                 {"options", json::object()}}}}}
      .dump();
}

// What a checkpoint store has.
struct Kept {
  Epoch epoch = 0;
  json positions, frontiers;  // by partition
  std::vector<std::shared_ptr<arrow::Buffer>> state;
  std::vector<Token> tokens;
};

// A process reads a third of a partition at most: how fast it is does not decide how many there are.
std::string EndOf(const std::string& position, const std::string& last) {
  json end = json::parse(position);
  end["row"] = std::min(end["row"].get<int64_t>() + kRows / kPartitions / 3 + 1,
                        json::parse(last).at("row").get<int64_t>());
  return end.dump();
}

std::unique_ptr<Job> Started(int workers, const Kept& kept) {
  const JobOptions options = {.workers = workers,
                              .first_epoch = kept.epoch + 1,
                              .bounded = true,
                              .memory_bytes = 256 << 20,
                              .channel_bytes = 64 << 10};
  auto job = Job::Make(Counts(), options, {}).ValueOrDie();
  json assigned = json::array();
  const json found = job->discover(true, json::object(), {"s"}).ValueOrDie();
  for (const json& each : found.at("s")) {
    const auto name = each.at("name").get<std::string>();
    const auto position = kept.positions.value(name, each.at("start").get<std::string>());
    json one = {{"ordinal", assigned.size()},
                {"name", name},
                {"position", position},
                {"end", EndOf(position, each.at("end").get<std::string>())},
                {"worker", assigned.size() % static_cast<size_t>(workers)}};
    if (kept.frontiers.contains(name) && !kept.frontiers[name].is_null()) {
      one["frontiers"] = {{kTimes, kept.frontiers[name]}};
    }
    assigned.push_back(std::move(one));
  }
  for (const auto& file : kept.state) EXPECT_TRUE(job->restore(kNode, file).ok());
  EXPECT_TRUE(job->restored().ok());
  EXPECT_TRUE(job->assign({{"s", assigned}}).ok());
  EXPECT_TRUE(job->start().ok());
  return job;
}

// Keeps what an epoch has; true if all rows have been read.
bool Keep(Job& job, const json& event, Kept* kept) {
  ++kept->epoch;
  EXPECT_EQ(event.at("epoch"), kept->epoch);
  const json tokens = event.at("tokens").value("w", json::array());
  for (const json& token : tokens) kept->tokens.push_back(token.get<std::string>());
  kept->positions = event.at("sources").at("s").at("positions");
  kept->frontiers = event.at("frontiers").value(kTimes, json::object());
  for (const Job::StateFile& file : job.take_state()) {
    if (file.bytes != nullptr) kept->state.push_back(file.bytes);
  }
  int64_t read = 0;
  for (const auto& [name, position] : kept->positions.items()) {
    read += json::parse(position.get<std::string>()).at("row").get<int64_t>();
  }
  return read == kRows;
}

// One process, which dies after some epochs; true if it has come to the end.
bool RunProcess(int workers, int epochs, Kept* kept) {
  const auto job = Started(workers, *kept);
  EXPECT_TRUE(job->barrier(kept->epoch + 1).ok());
  for (int waits = 0; waits < 3000; ++waits) {
    (void)job->metrics();  // what the control thread does meanwhile
    for (const json& event : job->wait(0.1)) {
      if (event.at("kind") == "failed") ADD_FAILURE() << event.dump();
      if (event.at("kind") != "epoch") continue;
      if (Keep(*job, event, kept)) return true;
      if (--epochs == 0) return false;
      EXPECT_TRUE(job->barrier(kept->epoch + 1).ok());
    }
  }
  ADD_FAILURE() << "no end";
  return true;
}

TEST(JobState, IsRestoredByAnyNumberOfWorkers) {
  Kept kept;
  kept.positions = kept.frontiers = json::object();
  bool ended = false;
  int processes = 0;
  for (; !ended; ++processes) ended = RunProcess(1 + processes % 4, 2 + processes, &kept);
  EXPECT_GT(processes, 1);
  EXPECT_GT(kept.state.size(), 2U);
  std::map<std::string, int64_t> counts;
  for (const Token& token : kept.tokens) {
    const auto rows = TokenRows(token).ValueOrDie()->CombineChunksToBatch().ValueOrDie();
    const auto& users = static_cast<const arrow::StringArray&>(*rows->GetColumnByName("user"));
    const auto& numbers = static_cast<const arrow::Int64Array&>(*rows->GetColumnByName("n"));
    const auto& kinds = static_cast<const arrow::StringArray&>(*rows->GetColumnByName("_kind"));
    for (int64_t i = 0; i < rows->num_rows(); ++i) {
      const std::string user = users.GetString(i);
      if (kinds.GetView(i) == "update_before") {
        ASSERT_EQ(counts.at(user), numbers.Value(i));
      } else {
        ASSERT_EQ(counts.contains(user), kinds.GetView(i) == "update_after");
        counts[user] = numbers.Value(i);
      }
    }
  }
  int64_t all = 0;
  for (const auto& [user, count] : counts) all += count;
  EXPECT_EQ(all, kRows);
}

}  // namespace
}  // namespace frazil
