#include "run/stage.h"

#include <arrow/table.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "base/check.h"
#include "base/limits.h"
#include "connector/registry.h"
#include "operator/failed_rows.h"
#include "operator/join/lookup.h"
#include "plan/build.h"
#include "plan/in_step.h"

namespace frazil {
namespace {

// Few rows at a time are given where some had to be saved before they changed: those are put together.
Result<StateRows> Together(const StateRows& rows) {
  StateRows made, some;
  int64_t count = 0;
  const auto put = [&]() -> Status {
    if (some.size() == 1) made.push_back(some.front());
    if (some.size() > 1) {
      FZ_ASSIGN(const auto table, arrow::Table::FromRecordBatches(some));
      FZ_ASSIGN(auto batch, table->CombineChunksToBatch(arrow::system_memory_pool()));
      made.push_back(std::move(batch));
    }
    some.clear();
    count = 0;
    return Status::OK();
  };
  for (const auto& batch : rows) {
    if (count + batch->num_rows() > limits::kBatchRows) FZ_TRY(put());
    count += batch->num_rows();
    some.push_back(batch);
  }
  FZ_TRY(put());
  return made;
}

// Any thread.
Result<std::shared_ptr<arrow::Buffer>> WriteState(const StateFileHeader& header, const StateRows& rows) {
  FZ_ASSIGN(const StateRows batches, Together(rows));
  FZ_ASSIGN(auto written,
            WriteStateFile(header, batches.front()->schema(), batches, arrow::system_memory_pool()));
  return std::move(written.bytes);
}

// The account of a step in which rows may fail; null if it is none.
FailedRows* FailedOf(Operator* op) {
  const auto* step = dynamic_cast<const FailingStep*>(op);
  return step == nullptr ? nullptr : step->failed();
}

// Whether a partition of a source, by ordinal, is known to have rows that were not read.
std::function<bool(int)> Behind(const StageNode& source) {
  return [task = source.source()](int ordinal) { return task->behind(ordinal); };
}

}  // namespace

Result<std::unique_ptr<Stage>> Stage::Make(const Plan& plan, const StagePlan& cut, int number,
                                           const WorkerContext& context) {
  auto stage = std::make_unique<Stage>(number, context);
  stage->by_plan_node_.resize(plan.nodes.size(), nullptr);
  FZ_ASSIGN(stage->schemas_, NodeSchemas(plan));
  for (size_t n = 0; n < plan.nodes.size(); ++n) {
    if (cut.stage_of[n] == number) FZ_TRY(stage->add_node(plan, static_cast<int>(n)));
  }
  for (const Edge& edge : cut.edges) {
    if (edge.kind == EdgeKind::kFused && cut.stage_of[static_cast<size_t>(edge.from)] == number) {
      stage->node(edge.from)->feed(stage->node(edge.to), edge.port, edge.aside);
    }
  }
  return stage;
}

Status Stage::add_node(const Plan& plan, int number) {
  const PlanNode& planned = plan.nodes[static_cast<size_t>(number)];
  auto node = std::make_unique<StageNode>(&planned);
  switch (planned.kind) {
    case NodeKind::kSource: {
      Waker* waker = context_.waker;
      FZ_ASSIGN(auto source, SourceTask::Make(
                                 planned, context_.decode_pool, context_.bounded, [waker] { waker->wake(); },
                                 context_.schemas));
      source->begin(context_.first_epoch);
      if (FeedsFunction(plan, number)) source->note_positions();
      node->set(std::move(source));
      sources_.push_back(node.get());
      source_numbers_.push_back(number);
      source_ended_.push_back(false);
      break;
    }
    case NodeKind::kSink: {
      SinkContext sinks{context_.worker, context_.sink_pool, context_.io,
                        context_.kept(), context_.workers,   {},
                        context_.deletes};
      sinks.want_table = [want = context_.want_table, id = planned.id](const std::string& table,
                                                                       const nlohmann::json& columns) {
        if (want) want(id, table, columns);
      };
      FZ_ASSIGN(auto sink, MakeSink(planned.spec, sinks));
      sink->begin(context_.first_epoch);
      node->set(std::move(sink));
      break;
    }
    case NodeKind::kExchange: {
      FZ_ASSIGN(auto keys, ParseExchangeKeys(planned.spec));
      node->set_keys(std::move(keys), planned.spec.value("hashed", false), context_.operator_pool);
      break;
    }
    case NodeKind::kUnion:
      break;
    case NodeKind::kEventTime:
      FZ_TRY(add_event_time(plan, planned, node.get()));
      times_.back().group = GroupsInStep(plan)[static_cast<size_t>(number)];
      break;
    default:
      FZ_TRY(add_operator(plan, planned, node.get()));
  }
  by_plan_node_[static_cast<size_t>(number)] = node.get();
  nodes_.push_back(std::move(node));
  return Status::OK();
}

Status Stage::add_operator(const Plan& plan, const PlanNode& planned, StageNode* node) {
  FZ_ASSIGN(auto op, MakeOperator(planned, InputSchemas(plan, planned, schemas_),
                                  OperatorContext{context_.operator_pool, context_.functions,
                                                  context_.partitions, context_.kept(), context_.clock}));
  if (FailedRows* failed = FailedOf(op.get()); failed != nullptr) {
    std::map<int32_t, std::string> sources;
    for (size_t n = 0; n < plan.nodes.size(); ++n) {
      if (plan.nodes[n].kind == NodeKind::kSource)
        sources[static_cast<int32_t>(n)] = OriginName(plan.nodes[n]);
    }
    failed->name_sources(std::move(sources));
    failed->begin(context_.first_epoch);
  }
  node->set(std::move(op));
  return Status::OK();
}

// Rows whose time is null go where the source's bad rows go.
Status Stage::add_event_time(const Plan& plan, const PlanNode& planned, StageNode* node) {
  int at = planned.inputs.front().node;
  while (plan.nodes[static_cast<size_t>(at)].kind != NodeKind::kSource) {
    const auto& inputs = plan.nodes[static_cast<size_t>(at)].inputs;
    if (inputs.size() != 1 || plan.nodes[static_cast<size_t>(at)].kind == NodeKind::kExchange) {
      return Error(ErrorKind::kConfig,
                   "node " + planned.id + ": event time is given to the rows of one source");
    }
    at = inputs.front().node;
  }
  StageNode* source = this->node(at);
  source->source()->note_positions();
  const auto& schema = schemas_[static_cast<size_t>(planned.inputs.front().node)];
  FZ_ASSIGN(auto time, EventTime::Make(planned.spec, *schema, context_.operator_pool,
                                       [source](const std::vector<RejectedRow>& rows) -> Status {
                                         FZ_ASSIGN(Batch batch, source->source()->reject(rows));
                                         return source->aside()->push(std::move(batch));
                                       }));
  times_.push_back({source, node, time.get()});
  node->set(std::move(time));
  return Status::OK();
}

void Stage::finish_wiring() {
  for (const auto& node : nodes_) {
    if (node->op() != nullptr) node->op()->set_aside(node->aside());
    node->finish_wiring();
    if (node->ticks()) ticking_.push_back(node.get());
    outgoing_.insert(outgoing_.end(), node->all_channels().begin(), node->all_channels().end());
  }
}

bool Stage::has_credit() const {
  for (const auto& node : nodes_) {
    if (node->sink() != nullptr && node->sink()->full()) return false;
  }
  return std::all_of(outgoing_.begin(), outgoing_.end(), [](const Channel* c) { return c->has_credit(); });
}

bool Stage::unfinished() const {
  return std::any_of(nodes_.begin(), nodes_.end(), [](const auto& node) { return node->unfinished(); });
}

Status Stage::resume() {
  for (auto node = nodes_.rbegin(); node != nodes_.rend(); ++node) {  // last first: it makes room
    if ((*node)->unfinished()) return (*node)->resume();
  }
  return Status::OK();
}

bool Stage::can_receive(int inbound) const {
  const Inbound& in = inbound_[static_cast<size_t>(inbound)];
  return !in.blocked && !in.channel->empty();
}

Status Stage::receive(int inbound) {
  Inbound& in = inbound_[static_cast<size_t>(inbound)];
  auto frame = in.channel->receive();
  FZ_CHECK(frame.has_value());
  switch (frame->kind) {
    case FrameKind::kBatch:
      FZ_CHECK(!in.ended);
      return in.to->process(in.port, std::move(frame->batch));
    case FrameKind::kWatermark:
      return in.to->advance(in.sender, frame->watermark);
    case FrameKind::kBarrier:
      FZ_CHECK(aligning_ == 0 || aligning_ == frame->epoch);
      aligning_ = frame->epoch;
      in.blocked = true;
      return Status::OK();
    case FrameKind::kEnd:
      in.ended = true;
      return Status::OK();
  }
  return Status::OK();
}

Timestamp Stage::next_tick() const {
  Timestamp next = kWatermarkMax;
  for (const StageNode* node : ticking_) next = std::min(next, node->next_tick());
  return end_sent_ ? kWatermarkMax : next;
}

Status Stage::tick(Timestamp now) {
  for (StageNode* node : ticking_) {
    if (node->next_tick() <= now) FZ_TRY(node->tick(now));
  }
  return Status::OK();
}

Timestamp Stage::opens_at() const {
  Timestamp at = kWatermarkMax;
  for (const StageNode* node : sources_) at = std::min(at, node->source()->opens_at());
  return at;
}

void Stage::use(const Dimensions& lookups) {
  for (const auto& [node, table] : lookups) {
    if (auto* join = dynamic_cast<LookupJoin*>(find_operator(node))) join->use(table);
  }
}

void Stage::start_barrier(Epoch epoch, std::set<std::string> full, Dimensions lookups) {
  full_ = std::move(full);
  lookups_ = std::move(lookups);
  if (sources_.empty()) return;
  aligning_ = epoch;
  control_barrier_ = true;
}

Result<bool> Stage::cut(EpochPart* part) {
  if (aligning_ == 0 || unfinished() || (!sources_.empty() && !control_barrier_)) return false;
  for (const Inbound& in : inbound_) {
    if (!in.blocked) return false;
  }
  const Epoch epoch = aligning_;
  part->worker = context_.worker;
  part->stage = number_;
  part->epoch = epoch;
  for (const auto& node : nodes_) {
    if (node->source() != nullptr) {
      part->sources[node->plan().id] = node->source()->state();
      node->source()->begin(epoch + 1);
    }
    FZ_TRY(take_state(*node, part));
    if (FailedRows* failed = FailedOf(node->op()); failed != nullptr) {
      const FailedRows::Counts counts = failed->counts();
      part->steps[node->plan().id] = {counts.given, counts.good, counts.failed, failed->example()};
      failed->begin(epoch + 1);
    }
    if (RefusesLateRows(node->plan().kind)) part->late[node->plan().id] = node->op()->late_rows();
    if (node->sink() != nullptr) {
      part->tokens.push_back({node->plan().id, node->sink()->prepare(epoch)});
      node->sink()->begin(epoch + 1);
    }
  }
  for (const Timed& timed : times_) {
    for (const auto& [partition, frontier] : timed.time->frontiers()) {
      part->frontiers[timed.node->plan().id][partition] = frontier;
    }
  }
  for (Channel* channel : outgoing_) channel->send_barrier(epoch);
  for (Inbound& in : inbound_) in.blocked = false;
  aligning_ = 0;
  control_barrier_ = false;
  use(std::exchange(lookups_, {}));
  return true;
}

// What it is is fixed here; it is given by save(), between batches, and compressed on the I/O pool.
Status Stage::take_state(const StageNode& node, EpochPart* part) {
  if (!node.stateful()) return Status::OK();
  Saving saving;
  saving.node = &node;
  saving.header.operator_id = node.plan().id;
  saving.header.worker = context_.worker;
  saving.header.epoch = part->epoch;
  saving.header.full = full_.contains(node.plan().id);
  saving.made = arrow::Future<>::MakeFinished();
  if (auto status = node.freeze(saving.header.full); !status.ok()) {
    return Prefixed(status, "saving the state of " + node.plan().name);
  }
  FZ_ASSIGN(const bool whole, save_some(&saving));
  if (whole && saving.files == 0 && !saving.header.full) return Status::OK();  // nothing changed
  saving.done = arrow::Future<>::Make();
  part->states.push_back({node.plan().id, saving.header.full, saving.done});
  if (whole) {
    finish(&saving);
  } else {
    saving_.push_back(std::move(saving));
  }
  return Status::OK();
}

Status Stage::save() {
  FZ_ASSIGN(const bool whole, save_some(&saving_.front()));
  if (!whole) return Status::OK();
  Saving saving = std::move(saving_.front());
  saving_.pop_front();
  finish(&saving);
  return Status::OK();
}

// A slice of the state, and a file of the rows if they are enough for one; true if it was the last.
Result<bool> Stage::save_some(Saving* saving) {
  StateRows rows;
  auto whole = saving->node->save(context_.save_rows, &rows);
  if (!whole.ok()) return Prefixed(whole.status(), "saving the state of " + saving->node->plan().name);
  for (auto& batch : rows) {
    // A file has rows of one schema.
    if (!saving->rows.empty() && !saving->rows.back()->schema()->Equals(*batch->schema()))
      FZ_TRY(write(saving));
    saving->bytes += BatchBytes(Batch{batch, {}, nullptr});
    saving->rows.push_back(std::move(batch));
  }
  const int64_t bytes_max = context_.untaken == nullptr
                                ? limits::kStateFileBytes
                                : std::min(limits::kStateFileBytes, context_.untaken->file_bytes_max());
  if (!saving->rows.empty() && (*whole || saving->bytes >= bytes_max)) FZ_TRY(write(saving));
  return *whole;
}

// The file is made on the I/O pool, and given when those before it are.
Status Stage::write(Saving* saving) {
  const int64_t bytes = std::exchange(saving->bytes, 0);
  UntakenState* untaken = context_.untaken;
  if (untaken != nullptr) untaken->add(bytes);
  const auto make = [untaken, bytes, header = saving->header,
                     rows = std::exchange(saving->rows, {})]() -> Result<std::shared_ptr<arrow::Buffer>> {
    auto file = WriteState(header, rows);
    if (untaken != nullptr) untaken->add((file.ok() ? (*file)->size() : 0) - bytes);
    return file;
  };
  auto file = arrow::Future<std::shared_ptr<arrow::Buffer>>();
  if (context_.io == nullptr) {
    file = arrow::Future<std::shared_ptr<arrow::Buffer>>::MakeFinished(make());
  } else {
    FZ_ASSIGN(file, context_.io->Submit(make));
  }
  ++saving->files;
  saving->made = saving->made.Then([file] { return file; })
                     .Then([give = context_.state_made,
                            header = saving->header](const std::shared_ptr<arrow::Buffer>& bytes_of) {
                       give(header.operator_id, header.full, bytes_of);
                     });
  return Status::OK();
}

// When the files are given, the epoch has them.
void Stage::finish(Saving* saving) {
  saving->made.AddCallback(
      [done = saving->done](const Status& status) mutable { done.MarkFinished(status); });
}

Result<Poll::Kind> Stage::poll(int source, const Budget& budget) {
  StageNode* node = sources_[static_cast<size_t>(source)];
  Budget aligned = budget;
  const std::vector<int32_t> held = too_far_ahead(*node);
  if (!held.empty()) aligned.held = held;
  FZ_ASSIGN(SourceTask::Step step, node->source()->poll(aligned));
  step.rows.origin.source = source_numbers_[static_cast<size_t>(source)];
  FZ_TRY(node->push(std::move(step.rows)));
  FZ_TRY(node->aside()->push(std::move(step.rejected)));
  for (const Timed& timed : times_) {
    if (context_.workers > 1 && timed.source == node) timed.time->note_least(Behind(*node));
  }
  if (step.kind == Poll::Kind::kEnd) {
    source_ended_[static_cast<size_t>(source)] = true;
    if (context_.close_windows) FZ_TRY(close_times(*node));
  }
  return step.kind;
}

// Ordinals of a source's partitions that are to wait for others, of this source or of one that it is joined
// with.
std::vector<int32_t> Stage::too_far_ahead(const StageNode& source) const {
  const auto found =
      std::find_if(times_.begin(), times_.end(), [&](const Timed& timed) { return timed.source == &source; });
  if (found == times_.end()) return {};
  Timestamp others = kWatermarkMax;
  for (const Timed& timed : times_) {
    if (timed.source == &source || timed.group != found->group) continue;
    others = std::min(others, timed.time->least_frontier(Behind(*timed.source)));
  }
  return found->time->too_far_ahead(Behind(source), others);
}

// The rows of a source have come to their end for ever.
Status Stage::close_times(const StageNode& source) {
  for (const Timed& timed : times_) {
    if (timed.source == &source) timed.time->close();
  }
  return forward_times();
}

Result<bool> Stage::rest(int64_t now, Timestamp others) {
  bool raised = false;
  for (const Timed& timed : times_) {
    raised |= timed.time->rest(now, others, Behind(*timed.source));
  }
  if (raised) FZ_TRY(forward_times());
  return raised;
}

Status Stage::end_sources(const std::set<std::string>& ended) {
  for (StageNode* source : sources_) source->source()->release(ended);
  for (const Timed& timed : times_) {
    if (ended.contains(timed.source->plan().id)) timed.time->end();
    if (!timed.source->source()->waits()) timed.time->release();
  }
  return forward_times();
}

void Stage::note_elsewhere(const std::map<int, Timestamp>& least) {
  for (const Timed& timed : times_) {
    const auto told = least.find(timed.group);
    if (told != least.end()) timed.time->note_elsewhere(told->second);
  }
}

Status Stage::raise_floors(const std::map<std::string, Timestamp>& floors) {
  bool raised = false;
  for (const Timed& timed : times_) {
    const auto told = floors.find(timed.node->plan().id);
    if (told != floors.end()) raised |= timed.time->raise_floor(told->second);
  }
  return raised ? forward_times() : Status::OK();
}

Status Stage::forward_times() {
  for (const Timed& timed : times_) FZ_TRY(timed.node->forward());
  return Status::OK();
}

std::vector<Stage::Timed> Stage::times(const std::string& source) const {
  std::vector<Timed> found;
  for (const Timed& timed : times_) {
    if (timed.source->plan().id == source) found.push_back(timed);
  }
  return found;
}

Status Stage::restore(const std::string& node, const std::shared_ptr<arrow::RecordBatch>& rows) const {
  for (const auto& each : nodes_) {
    if (each->plan().id == node && each->stateful()) FZ_TRY(each->restore(rows));
  }
  return Status::OK();
}

Operator* Stage::find_operator(const std::string& id) const {
  for (const auto& node : nodes_) {
    if (node->plan().id == id) return node->op();
  }
  return nullptr;
}

SourceTask* Stage::source(const std::string& id) const {
  for (StageNode* node : sources_) {
    if (node->plan().id == id) return node->source();
  }
  return nullptr;
}

void Stage::rouse(const std::string& source) {
  for (size_t i = 0; i < sources_.size(); ++i) {
    if (sources_[i]->plan().id == source) source_ended_[i] = false;
  }
}

// What is due by the clock is done before the end; what is due later is for the next run.
Result<bool> Stage::end_if_drained() {
  if (end_sent_ || aligning() || unfinished()) return false;
  if (std::find(source_ended_.begin(), source_ended_.end(), false) != source_ended_.end()) return false;
  for (const Inbound& in : inbound_) {
    if (!in.ended) return false;
  }
  if (!ticking_.empty() && !end_ticked_) {
    if (!has_credit()) return false;
    const Timestamp now = context_.clock->now();
    const bool due = next_tick() <= now;
    FZ_TRY(tick(now));
    end_ticked_ = true;
    if (due) return true;
  }
  end_sent_ = true;
  for (Channel* channel : outgoing_) channel->send_end();
  return false;
}

}  // namespace frazil
