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
  for (const Worker* worker : workers_) {
    for (const auto& stage : worker->stages()) {
      for (const Stage::Timed& timed : stage->times()) times_[timed.node->plan().id].push_back(timed.time);
    }
  }
}

// The least that those promise in any worker for whom a node waits.
void TimeTeller::note_floors(std::map<std::string, Timestamp>* floors) const {
  for (const auto& [node, after] : after_) {
    Timestamp least = kWatermarkMax;
    for (const std::string& other : after) {
      const auto found = times_.find(other);
      if (found == times_.end()) continue;
      for (const EventTime* time : found->second) least = std::min(least, time->floor());
    }
    // Where they are over the node is about to be released.
    if (least != kWatermarkMax) (*floors)[node] = least;
  }
}

void TimeTeller::tell() {
  if (after_.empty()) return;
  std::map<std::string, Timestamp> floors;
  note_floors(&floors);
  if (floors == told_) return;
  told_ = floors;
  for (Worker* worker : workers_) {
    Control control;
    control.kind = Control::Kind::kTimes;
    control.floors = floors;
    worker->tell(std::move(control));
  }
}

void TimeTeller::start() {
  if (after_.empty()) return;
  thread_ = std::thread([this] { run(); });
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
