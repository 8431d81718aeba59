#include "run/stage.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "connector/registry.h"
#include "plan/build.h"

namespace frazil {

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
      stage->node(edge.from)->feed(stage->node(edge.to), edge.rejected);
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
      FZ_ASSIGN(auto source, SourceTask::Make(planned, context_.decode_pool, context_.bounded,
                                              [waker] { waker->wake(); }));
      node->set(std::move(source));
      sources_.push_back(node.get());
      source_ended_.push_back(false);
      break;
    }
    case NodeKind::kSink: {
      FZ_ASSIGN(auto sink,
                MakeSink(planned.spec, SinkContext{context_.worker, context_.sink_pool, context_.io}));
      sink->begin(context_.first_epoch);
      node->set(std::move(sink));
      break;
    }
    case NodeKind::kExchange: {
      FZ_ASSIGN(auto keys, ParseExchangeKeys(planned.spec));
      node->set_keys(std::move(keys), context_.operator_pool);
      break;
    }
    case NodeKind::kUnion:
      break;
    default: {
      const PortRef input = planned.inputs.front();
      const auto& schema = input.rejected ? RejectedSchema() : schemas_[static_cast<size_t>(input.node)];
      FZ_ASSIGN(auto op,
                MakeOperator(planned, schema, OperatorContext{context_.operator_pool, context_.functions}));
      node->set(std::move(op));
    }
  }
  by_plan_node_[static_cast<size_t>(number)] = node.get();
  nodes_.push_back(std::move(node));
  return Status::OK();
}

void Stage::finish_wiring() {
  for (const auto& node : nodes_) {
    node->finish_wiring();
    outgoing_.insert(outgoing_.end(), node->all_channels().begin(), node->all_channels().end());
  }
}

bool Stage::has_credit() const {
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
      return in.to->process(std::move(frame->batch));
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

void Stage::start_barrier(Epoch epoch) {
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
    if (node->source() != nullptr) part->sources[node->plan().id] = node->source()->state();
    if (node->sink() != nullptr) {
      part->tokens.push_back({node->plan().id, node->sink()->prepare(epoch)});
      node->sink()->begin(epoch + 1);
    }
  }
  for (Channel* channel : outgoing_) channel->send_barrier(epoch);
  for (Inbound& in : inbound_) in.blocked = false;
  aligning_ = 0;
  control_barrier_ = false;
  return true;
}

Result<Poll::Kind> Stage::poll(int source, const Budget& budget) {
  StageNode* node = sources_[static_cast<size_t>(source)];
  FZ_ASSIGN(SourceTask::Step step, node->source()->poll(budget));
  if (step.kind == Poll::Kind::kEnd) source_ended_[static_cast<size_t>(source)] = true;
  FZ_TRY(node->push(std::move(step.rows)));
  FZ_TRY(node->push_rejected(step.rejected));
  return step.kind;
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

Status Stage::end_if_drained() {
  if (end_sent_ || aligning() || unfinished()) return Status::OK();
  if (std::find(source_ended_.begin(), source_ended_.end(), false) != source_ended_.end())
    return Status::OK();
  for (const Inbound& in : inbound_) {
    if (!in.ended) return Status::OK();
  }
  end_sent_ = true;
  for (Channel* channel : outgoing_) channel->send_end();
  return Status::OK();
}

}  // namespace frazil
