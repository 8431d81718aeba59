#include "run/time_teller.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace frazil {
namespace {

constexpr std::chrono::milliseconds kTellEvery{50};

}  // namespace

TimeTeller::TimeTeller(const Plan& plan, std::vector<Worker*> workers) : workers_(std::move(workers)) {
  for (const PlanNode& node : plan.nodes) {
    if (node.kind != NodeKind::kEventTime || !node.spec.contains("after")) continue;
    after_[node.id] = node.spec["after"].get<std::set<std::string>>();
  }
  told_.resize(workers_.size());
  for (const Worker* worker : workers_) {
    auto& groups = groups_.emplace_back();
    for (const auto& stage : worker->stages()) {
      for (const Stage::Timed& timed : stage->times()) {
        times_[timed.node->plan().id].push_back(timed.time);
        groups.emplace_back(timed.group, timed.time);
      }
    }
  }
}

// The least that those promise in any worker for whom a node waits.
TimeTeller::Floors TimeTeller::floors() const {
  Floors found;
  for (const auto& [node, after] : after_) {
    Timestamp least = kWatermarkMax;
    for (const std::string& other : after) {
      const auto known = times_.find(other);
      if (known == times_.end()) continue;
      for (const EventTime* time : known->second) least = std::min(least, time->floor());
    }
    // Where they are over the node is about to be released.
    if (least != kWatermarkMax) found[node] = least;
  }
  return found;
}

TimeTeller::Least TimeTeller::elsewhere(size_t worker) const {
  Least found;
  for (size_t other = 0; other < groups_.size(); ++other) {
    for (const auto& [group, time] : groups_[other]) {
      Timestamp& least = found.emplace(group, kWatermarkMax).first->second;
      if (other != worker) least = std::min(least, time->noted_least());
    }
  }
  return found;
}

void TimeTeller::tell() {
  if (!needed()) return;
  const Floors all = floors();
  for (size_t i = 0; i < workers_.size(); ++i) {
    std::pair<Floors, Least> now(all, elsewhere(i));
    if (now == told_[i]) continue;
    told_[i] = now;
    Control control;
    control.kind = Control::Kind::kTimes;
    control.floors = std::move(now.first);
    control.elsewhere = std::move(now.second);
    workers_[i]->tell(std::move(control));
  }
}

void TimeTeller::start() {
  if (needed() && !times_.empty()) thread_ = std::thread([this] { run(); });
}

void TimeTeller::run() {
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, kTellEvery, [this] { return stopping_; })) tell();
}

void TimeTeller::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

}  // namespace frazil
