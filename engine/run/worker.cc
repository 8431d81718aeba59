#include "run/worker.h"

#include <algorithm>
#include <ctime>
#include <utility>

#include "base/check.h"
#include "base/limits.h"

namespace frazil {
namespace {

int64_t ThreadMicroseconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return int64_t{time.tv_sec} * 1'000'000 + time.tv_nsec / 1'000;
}

void Raise(std::atomic<int64_t>* most, int64_t value) {
  if (value > most->load(std::memory_order_relaxed)) most->store(value, std::memory_order_relaxed);
}

}  // namespace

// Memory comes from the C library: Arrow's default, mimalloc, keeps pages for each thread, and buffers that
// cross threads (read ahead, closing files) make that 30 MB more at the peak.
Worker::Worker(int worker, int64_t limit_bytes, SpillSpace* spill)
    : worker_(worker),
      budget_(limit_bytes),
      spill_(spill),
      decode_pool_("decode", &budget_, arrow::system_memory_pool()),
      operator_pool_("operator", &budget_, arrow::system_memory_pool()),
      sink_pool_("sink", &budget_, arrow::system_memory_pool()),
      state_pool_(&budget_, arrow::system_memory_pool(), spill) {}

Status Worker::open(const Plan& plan, const StagePlan& cut, WorkerContext context, Report report) {
  context_ = context;
  context_.worker = worker_;
  context_.waker = &waker_;
  context_.decode_pool = &decode_pool_;
  context_.operator_pool = &operator_pool_;
  context_.sink_pool = &sink_pool_;
  context_.state_pool = &state_pool_;
  if (context_.clock == nullptr) context_.clock = &machine_;
  context_.state_made = report.state_made;
  report_ = std::move(report);
  for (int number = 0; number < cut.stages; ++number) {
    FZ_ASSIGN(auto stage, Stage::Make(plan, cut, number, context_));
    stages_.push_back(std::move(stage));
  }
  turns_.resize(stages_.size());
  return Status::OK();
}

void Worker::tell(Control control) {
  {
    std::lock_guard lock(controls_mutex_);
    // What is told of time says all there is to say: only the newest counts.
    if (control.kind == Control::Kind::kTimes && !controls_.empty() &&
        controls_.back().kind == Control::Kind::kTimes) {
      controls_.pop_back();
    }
    controls_.push_back(std::move(control));
  }
  waker_.wake();
}

Timestamp Worker::wakes_at() const {
  Timestamp at = kWatermarkMax;
  for (const auto& stage : stages_) at = std::min({at, stage->next_tick(), stage->opens_at()});
  return at;
}

// Everything that can be done now, most urgent first.
std::vector<Worker::Choice> Worker::choices() {
  std::vector<Choice> possible;
  {
    std::lock_guard lock(controls_mutex_);
    if (!controls_.empty()) possible.push_back({Work::kControl, 0, 0});
    // Partitions come first of all, or a source would end for want of them.
    if (!controls_.empty() && (controls_.front().kind == Control::Kind::kAssign ||
                               controls_.front().kind == Control::Kind::kExpect)) {
      return possible;
    }
  }
  for (int number = static_cast<int>(stages_.size()) - 1; number >= 0; --number) {
    Stage& stage = *stages_[static_cast<size_t>(number)];
    const Turn& turn = turns_[static_cast<size_t>(number)];
    if (!stage.has_credit()) continue;
    if (stage.unfinished()) {
      possible.push_back({Work::kResume, number, 0});
      continue;
    }
    for (int i = 0; i < stage.inbound_count(); ++i) {
      const int inbound = static_cast<int>((turn.receive + static_cast<size_t>(i)) %
                                           static_cast<size_t>(stage.inbound_count()));
      if (stage.can_receive(inbound)) possible.push_back({Work::kReceive, number, inbound});
    }
  }
  const bool resting = context_.deletes != nullptr && context_.deletes->full();
  for (int number = static_cast<int>(stages_.size()) - 1; number >= 0 && !resting; --number) {
    Stage& stage = *stages_[static_cast<size_t>(number)];
    const Turn& turn = turns_[static_cast<size_t>(number)];
    if (stage.source_count() == 0 || !stage.has_credit() || stage.unfinished()) continue;
    for (int i = 0; i < stage.source_count(); ++i) {
      const int source =
          static_cast<int>((turn.poll + static_cast<size_t>(i)) % static_cast<size_t>(stage.source_count()));
      if (stage.can_poll(source)) possible.push_back({Work::kPoll, number, source});
    }
  }
  for (int number = static_cast<int>(stages_.size()) - 1; number >= 0; --number) {
    const Stage& stage = *stages_[static_cast<size_t>(number)];
    const Timestamp next = stage.next_tick();
    if (next == kWatermarkMax || !stage.has_credit() || stage.unfinished()) continue;
    if (next > context_.clock->now()) continue;
    possible.insert(tick_next_ ? possible.begin() : possible.end(), {Work::kTick, number, 0});
  }
  for (int number = static_cast<int>(stages_.size()) - 1; number >= 0; --number) {
    if (!stages_[static_cast<size_t>(number)]->saving()) continue;
    if (context_.untaken != nullptr && context_.untaken->full()) break;
    const auto at = save_next_ ? possible.begin() : possible.end();
    possible.insert(at, {Work::kSave, number, 0});
  }
  return possible;
}

Result<bool> Worker::step(std::mt19937_64* random) {
  const int64_t begin = ThreadMicroseconds();
  bool for_epoch = false;
  auto worked = work(random, &for_epoch);
  if (spill_ != nullptr) spill_->trim();
  const int64_t took = ThreadMicroseconds() - begin;
  Raise(&longest_step_, took);
  if (for_epoch) Raise(&longest_epoch_step_, took);
  return worked;
}

Result<bool> Worker::work(std::mt19937_64* random, bool* for_epoch) {
  std::vector<Choice> possible = choices();
  if (random != nullptr && possible.size() > 1) {
    std::swap(possible.front(), possible[(*random)() % possible.size()]);
  }
  bool worked = false;
  for (const Choice& choice : possible) {
    FZ_ASSIGN(worked, run(choice));
    if (!worked) continue;  // it was a source without rows: try the next
    if (choice.work != Work::kControl) ++moves_;
    save_next_ = choice.work != Work::kSave;
    tick_next_ = choice.work != Work::kTick;
    *for_epoch = choice.work == Work::kSave;
    break;
  }
  FZ_ASSIGN(const bool cut, cut_and_end());
  *for_epoch = *for_epoch || cut;
  if (cut) ++moves_;
  return worked;
}

Result<bool> Worker::run(const Choice& choice) {
  Stage& stage = *stages_[static_cast<size_t>(choice.stage)];
  switch (choice.work) {
    case Work::kControl: {
      Control control;
      {
        std::lock_guard lock(controls_mutex_);
        control = std::move(controls_.front());
        controls_.pop_front();
      }
      FZ_TRY(handle(std::move(control)));
      return true;
    }
    case Work::kTick:
      FZ_TRY(stage.tick(context_.clock->now()));
      polled_.fetch_add(1);  // timers have been fired: there is something to checkpoint
      return true;
    case Work::kResume:
      FZ_TRY(stage.resume());
      return true;
    case Work::kReceive:
      ++turns_[static_cast<size_t>(choice.stage)].receive;
      FZ_TRY(stage.receive(choice.index));
      return true;
    case Work::kPoll:
      ++turns_[static_cast<size_t>(choice.stage)].poll;
      return poll(choice);
    case Work::kSave:
      FZ_TRY(stage.save());
      return true;
    case Work::kNone:
      break;
  }
  return false;
}

Result<bool> Worker::poll(const Choice& choice) {
  const Budget budget{limits::kBatchRows, limits::kChunkBytes, {}, context_.clock->now()};
  FZ_ASSIGN(const Poll::Kind kind, stages_[static_cast<size_t>(choice.stage)]->poll(choice.index, budget));
  if (kind == Poll::Kind::kRows) polled_.fetch_add(1);
  return kind != Poll::Kind::kIdle;
}

Status Worker::handle(Control control) {
  switch (control.kind) {
    case Control::Kind::kBarrier:
      for (const auto& stage : stages_) stage->start_barrier(control.epoch, control.full, control.lookups);
      break;
    case Control::Kind::kExpect:
    case Control::Kind::kAssign:
      return assign(control);
    case Control::Kind::kRest:
      for (const auto& stage : stages_) {
        FZ_ASSIGN(const bool raised, stage->rest(control.now, control.others));
        if (raised) polled_.fetch_add(1);  // windows may have closed: there is something to checkpoint
      }
      break;
    case Control::Kind::kEnded:
      for (const auto& stage : stages_) FZ_TRY(stage->end_sources(control.ended));
      polled_.fetch_add(1);  // windows may have closed
      break;
    case Control::Kind::kTimes:
      for (const auto& stage : stages_) {
        stage->note_elsewhere(control.elsewhere);
        FZ_TRY(stage->raise_floors(control.floors));
      }
      break;
    case Control::Kind::kTable:
      return tell_table(control);
    case Control::Kind::kCommitted:
      for (const auto& [source, positions] : control.positions) {
        for (const auto& stage : stages_) {
          SourceTask* task = stage->source(source);
          if (task != nullptr && task->assigned()) FZ_TRY(task->committed(positions));
        }
      }
      break;
  }
  return Status::OK();
}

Status Worker::tell_table(const Control& control) {
  for (const auto& stage : stages_) {
    for (const auto& node : stage->nodes()) {
      if (node->sink() == nullptr || node->plan().id != control.sink) continue;
      if (control.table_options.is_null()) {
        FZ_TRY(node->sink()->fail_table(control.table, control.reason));
      } else {
        FZ_TRY(node->sink()->open_table(control.table, control.table_options));
        polled_.fetch_add(1);  // rows that waited may have been written
      }
    }
  }
  return Status::OK();
}

// Event time knows a partition before its first row is read. One that comes while others are being read is
// expected first: from then on it holds the watermark, until a checkpoint has its frontier and it is
// assigned.
Status Worker::assign(const Control& control) {
  for (const auto& stage : stages_) {
    for (const auto& [source, partitions] : control.partitions) {
      SourceTask* task = stage->source(source);
      if (task == nullptr) continue;
      for (const Stage::Timed& timed : stage->times(source)) {
        const auto known = control.frontiers.find(timed.node->plan().id);
        for (const Assignment& each : partitions) {
          if (timed.time->has_partition(each.ordinal)) continue;
          Timestamp frontier =
              control.kind == Control::Kind::kExpect ? timed.time->joining_frontier() : kWatermarkMin;
          if (known != control.frontiers.end() && known->second.contains(each.name)) {
            frontier = known->second.at(each.name);
          }
          timed.time->add_partition(each.ordinal, each.name, frontier);
        }
      }
      if (control.kind == Control::Kind::kExpect) continue;
      FZ_TRY(task->assign(partitions));
      stage->rouse(source);
    }
    for (const std::string& source : control.aside) {
      for (const Stage::Timed& timed : stage->times(source)) timed.time->stand_aside();
    }
    FZ_TRY(stage->forward_times());
  }
  return Status::OK();
}

// True if an epoch was cut.
Result<bool> Worker::cut_and_end() {
  bool ended = true, any = false;
  for (const auto& stage : stages_) {
    EpochPart part;
    FZ_ASSIGN(const bool cut, stage->cut(&part));
    any = any || cut;
    if (cut) report_.epoch_cut(std::move(part));
    FZ_ASSIGN(const bool ticked, stage->end_if_drained());
    if (ticked) polled_.fetch_add(1);
    ended = ended && stage->ended();
  }
  ended_ = ended;
  return any;
}

}  // namespace frazil
