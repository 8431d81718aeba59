#include "run/job.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <utility>

#include "base/limits.h"
#include "connector/registry.h"
#include "operator/join/lookup.h"
#include "run/time_metrics.h"

namespace frazil {
namespace {

// A worker without work looks again at sources that have no waker of their own (a paced generator) this
// often.
constexpr std::chrono::milliseconds kIdleLook{20};
// A simulated job has no clock: this many steps are a second.
constexpr double kSimulatedStepsPerSecond = 1000;

// Of the memory limit: pages of the spill space that stay in the memory of the process.
constexpr int64_t kSpillResidentShare = 2;

// How long a worker without work sleeps that has something to do at a time of the clock. What is due already
// cannot be done for want of credit, and who gives that wakes it.
std::chrono::milliseconds SleepUntil(Timestamp at, Timestamp now) {
  constexpr Timestamp kMillisecond = 1000;
  if (at <= now || at - now > kIdleLook.count() * kMillisecond) return kIdleLook;
  return std::chrono::milliseconds((at - now + kMillisecond - 1) / kMillisecond);
}

std::string Text(const nlohmann::json& position) {
  return position.is_string() ? position.get<std::string>() : position.dump();
}

}  // namespace

Result<std::unique_ptr<Job>> Job::Make(const std::string& plan_json, const JobOptions& options,
                                       FunctionTable functions) {
  if (options.workers < 1 || options.workers > limits::kWorkers) {
    return Error(ErrorKind::kConfig, "workers=" + std::to_string(options.workers) + ": from 1 to " +
                                         std::to_string(limits::kWorkers));
  }
  FZ_ASSIGN(Plan plan, ParsePlan(plan_json));
  std::unique_ptr<Job> job(new Job(std::move(plan), options, std::move(functions)));
  FZ_TRY(job->open());
  return job;
}

Job::Job(Plan plan, const JobOptions& options, FunctionTable functions)
    : plan_(std::move(plan)),
      stage_plan_(CutStages(plan_)),
      options_(options),
      functions_(std::move(functions)),
      untaken_(UntakenState::BytesMax(options.memory_bytes)),
      deletes_(options.epoch_deletes),
      schemas_([this] { schemas_wanted(); }),
      clock_(std::make_unique<SystemClock>()),
      random_(options.seed) {
  if (!options_.simulated) return;
  auto manual = std::make_unique<ManualClock>(options_.clock_us);
  simulated_clock_ = manual.get();
  clock_ = std::move(manual);
}

Job::~Job() { stop(); }

Status Job::open() {
  if (!options_.simulated) {
    FZ_ASSIGN(io_, arrow::internal::ThreadPool::Make(limits::kIoThreads));
  }
  for (const PlanNode& node : plan_.nodes) {
    if (node.kind != NodeKind::kSource) continue;
    FZ_ASSIGN(auto enumerator, MakeEnumerator(node.spec));
    enumerators_.emplace_back(node.id, std::move(enumerator));
    partitions_.add(number_of(node.id), -1, node.id);  // see PartitionHash
  }
  WorkerContext context;
  context.workers = options_.workers;
  context.attempt = options_.attempt;
  context.first_epoch = options_.first_epoch;
  context.bounded = options_.bounded;
  context.close_windows = options_.close_windows;
  context.partitions = &partitions_;
  context.io = io_.get();
  context.functions = &functions_;
  context.untaken = &untaken_;
  context.deletes = &deletes_;
  context.schemas = &schemas_;
  context.clock = clock_.get();
  context.want_table = [this](const std::string& sink, const std::string& table,
                              const nlohmann::json& columns) { want_table(sink, table, columns); };
  // So few that state is saved in many slices, with work drawn in between.
  if (options_.simulated) context.save_rows = 1 + static_cast<int64_t>(options_.seed % 7);
  if (options_.spill_bytes > 0) {
    spill_ = std::make_unique<SpillSpace>(SpillOptions{options_.spill_folder, options_.spill_bytes,
                                                       options_.memory_bytes / kSpillResidentShare});
  }
  for (int number = 0; number < options_.workers; ++number) {
    auto worker = std::make_unique<Worker>(number, options_.memory_bytes / options_.workers, spill_.get());
    const auto made = [this, number](const std::string& node, bool full, auto file) {
      state_made({node, number, full, std::move(file)});
    };
    FZ_TRY(
        worker->open(plan_, stage_plan_, context, {[this](EpochPart part) { cut(std::move(part)); }, made}));
    workers_.push_back(std::move(worker));
  }
  wire();
  std::vector<Worker*> workers;
  for (const auto& worker : workers_) workers.push_back(worker.get());
  teller_ = std::make_unique<TimeTeller>(plan_, std::move(workers));
  return Status::OK();
}

void Job::wire() {
  for (const Edge& edge : stage_plan_.edges) {
    if (edge.kind != EdgeKind::kFused) wire(edge);
  }
  for (const auto& worker : workers_) {
    for (const auto& stage : worker->stages()) stage->finish_wiring();
  }
}

void Job::wire(const Edge& edge) {
  const auto from_stage = static_cast<size_t>(stage_plan_.stage_of[static_cast<size_t>(edge.from)]);
  const auto to_stage = static_cast<size_t>(stage_plan_.stage_of[static_cast<size_t>(edge.to)]);
  for (int from = 0; from < options_.workers; ++from) {
    StageNode* sender = workers_[static_cast<size_t>(from)]->stages()[from_stage]->node(edge.from);
    std::vector<Channel*> channels;
    for (int to = 0; to < options_.workers; ++to) {
      if (edge.kind == EdgeKind::kForward && to != from) continue;
      Channel* channel = make_channel(edge.id, from, to);
      workers_[static_cast<size_t>(to)]->stages()[to_stage]->receive_from(channel, edge.to, edge.port);
      channels.push_back(channel);
    }
    if (edge.kind == EdgeKind::kForward) {
      sender->feed(channels.front(), edge.aside);
    } else {
      sender->feed(std::move(channels));
    }
  }
}

Channel* Job::make_channel(int edge, int from, int to) {
  const Channel::Address address{options_.attempt, edge, from, to};
  channels_.push_back(std::make_unique<Channel>(address, options_.channel_bytes,
                                                workers_[static_cast<size_t>(from)]->waker(),
                                                workers_[static_cast<size_t>(to)]->waker()));
  return channels_.back().get();
}

Result<nlohmann::json> Job::discover(bool bounded, const nlohmann::json& known,
                                     const std::set<std::string>& sources) {
  nlohmann::json found = nlohmann::json::object();
  for (const auto& [source, enumerator] : enumerators_) {
    if (!sources.contains(source)) continue;
    const bool ends =
        bounded || plan_.nodes[static_cast<size_t>(number_of(source))].spec.value("history", false);
    std::vector<PartitionPosition> positions;
    const auto restored = known.value(source, nlohmann::json::object());
    for (const auto& [name, position] : restored.items()) {
      positions.push_back({name, position.get<std::string>()});
    }
    FZ_TRY(enumerator->known(positions));
    FZ_ASSIGN(const std::vector<Partition> partitions, enumerator->discover(ends));
    nlohmann::json list = nlohmann::json::array();
    for (const Partition& each : partitions) {
      list.push_back({{"name", each.name}, {"start", each.start}, {"end", each.end}});
    }
    found[source] = std::move(list);
  }
  return found;
}

int Job::number_of(const std::string& node) const {
  for (size_t i = 0; i < plan_.nodes.size(); ++i) {
    if (plan_.nodes[i].id == node) return static_cast<int>(i);
  }
  return -1;
}

// What to tell each worker, by worker.
Result<std::vector<Control>> Job::controls(const nlohmann::json& partitions, Control::Kind kind) const {
  std::vector<Control> controls(workers_.size());
  for (const auto& [source, list] : partitions.items()) {
    for (const auto& each : list) {
      const auto worker = each.at("worker").get<size_t>();
      if (worker >= workers_.size())
        return Error(ErrorKind::kInternal, "no worker " + std::to_string(worker));
      const auto name = each.at("name").get<std::string>();
      controls[worker].partitions[source].push_back(
          {each.at("ordinal").get<int32_t>(), name, Text(each.at("position")), Text(each.at("end"))});
      if (!each.contains("frontiers")) continue;
      for (const auto& [node, frontier] : each["frontiers"].items()) {
        controls[worker].frontiers[node][name] = frontier.get<Timestamp>();
      }
    }
  }
  for (Control& control : controls) control.kind = kind;
  return controls;
}

Status Job::assign(const nlohmann::json& partitions) {
  FZ_ASSIGN(std::vector<Control> told, controls(partitions, Control::Kind::kAssign));
  for (const auto& [source, list] : partitions.items()) {
    const int number = number_of(source);
    for (const auto& each : list) {
      const auto name = each.at("name").get<std::string>();
      partitions_.add(number, each.at("ordinal").get<int>(), each.value("place", name));
    }
    std::set<size_t>& readers = readers_[source];
    const bool first = readers.empty();
    for (size_t i = 0; i < told.size(); ++i) {
      if (told[i].partitions.contains(source)) readers.insert(i);
    }
    for (size_t i = 0; first && !readers.empty() && i < told.size(); ++i) {
      if (!readers.contains(i)) told[i].aside.push_back(source);
    }
  }
  for (size_t i = 0; i < workers_.size(); ++i) {
    if (!told[i].partitions.empty() || !told[i].aside.empty()) workers_[i]->tell(std::move(told[i]));
  }
  std::lock_guard lock(mutex_);
  ended_said_ = false;
  return Status::OK();
}

Status Job::expect(const nlohmann::json& partitions) {
  FZ_ASSIGN(std::vector<Control> told, controls(partitions, Control::Kind::kExpect));
  for (size_t i = 0; i < workers_.size(); ++i) {
    if (!told[i].partitions.empty()) workers_[i]->tell(std::move(told[i]));
  }
  return Status::OK();
}

Status Job::restore(const std::string& node, std::shared_ptr<arrow::Buffer> file) {
  if (restore_ == nullptr) {
    const auto give = [this](int worker, const std::string& to, const auto& rows) -> Status {
      for (const auto& stage : workers_[static_cast<size_t>(worker)]->stages()) {
        FZ_TRY(stage->restore(to, rows));
      }
      if (spill_ != nullptr) spill_->trim();
      return Status::OK();
    };
    FZ_ASSIGN(restore_, StateRestore::Make(options_.workers, give));
  }
  return restore_->add(node, std::move(file));
}

std::vector<const PlanNode*> Job::lookup_nodes(const std::string& lookup) const {
  std::vector<const PlanNode*> found;
  for (const PlanNode& node : plan_.nodes) {
    if (node.kind == NodeKind::kLookup && node.spec.at("dimension").at("name") == lookup)
      found.push_back(&node);
  }
  return found;
}

Result<nlohmann::json> Job::load(const std::string& lookup, const std::shared_ptr<arrow::Schema>& schema,
                                 const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches) {
  Dimensions made;
  int64_t rows = 0, bytes = 0;
  for (const auto& batch : batches) rows += batch->num_rows();
  for (const PlanNode* node : lookup_nodes(lookup)) {
    FZ_ASSIGN(LookupSpec spec, ParseLookup(node->spec));
    FZ_ASSIGN(made[node->id], Dimension::Make(std::move(spec.dimension), schema, batches));
    bytes += made[node->id]->bytes();
  }
  if (made.empty()) return Error(ErrorKind::kInternal, "no step looks into " + lookup);
  std::lock_guard lock(mutex_);
  for (auto& [node, table] : made) loaded_[node] = std::move(table);
  return nlohmann::json{{"rows", rows}, {"bytes", bytes}};
}

Status Job::start() {
  FZ_TRY(restored());
  for (const PlanNode& node : plan_.nodes) {
    if (node.kind == NodeKind::kLookup && !loaded_.contains(node.id)) {
      return Error(ErrorKind::kInternal, "lookup " + node.name + " is not loaded");
    }
  }
  for (const auto& worker : workers_) {
    for (const auto& stage : worker->stages()) stage->use(loaded_);
  }
  loaded_.clear();
  if (options_.simulated) return Status::OK();
  teller_->start();
  for (const auto& worker : workers_) {
    threads_.emplace_back([this, each = worker.get()] { run(each); });
  }
  return Status::OK();
}

// A step whose exceptions are errors: one that left a thread would end the process.
Result<bool> Job::step(Worker* worker, std::mt19937_64* random) {
  try {
    return worker->step(random);
  } catch (const std::exception& error) {
    return Error(ErrorKind::kInternal, std::string("running a worker: ") + error.what());
  }
}

void Job::run(Worker* worker) {
  bool ended = false;
  while (!stopping_) {
    const Result<bool> worked = step(worker, nullptr);
    if (!worked.ok()) return fail(worked.status());
    if (worker->ended() != ended) {
      ended = worker->ended();
      note_ended();
    }
    if (!*worked) worker->waker()->sleep(SleepUntil(worker->wakes_at(), clock_->now()));
  }
}

void Job::note_ended() {
  for (const auto& worker : workers_) {
    if (!worker->ended()) return;
  }
  std::lock_guard lock(mutex_);
  if (ended_said_ || failed_) return;
  ended_said_ = true;
  events_.push_back({{"kind", "ended"}});
  changed_.notify_all();
}

Status Job::barrier(Epoch epoch, std::set<std::string> full, const std::set<std::string>& lookups) {
  Dimensions tables;
  {
    std::lock_guard lock(mutex_);
    if (epoch_.parts > 0 || epoch_.pending > 0)
      return Error(ErrorKind::kInternal, "an epoch is still being cut");
    epoch_ = EpochState{};
    epoch_.epoch = epoch;
    epoch_.parts = static_cast<int>(workers_.size()) * stage_plan_.stages;
    epoch_.answer = {{"kind", "epoch"},
                     {"epoch", epoch},
                     {"sources", nlohmann::json::object()},
                     {"tokens", nlohmann::json::object()},
                     {"frontiers", nlohmann::json::object()},
                     {"late", nlohmann::json::object()},
                     {"steps", nlohmann::json::object()}};
    epoch_.since = std::chrono::steady_clock::now();
    for (const std::string& lookup : lookups) {
      for (const PlanNode* node : lookup_nodes(lookup)) {
        if (auto found = loaded_.extract(node->id); !found.empty()) tables.insert(std::move(found));
      }
    }
  }
  deletes_.clear();
  for (const auto& worker : workers_) {
    Control control;
    control.kind = Control::Kind::kBarrier;
    control.epoch = epoch;
    control.full = full;
    control.lookups = tables;
    worker->tell(std::move(control));
  }
  return Status::OK();
}

void Job::cut(EpochPart part) {
  std::vector<EpochPart::PendingToken> tokens = std::move(part.tokens);
  std::vector<EpochPart::PendingState> states = std::move(part.states);
  {
    std::lock_guard lock(mutex_);
    for (const auto& [source, state] : part.sources) {
      auto& answer = epoch_.answer["sources"][source];
      if (answer.is_null()) {
        answer = {{"positions", nlohmann::json::object()},
                  {"lag", nlohmann::json::object()},
                  {"partitions", nlohmann::json::object()},
                  {"example", ""}};
      }
      for (const auto& [name, rows] : state.partitions) {
        answer["partitions"][name] = {rows.read, rows.good, rows.rejected, rows.dropped};
      }
      if (answer["example"] == "") answer["example"] = state.example;
      for (const PartitionPosition& each : state.positions) {
        answer["positions"][each.name] = each.position;
        answer["lag"][each.name] = each.lag;
      }
      const RowCounts& counts = state.counts;
      for (const auto& [key, rows] :
           {std::pair("read", counts.read), std::pair("good", counts.good),
            std::pair("rejected", counts.rejected), std::pair("dropped", counts.dropped)}) {
        answer[key] = answer.value(key, int64_t{0}) + rows;
      }
    }
    for (const auto& [node, frontiers] : part.frontiers) {
      for (const auto& [partition, frontier] : frontiers)
        epoch_.answer["frontiers"][node][partition] = frontier;
    }
    for (const auto& [node, late] : part.late) {
      epoch_.answer["late"][node] = epoch_.answer["late"].value(node, int64_t{0}) + late;
    }
    for (const auto& [node, rows] : part.steps) {
      auto& of = epoch_.answer["steps"][node];
      if (of.is_null()) of = {0, 0, 0, ""};
      const int64_t counts[] = {rows.given, rows.good, rows.failed};
      for (size_t i = 0; i < 3; ++i) of[i] = of[i].get<int64_t>() + counts[i];
      if (of[3] == "") of[3] = rows.example;
    }
    --epoch_.parts;
    epoch_.pending += static_cast<int>(tokens.size() + states.size());
  }
  for (auto& pending : tokens) {
    pending.token.AddCallback(
        [this, sink = pending.sink](const Result<Token>& token) { token_ready(sink, token); });
  }
  for (auto& pending : states) {
    const auto future = pending.saved;
    future.AddCallback([this, worker = part.worker, state = std::move(pending)](const Status& saved) {
      state_ready(worker, state, saved);
    });
  }
  std::lock_guard lock(mutex_);
  answer_if_whole();
}

void Job::state_made(StateFile file) {
  std::lock_guard lock(mutex_);
  if (!state_told_) events_.push_back({{"kind", "state"}});
  state_told_ = true;
  ready_state_.push_back(std::move(file));
  changed_.notify_all();
}

// All files of an operator and worker are made. Of a whole state an operator that knows nothing has none, and
// that is told too.
void Job::state_ready(int worker, const EpochPart::PendingState& state, const Status& status) {
  if (!status.ok()) return fail(status);
  std::lock_guard lock(mutex_);
  --epoch_.pending;
  if (state.full) ready_state_.push_back({state.node, worker, state.full, nullptr});
  answer_if_whole();
}

std::vector<Job::StateFile> Job::take_state() {
  std::vector<StateFile> taken;
  {
    std::lock_guard lock(mutex_);
    taken = std::exchange(ready_state_, {});
    state_told_ = false;
  }
  for (const StateFile& file : taken) {
    if (file.bytes != nullptr) untaken_.add(-file.bytes->size());
  }
  for (const auto& worker : workers_) worker->waker()->wake();
  return taken;
}

void Job::token_ready(const std::string& sink, const Result<Token>& token) {
  if (!token.ok()) return fail(token.status());
  std::lock_guard lock(mutex_);
  --epoch_.pending;
  if (!token->empty()) epoch_.answer["tokens"][sink].push_back(*token);
  answer_if_whole();
}

// Holds mutex_.
void Job::answer_if_whole() {
  if (epoch_.parts != 0 || epoch_.pending != 0 || epoch_.epoch == 0) return;
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - epoch_.since;
  epoch_.answer["seconds"] = took.count();
  for (const auto& [source, state] : epoch_.answer["sources"].items()) last_lag_[source] = state["lag"];
  events_.push_back(std::move(epoch_.answer));
  epoch_ = EpochState{};
  changed_.notify_all();
}

void Job::committed(const nlohmann::json& positions) {
  Control control;
  control.kind = Control::Kind::kCommitted;
  for (const auto& [source, list] : positions.items()) {
    for (const auto& each : list) {
      control.positions[source].push_back(
          {each.at("name").get<std::string>(), Text(each.at("position")), -1});
    }
  }
  for (const auto& worker : workers_) worker->tell(control);
}

void Job::end_sources(const std::set<std::string>& sources) {
  Control control;
  control.kind = Control::Kind::kEnded;
  control.ended = sources;
  for (const auto& worker : workers_) worker->tell(control);
}

void Job::rest(int64_t now_us, std::optional<Timestamp> others_us) {
  Control control;
  control.kind = Control::Kind::kRest;
  control.now = now_us;
  control.others = others_us.value_or(kWatermarkMin);
  for (const auto& worker : workers_) worker->tell(control);
}

std::vector<nlohmann::json> Job::wait(double timeout_seconds) {
  if (options_.simulated) simulate(static_cast<int64_t>(timeout_seconds * kSimulatedStepsPerSecond));
  std::unique_lock lock(mutex_);
  if (!options_.simulated) {
    changed_.wait_for(lock, std::chrono::duration<double>(timeout_seconds),
                      [this] { return !events_.empty(); });
  }
  std::vector<nlohmann::json> events(std::make_move_iterator(events_.begin()),
                                     std::make_move_iterator(events_.end()));
  events_.clear();
  return events;
}

int64_t Job::polled() const {
  int64_t sum = 0;
  for (const auto& worker : workers_) sum += worker->polled();
  return sum;
}

nlohmann::json Job::metrics() const {
  nlohmann::json nodes = nlohmann::json::object();
  nlohmann::json memory = nlohmann::json::object();
  int64_t longest = 0, longest_epoch = 0, spilled = 0;
  for (const auto& worker : workers_) {
    for (const auto& stage : worker->stages()) {
      for (const auto& node : stage->nodes()) {
        auto& entry = nodes[node->plan().id];
        if (entry.is_null()) entry = {{"name", node->plan().name}, {"rows_in", 0}, {"rows_out", 0}};
        entry["rows_in"] = entry["rows_in"].get<int64_t>() + node->rows_in();
        entry["rows_out"] = entry["rows_out"].get<int64_t>() + node->rows_out();
        NoteTime(*node, &entry);
        NoteFunctions(node->function_times(), &entry);
        if (node->source() == nullptr) continue;
        entry["at_end"] = entry.value("at_end", true) && node->source()->ended();
        const RowCounts counts = node->source()->counts();
        if (const std::string condition = node->source()->condition(); !condition.empty()) {
          entry["condition"] = condition;
        }
        for (const auto& [key, value] :
             {std::pair("read", counts.read), std::pair("rejected", counts.rejected),
              std::pair("dropped", counts.dropped), std::pair("bytes", counts.bytes)}) {
          entry[key] = entry.value(key, int64_t{0}) + value;
        }
      }
    }
    spilled += worker->spilled_bytes();
    longest = std::max(longest, worker->longest_step());
    longest_epoch = std::max(longest_epoch, worker->longest_epoch_step());
    for (const AccountedPool* pool : worker->pools()) {
      memory[pool->tag()] = memory.value(pool->tag(), int64_t{0}) + pool->bytes_allocated();
    }
  }
  int64_t queued = 0;
  for (const auto& channel : channels_) queued += channel->bytes();
  for (auto& entry : nodes) FinishTime(&entry);
  return {{"nodes", std::move(nodes)},  {"memory", std::move(memory)},
          {"spilled_bytes", spilled},   {"queue_bytes", queued},
          {"longest_step_us", longest}, {"longest_epoch_step_us", longest_epoch},
          {"polled", polled()}};
}

void Job::fail(const Status& status) {
  std::lock_guard lock(mutex_);
  stopping_ = true;
  if (!failed_) {
    failed_ = true;
    events_.push_back({{"kind", "failed"},
                       {"error", KindName(KindOf(status))},
                       {"name", NameOf(status)},
                       {"message", MessageOf(status)},
                       {"retryable", IsRetryable(status)}});
  }
  changed_.notify_all();
  for (const auto& worker : workers_) worker->waker()->wake();
}

void Job::stop() {
  stopping_ = true;
  for (const auto& worker : workers_) worker->waker()->wake();
  for (auto& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
  threads_.clear();
  if (teller_ != nullptr) teller_->stop();
  if (io_ != nullptr) {
    (void)io_->Shutdown(/*wait=*/true);
    io_ = nullptr;
  }
}

}  // namespace frazil
