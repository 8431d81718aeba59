#include "run/worker.h"

#include <arrow/api.h>
#include <arrow/ipc/writer.h>
#include <arrow/util/base64.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "connector/generator/source.h"
#include "run/splitter.h"
#include "run/token_rows.h"

namespace frazil {
namespace {

using nlohmann::json;

constexpr int64_t kRows = 90'000, kPartitions = 3;
constexpr int kWorkers = 2;
constexpr int64_t kCredit = 4096;  // bytes: less than one batch of the splitters

// generator -> exchange -> function -> exchange -> memory.
Plan TwoExchanges() {
  const auto schema =
      arrow::util::base64_encode(arrow::ipc::SerializeSchema(*GeneratorSchema()).ValueOrDie()->ToString());
  const json options = {{"rows", kRows}, {"partitions", kPartitions}, {"seed", 1}};
  const json plan = {{"v", 1},
                     {"pipeline", "p"},
                     {"nodes",
                      {{{"id", "s"},
                        {"kind", "source"},
                        {"name", "s"},
                        {"connector", "generator"},
                        {"options", options},
                        {"format", nullptr},
                        {"schema", schema},
                        {"on_bad_row", "fail"}},
                       {{"id", "x"}, {"kind", "exchange"}, {"input", {"s", "rows"}}, {"keys", {"user"}}},
                       {{"id", "f"},
                        {"kind", "map_batches"},
                        {"input", {"x", "rows"}},
                        {"function", "test:function"},
                        {"schema", schema}},
                       {{"id", "y"}, {"kind", "exchange"}, {"input", {"f", "rows"}}, {"keys", {"id"}}},
                       {{"id", "w"},
                        {"kind", "sink"},
                        {"name", "w"},
                        {"connector", "memory"},
                        {"input", {"y", "rows"}},
                        {"options", json::object()}}}}};
  return ParsePlan(plan.dump()).ValueOrDie();
}

// Workers whose function is a splitter, wired with channels of little credit and stepped in an order drawn
// from a seed; barriers are given between any two steps.
class Splitting {
 public:
  struct Epoch {
    int parts = 0;
    std::vector<std::string> tokens;
    std::map<std::string, int64_t> next_row;  // by partition
  };

  explicit Splitting(uint64_t seed) : random_(seed) {
    WorkerContext context;
    context.workers = kWorkers;
    context.first_epoch = 1;
    context.bounded = true;
    context.functions = &functions_;
    for (int number = 0; number < kWorkers; ++number) {
      workers_.push_back(std::make_unique<Worker>(number, 256 << 20, nullptr));
      EXPECT_TRUE(workers_.back()
                      ->open(plan_, cut_, context, {[this](EpochPart part) { take(std::move(part)); }, {}})
                      .ok());
      auto splitter = std::make_unique<Splitter>(1000);
      splitters_.push_back(splitter.get());
      workers_.back()->stages()[1]->node(2)->set(std::move(splitter));
    }
    for (const Edge& edge : cut_.edges) {
      if (edge.kind == EdgeKind::kHash) wire(edge);
    }
    for (int number = 0; number < kWorkers; ++number) {
      for (const auto& stage : workers_[static_cast<size_t>(number)]->stages()) stage->finish_wiring();
      assign(number);
    }
  }

  // Steps until a last epoch is cut behind the end of every worker.
  void run() {
    int64_t barrier = 0;
    for (int64_t steps = 0; steps < 1'000'000; ++steps) {
      const bool cut = barrier == 0 || (epochs_[barrier].parts == kWorkers * cut_.stages);
      const bool ended = std::all_of(workers_.begin(), workers_.end(), [](auto& w) { return w->ended(); });
      if (cut && last_) return;
      if (cut && (ended || random_() % 20 == 0)) {
        last_ = ended;
        ++barrier;
        for (const auto& worker : workers_) worker->tell({.kind = Control::Kind::kBarrier, .epoch = barrier});
      }
      ASSERT_TRUE(workers_[random_() % kWorkers]->step(&random_).ok());
    }
    FAIL() << "no end";
  }

  const std::map<int64_t, Epoch>& epochs() const { return epochs_; }
  int64_t stops() const { return splitters_[0]->stops() + splitters_[1]->stops(); }

 private:
  void wire(const Edge& edge) {
    const auto stage = [&](int worker, int node) {
      return workers_[static_cast<size_t>(worker)]
          ->stages()[static_cast<size_t>(cut_.stage_of[static_cast<size_t>(node)])]
          .get();
    };
    for (int from = 0; from < kWorkers; ++from) {
      std::vector<Channel*> channels;
      for (int to = 0; to < kWorkers; ++to) {
        channels_.push_back(std::make_unique<Channel>(Channel::Address{0, edge.id, from, to}, kCredit,
                                                      workers_[static_cast<size_t>(from)]->waker(),
                                                      workers_[static_cast<size_t>(to)]->waker()));
        stage(to, edge.to)->receive_from(channels_.back().get(), edge.to, 0);
        channels.push_back(channels_.back().get());
      }
      stage(from, edge.from)->node(edge.from)->feed(std::move(channels));
    }
  }

  void assign(int number) {
    Control control;
    control.kind = Control::Kind::kAssign;
    for (int32_t i = number; i < kPartitions; i += kWorkers) {
      control.partitions["s"].push_back({i, "generator-" + std::to_string(i), R"({"v":1,"row":0})",
                                         json{{"v", 1}, {"row", kRows / 3}}.dump()});
    }
    workers_[static_cast<size_t>(number)]->tell(std::move(control));
  }

  void take(EpochPart part) {
    Epoch& epoch = epochs_[part.epoch];
    ++epoch.parts;
    for (const auto& pending : part.tokens) epoch.tokens.push_back(pending.token.result().ValueOrDie());
    for (const auto& [source, state] : part.sources) {
      for (const auto& each : state.positions)
        epoch.next_row[each.name] = json::parse(each.position).at("row").get<int64_t>();
    }
  }

  const Plan plan_ = TwoExchanges();
  const StagePlan cut_ = CutStages(plan_);
  const FunctionTable functions_ = {{"test:function", [](const auto& batch) { return batch; }}};
  std::mt19937_64 random_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<Splitter*> splitters_;
  std::vector<std::unique_ptr<Channel>> channels_;
  std::map<int64_t, Epoch> epochs_;
  bool last_ = false;
};

std::vector<int64_t> Ids(const std::string& token) {
  const auto rows = TokenRows(token).ValueOrDie();
  if (rows == nullptr) return {};
  const auto column = std::static_pointer_cast<arrow::Int64Array>(rows->GetColumnByName("id")->chunk(0));
  return {column->raw_values(), column->raw_values() + column->length()};
}

// However operators stop and barriers come in between: an epoch has the rows before its positions, and no
// other.
TEST(Worker, EpochsHaveTheRowsBeforeTheirPositionsWithOperatorsThatStop) {
  int64_t stops = 0, with_rows = 0;
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    Splitting job(seed);
    ASSERT_NO_FATAL_FAILURE(job.run());
    stops += job.stops();
    std::vector<bool> seen(kRows);
    int64_t count = 0;
    for (const auto& [number, epoch] : job.epochs()) {
      bool rows = false;
      for (const std::string& token : epoch.tokens) {
        for (const int64_t id : Ids(token)) {
          ASSERT_FALSE(seen[static_cast<size_t>(id)]) << "row " << id << " twice, seed " << seed;
          ASSERT_LT(id / kPartitions, epoch.next_row.at("generator-" + std::to_string(id % kPartitions)));
          seen[static_cast<size_t>(id)] = rows = true;
          ++count;
        }
      }
      with_rows += rows ? 1 : 0;
      int64_t expected = 0;
      for (const auto& [partition, next] : epoch.next_row) expected += next;
      ASSERT_EQ(count, expected) << "epoch " << number << ", seed " << seed;
    }
    ASSERT_EQ(count, kRows);
  }
  EXPECT_GT(stops, 200);     // else nothing was resumed
  EXPECT_GT(with_rows, 12);  // else no barrier came between the rows
}

TEST(Worker, ASeedReplaysTheSameOrder) {
  std::vector<std::vector<std::string>> runs;
  for (const uint64_t seed : {5, 5, 6}) {
    Splitting job(seed);
    ASSERT_NO_FATAL_FAILURE(job.run());
    runs.emplace_back();
    for (const auto& [number, epoch] : job.epochs()) {
      runs.back().insert(runs.back().end(), epoch.tokens.begin(), epoch.tokens.end());
    }
  }
  EXPECT_TRUE(runs[0] == runs[1]);
  EXPECT_FALSE(runs[0] == runs[2]);
}

}  // namespace
}  // namespace frazil
