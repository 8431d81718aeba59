#pragma once

#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "connector/source.h"
#include "format/schema_board.h"
#include "operator/batch_function.h"
#include "plan/plan.h"
#include "plan/stages.h"
#include "run/channel.h"
#include "run/state_restore.h"
#include "run/time_teller.h"
#include "run/worker.h"

namespace frazil {

struct JobOptions {
  int workers = 1;
  int32_t attempt = 0;
  Epoch first_epoch = 1;
  bool bounded = false;        // sources end at the positions given by assign()
  bool close_windows = false;  // their end is the end of event time: every window closes
  int64_t memory_bytes = 0;    // limit of all workers together
  std::string spill_folder;    // where state goes that is more than that
  int64_t spill_bytes = 0;     // up to so many there; 0: nowhere
  int64_t channel_bytes = 0;   // credit of one channel
  int64_t epoch_deletes = 0;   // rows an epoch may take away before sources rest until its end; 0: any
  bool simulated = false;      // no threads: wait() steps the workers in an order drawn from `seed`
  uint64_t seed = 0;
  // Simulated: what the clock of the machine says; it stands still while there is work, and jumps to what is
  // next when there is none.
  Timestamp clock_us = 0;
};

// A plan at work in this process. The control thread (one at a time) calls everything here; workers answer by
// events. What happens, in order: discover, assign, start, then barriers, and events until stop. The first
// failure stops all workers and is the last event. Destroying a job stops it.
class Job {
 public:
  static Result<std::unique_ptr<Job>> Make(const std::string& plan_json, const JobOptions& options,
                                           FunctionTable functions);
  ~Job();

  // The partitions of these sources now, by source id: {"source": [{"name","start","end"}]}; one that the
  // plan calls "history" has ends always. `known` are those that the checkpoint has, {"source": {"name":
  // position}}: others are new since then and start at their first row.
  Result<nlohmann::json> discover(bool bounded, const nlohmann::json& known,
                                  const std::set<std::string>& sources);

  // Gives an operator state that an earlier job wrote, each worker the keys it has: files in the order they
  // were written. Before start(). An error names what is wrong with the file.
  Status restore(const std::string& node, std::shared_ptr<arrow::Buffer> file);
  // Waits until operators have it. An error is that of the oldest file with one.
  Status restored() {
    return restore_ == nullptr ? Status::OK() : std::exchange(restore_, nullptr)->finish();
  }

  // Hands partitions to workers: {"source":
  // [{"ordinal","name","position","end","worker","frontiers":{event_time node: us}?}]}. Before start(), and
  // later for partitions that came since. A source that has a worker by then gives new ones to workers that
  // read some of its partitions already.
  Status assign(const nlohmann::json& partitions);
  // Announces partitions that are going to be assigned: from now on they hold the watermark where it stands.
  // The next epoch has their frontiers.
  Status expect(const nlohmann::json& partitions);

  // Takes the rows of a lookup table, by the name it has in the plan, with all columns that steps need of it,
  // and makes their indexes. Any thread; the flow goes on. Used from start(), or from the barrier that names
  // it. Gives {"rows","bytes"}; errors as Dimension::Make.
  Result<nlohmann::json> load(const std::string& lookup, const std::shared_ptr<arrow::Schema>& schema,
                              const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches);

  // Every lookup table is loaded by then.
  Status start();

  // Cuts an epoch: answered by the event "epoch". One at a time; numbers grow by one. Operators in `full`
  // write all of their state, the others what changed since the last epoch. Rows behind the barrier are
  // looked up in what was loaded last of `lookups`.
  Status barrier(Epoch epoch, std::set<std::string> full = {}, const std::set<std::string>& lookups = {});

  // State files of the epoch that is being cut or was answered last, each once. They are here since an event
  // "state" or that epoch's.
  struct StateFile {
    std::string node;
    int worker = 0;
    bool full = false;
    std::shared_ptr<arrow::Buffer> bytes;  // null: nothing is known (full only)
  };
  std::vector<StateFile> take_state();

  // Answers an event "table": that table of a sink is there, with what its writers have to know; or, with
  // null for that, why it cannot be opened for now.
  void tell_table(const std::string& sink, const std::string& table, const nlohmann::json& options,
                  const std::string& reason);

  // These sources have been read to their end, for ever: their event time is over, and sources that wait for
  // all of theirs ("after" in the plan) are read now, if they have been assigned.
  void end_sources(const std::set<std::string>& sources);

  // Tells sources what every table has: {"source": [{"name","position"}]}.
  void committed(const nlohmann::json& positions);

  // Has event_time nodes look which of their partitions rest: `now_us` is a steady clock, the caller's.
  // `others_us` is how far time has come where it moves, by "moving" of metrics(), or by "furthest" if it
  // moves nowhere; null if that is not known.
  void rest(int64_t now_us, std::optional<Timestamp> others_us);

  // Schemas of registries that rows wait for, by the registry's name and the id: told by an event "schemas".
  // Whoever fetches one gives it, or says what keeps the registry from answering. Any thread.
  std::vector<SchemaBoard::Key> take_wanted_schemas() { return schemas_.take_wanted(); }
  void give_schema(const std::string& registry, int32_t id, RegisteredSchema schema) {
    schemas_.give(registry, id, std::move(schema));
  }
  void note_registry(const std::string& registry, std::string trouble) {
    schemas_.note(registry, std::move(trouble));
  }

  // Waits up to `timeout` for events and gives them, oldest first; a simulated job does 1000 steps a second.
  // Kinds:
  //   {"kind":"epoch","epoch":n,"sources":{id:{"positions":{partition:position},"lag":{partition:n},"read","good",
  //    "rejected"}},"tokens":{sink id:[token,...]},
  //    "frontiers":{event_time node:{partition:us}},"late":{node:n},
  //    "steps":{node:[given,good,failed,example]},"seconds":s}
  //   {"kind":"state"}            there are state files to take
  //   {"kind":"schemas"}          there are wanted schemas to take
  //   {"kind":"table","sink":id,"table"}  rows have come for a table that is not open in some worker
  //   {"kind":"ended"}            every bounded source is exhausted and drained
  //   {"kind":"failed","error":kind,"name":exception,"message":text,"retryable":bool}
  std::vector<nlohmann::json> wait(double timeout_seconds);

  // What the clock says that operators go by. Any thread.
  Timestamp clock() const { return clock_->now(); }

  // Chunks read since the start. Unchanged since the last barrier: there is nothing to checkpoint.
  int64_t polled() const;

  // The epoch takes away so many rows that sources rest until barrier().
  bool full() const { return deletes_.full(); }

  // Rows by node, bytes by tag and in channels, lag by partition, conditions of sources. Of time and state,
  // where a node has any: "watermark" (us), "late", "state_bytes"; of an event_time node also "frontiers" by
  // partition (us, null without a row), how many "partitions", "least" and "most", who it is "held_by", which
  // partitions are "resting", the watermark without them, "moving", and of the one that has come furthest,
  // "furthest" (us; null if it is not known, or none moves). One whose source is over has only "ended", one
  // that waits for others "waits". A source that has come to its end is "at_end".
  nlohmann::json metrics() const;

  // Stops and joins the workers; uncommitted work is dropped. Idempotent.
  void stop();

 private:
  struct EpochState {
    Epoch epoch = 0;
    int parts = 0;          // answers of stage replicas still to come
    int pending = 0;        // tokens and state files still to come
    nlohmann::json answer;  // the event in the making
    std::chrono::steady_clock::time_point since;
  };

  Job(Plan plan, const JobOptions& options, FunctionTable functions);
  Status open();
  void wire();
  void wire(const Edge& edge);
  Channel* make_channel(int edge, int from, int to);
  static Result<bool> step(Worker* worker, std::mt19937_64* random);
  void run(Worker* worker);
  void simulate(int64_t steps);
  void jump();
  void cut(EpochPart part);
  void token_ready(const std::string& sink, const Result<Token>& token);
  void state_made(StateFile file);
  void schemas_wanted();
  void want_table(const std::string& sink, const std::string& table, const nlohmann::json& columns);
  void state_ready(int worker, const EpochPart::PendingState& state, const Status& status);
  Result<std::vector<Control>> controls(const nlohmann::json& partitions, Control::Kind kind) const;
  int number_of(const std::string& node) const;
  std::vector<const PlanNode*> lookup_nodes(const std::string& lookup) const;
  void answer_if_whole();
  void fail(const Status& status);
  void note_ended();

  const Plan plan_;
  const StagePlan stage_plan_;
  const JobOptions options_;
  const FunctionTable functions_;
  PartitionNames partitions_;
  std::map<std::string, std::set<size_t>> readers_;  // workers that read partitions of a source
  UntakenState untaken_;
  EpochDeletes deletes_;
  SchemaBoard schemas_;
  std::vector<StateFile> ready_state_;
  bool state_told_ = false;  // there was an event since it was taken
  Dimensions loaded_;        // lookup tables that are not in use yet
  std::shared_ptr<arrow::internal::ThreadPool> io_;
  std::vector<std::pair<std::string, std::unique_ptr<Enumerator>>> enumerators_;
  std::unique_ptr<Clock> clock_;
  ManualClock* simulated_clock_ = nullptr;  // the same, if it is one
  std::unique_ptr<SpillSpace> spill_;       // null: state has to fit into memory
  std::vector<std::unique_ptr<Worker>> workers_;
  std::unique_ptr<StateRestore> restore_;  // while state is being restored
  std::vector<std::unique_ptr<Channel>> channels_;
  std::vector<std::thread> threads_;
  std::unique_ptr<TimeTeller> teller_;
  std::mt19937_64 random_;
  int resting_ = 0;  // steps without work in a row; simulated
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<nlohmann::json> events_;
  EpochState epoch_;
  nlohmann::json last_lag_ = nlohmann::json::object();
  bool ended_said_ = false;
  bool failed_ = false;
};

}  // namespace frazil
