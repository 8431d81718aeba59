#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "base/memory.h"
#include "plan/stages.h"
#include "run/stage.h"
#include "run/worker_context.h"
#include "state/state_pool.h"

namespace frazil {

// What the control thread tells a worker.
struct Control {
  enum class Kind { kBarrier, kExpect, kAssign, kCommitted, kRest, kEnded, kTimes, kTable };
  Kind kind = Kind::kBarrier;
  Epoch epoch = 0;
  std::set<std::string> full;      // kBarrier: operators that write all of their state
  Dimensions lookups;              // kBarrier: tables for the rows behind it
  std::vector<std::string> aside;  // kAssign: sources of which this worker reads nothing, and others do
  std::map<std::string, std::map<std::string, Timestamp>>
      frontiers;                                              // kAssign, by event_time node and partition
  std::map<std::string, std::vector<Assignment>> partitions;  // kExpect, kAssign, by source id
  std::map<std::string, std::vector<PartitionPosition>> positions;  // kCommitted, by source id
  int64_t now = 0;                                                  // kRest: a steady clock, us
  Timestamp others = kWatermarkMin;         // kRest: the promise of the partitions that do not rest
  std::set<std::string> ended;              // kEnded: sources read to their end for ever
  std::map<std::string, Timestamp> floors;  // kTimes: by event_time node that waits
  std::map<int, Timestamp> elsewhere;       // kTimes: least frontiers of other workers, by group in step
  std::string sink, table;                  // kTable: a table of a sink with many
  nlohmann::json table_options;             // kTable: null if it cannot be opened
  std::string reason;                       // kTable: why it cannot
};

// One thread's share of the job: a replica of every stage. step() does one bounded piece of work and never
// blocks; who calls it is the seam: a thread of its own, or a seeded simulator that calls all workers from
// one thread.
class Worker {
 public:
  struct Report {
    std::function<void(EpochPart)> epoch_cut;  // called by the worker's thread
    StateFileMade state_made;
  };

  // `limit_bytes` bounds what the worker's pools hold in memory; `spill` (or null) takes state beyond that,
  // and outlives the worker.
  Worker(int worker, int64_t limit_bytes, SpillSpace* spill);

  Status open(const Plan& plan, const StagePlan& cut, WorkerContext context, Report report);

  // Any thread.
  void tell(Control control);
  Waker* waker() { return &waker_; }
  const MemoryBudget& memory() const { return budget_; }
  std::vector<const AccountedPool*> pools() const {
    return {&decode_pool_, &operator_pool_, &state_pool_, &sink_pool_};
  }

  // Bytes of state that are not in memory.
  int64_t spilled_bytes() const { return state_pool_.spilled_bytes(); }

  // When there is something to do by the clock, if nothing comes before: a tick of an operator, or rows of a
  // source. kWatermarkMax: not at all for now. The thread that calls step().
  Timestamp wakes_at() const;

  // Does one piece of work; false if there was none to do now. With `random`, picks any that is possible;
  // without, the last stage first, which drains memory.
  Result<bool> step(std::mt19937_64* random);

  // Pieces of work so far but for control messages, which come all the time. The thread that calls step().
  int64_t moves() const { return moves_; }

  // True once every stage has ended: no batch will come out of this worker any more.
  bool ended() const { return ended_.load(); }
  // Chunks that gave rows since the start: tells whether a checkpoint would have anything new.
  int64_t polled() const { return polled_.load(); }
  // The longest step() so far, and the longest of those that cut an epoch or saved state for one: CPU time of
  // its thread, us. Any thread.
  int64_t longest_step() const { return longest_step_.load(std::memory_order_relaxed); }
  int64_t longest_epoch_step() const { return longest_epoch_step_.load(std::memory_order_relaxed); }

  // Wiring and metrics, any thread while the worker lives; stages do not change after open().
  const std::vector<std::unique_ptr<Stage>>& stages() const { return stages_; }

 private:
  enum class Work { kNone, kControl, kTick, kResume, kReceive, kPoll, kSave };
  struct Choice {
    Work work = Work::kNone;
    int stage = 0;
    int index = 0;
  };

  std::vector<Choice> choices();
  Result<bool> run(const Choice& choice);
  Result<bool> poll(const Choice& choice);
  Status handle(Control control);
  Status assign(const Control& control);
  Status tell_table(const Control& control);
  // One step, and whether it was for an epoch.
  Result<bool> work(std::mt19937_64* random, bool* for_epoch);
  Result<bool> cut_and_end();

  const int worker_;
  Waker waker_;
  MemoryBudget budget_;
  SpillSpace* const spill_;
  AccountedPool decode_pool_, operator_pool_, sink_pool_;
  StatePool state_pool_;
  WorkerContext context_;
  Report report_;
  std::vector<std::unique_ptr<Stage>> stages_;
  std::mutex controls_mutex_;
  std::deque<Control> controls_;
  // Round robin over a stage's sources and channels. Each turn is moved by its own kind of work: one for all
  // would always meet the same source when polling and receiving alternate.
  struct Turn {
    size_t poll = 0;
    size_t receive = 0;
  };
  std::vector<Turn> turns_;  // by stage
  int64_t moves_ = 0;
  bool save_next_ = false;  // pieces of work and of saving state take turns
  bool tick_next_ = true;   // what is due by the clock and other work as well
  const SystemClock machine_;
  std::atomic<bool> ended_{false};
  std::atomic<int64_t> polled_{0};
  std::atomic<int64_t> longest_step_{0}, longest_epoch_step_{0};
};

}  // namespace frazil
