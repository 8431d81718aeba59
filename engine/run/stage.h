#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "operator/join/dimension.h"
#include "operator/time/event_time.h"
#include "plan/stages.h"
#include "run/epoch_part.h"
#include "run/stage_node.h"
#include "run/worker_context.h"
#include "state/snapshot_file.h"

namespace frazil {

// One replica of a stage in one worker: its nodes, the channels into it, the alignment of barriers. The
// worker's thread only.
class Stage {
 public:
  static Result<std::unique_ptr<Stage>> Make(const Plan& plan, const StagePlan& cut, int number,
                                             const WorkerContext& context);
  // Not for use; see Make.
  Stage(int number, const WorkerContext& context) : number_(number), context_(context) {}

  // Wiring, before the run.
  StageNode* node(int plan_node) const { return by_plan_node_[static_cast<size_t>(plan_node)]; }
  void receive_from(Channel* channel, int plan_node, int port) {
    inbound_.push_back({channel, node(plan_node), port, node(plan_node)->add_sender(port)});
  }
  void finish_wiring();

  // True if every outgoing channel has credit and no sink is full: only then the stage is given input.
  bool has_credit() const;
  // True if an operator has more to emit: only resume() until it has not.
  bool unfinished() const;
  Status resume();

  int inbound_count() const { return static_cast<int>(inbound_.size()); }
  // True if a frame waits in this channel and may be taken (a channel is blocked while a barrier aligns).
  bool can_receive(int inbound) const;
  Status receive(int inbound);

  // When an operator has something to do by the machine's clock; kWatermarkMax if none has, or the input has
  // ended.
  Timestamp next_tick() const;
  // Has those do it that have.
  Status tick(Timestamp now);
  // When a source has rows that it keeps until then (Source::opens_at).
  Timestamp opens_at() const;

  // The control thread's barrier: sources give no row until the epoch is cut here. Stages without sources
  // ignore it.
  // Operators in `full` write all of their state, the others what changed. Rows behind the barrier are looked
  // up in `lookups`, where these have a table for the step.
  void start_barrier(Epoch epoch, std::set<std::string> full = {}, Dimensions lookups = {});
  // True while a barrier is under way here.
  bool aligning() const { return aligning_ != 0; }
  // Cuts the epoch once every input has delivered its barrier and nothing is unfinished. Gives true and fills
  // `part` when it has.
  Result<bool> cut(EpochPart* part);

  // True while operators have state to be saved for an epoch that was cut.
  bool saving() const { return !saving_.empty(); }
  // Saves some of it.
  Status save();

  int source_count() const { return static_cast<int>(sources_.size()); }
  bool can_poll(int source) const { return !aligning() && !source_ended_[static_cast<size_t>(source)]; }
  // Polls a source; tells whether it gave rows.
  Result<Poll::Kind> poll(int source, const Budget& budget);
  SourceTask* source(const std::string& id) const;
  void rouse(const std::string& source);  // partitions were added: it is not at its end
  // An operator that gives the rows of a source their event time.
  struct Timed {
    StageNode* source = nullptr;
    StageNode* node = nullptr;
    EventTime* time = nullptr;
    int group = 0;  // of sources that are read in step
  };
  std::vector<Timed> times(const std::string& source) const;
  // Tells consumers what those promise now.
  Status forward_times();
  const std::vector<Timed>& times() const { return times_; }
  // These sources have been read to their end for ever; those that waited for them are read now.
  Status end_sources(const std::set<std::string>& ended);
  // How far those have come that event_time nodes wait for, by node.
  Status raise_floors(const std::map<std::string, Timestamp>& floors);
  // The least frontiers of other workers, by group of sources that are read in step.
  void note_elsewhere(const std::map<int, Timestamp>& least);
  // Has those look which partitions rest (EventTime::rest); true if that has brought time forward.
  Result<bool> rest(int64_t now, Timestamp others);

  // True once no batch can come out of it any more.
  bool ended() const { return end_sent_; }
  // True if operators had something to do before it.
  Result<bool> end_if_drained();

  const std::vector<std::unique_ptr<StageNode>>& nodes() const { return nodes_; }
  // Gives lookup steps their tables: before the first batch, and when an epoch has been cut.
  void use(const Dimensions& lookups);
  // Gives a node rows of its state, if it is in this stage.
  Status restore(const std::string& node, const std::shared_ptr<arrow::RecordBatch>& rows) const;
  // The operator of a node, by id; null if it is not in this stage or has none.
  Operator* find_operator(const std::string& id) const;

 private:
  struct Inbound {
    Channel* channel = nullptr;
    StageNode* to = nullptr;
    int port = 0;
    int sender = 0;        // of `to`
    bool blocked = false;  // has delivered the barrier that is aligning
    bool ended = false;
  };

  Status add_node(const Plan& plan, int number);
  Status add_operator(const Plan& plan, const PlanNode& planned, StageNode* node);
  Status add_event_time(const Plan& plan, const PlanNode& planned, StageNode* node);
  std::vector<int32_t> too_far_ahead(const StageNode& source) const;
  Status close_times(const StageNode& source);
  // An operator whose state at a barrier is being saved: rows that are in no file yet, and the files.
  struct Saving {
    const StageNode* node = nullptr;
    StateFileHeader header;
    StateRows rows;
    int64_t bytes = 0;  // of them
    int64_t files = 0;
    arrow::Future<> made;  // all files so far, given in their order
    arrow::Future<> done;
  };

  Status take_state(const StageNode& node, EpochPart* part);
  Result<bool> save_some(Saving* saving);
  Status write(Saving* saving);
  static void finish(Saving* saving);

  const int number_;
  const WorkerContext& context_;
  std::vector<std::unique_ptr<StageNode>> nodes_;  // topological
  std::vector<StageNode*> by_plan_node_;           // null for nodes of other stages
  std::vector<std::shared_ptr<arrow::Schema>> schemas_;
  std::vector<StageNode*> sources_;
  std::vector<int> source_numbers_;  // their nodes of the plan
  std::vector<Timed> times_;
  std::set<std::string> full_;  // operators that write all of their state at the barrier that is under way
  Dimensions lookups_;          // for the rows behind it
  std::vector<bool> source_ended_;
  std::vector<Inbound> inbound_;
  std::vector<Channel*> outgoing_;
  std::vector<StageNode*> ticking_;  // with operators that tick
  Epoch aligning_ = 0;
  bool control_barrier_ = false;
  bool end_ticked_ = false;
  bool end_sent_ = false;
  std::deque<Saving> saving_;
};

}  // namespace frazil
