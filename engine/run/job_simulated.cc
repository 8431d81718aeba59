#include <algorithm>

#include "run/job.h"

namespace frazil {
namespace {

// Steps without work in a row, over all workers, after which a simulated job has come to rest. What it is
// told meanwhile is no work: that makes some, or does not matter.
constexpr int kRestSteps = 64;
// Workers are told of each other's times each time after this many steps.
constexpr int64_t kTellSteps = 50;

}  // namespace

// Steps workers in drawn order until an event is there, nothing moves any more, or `steps` were done. A job
// that does not move, also when workers have been told of each other's times, has its clock jump.
void Job::simulate(int64_t steps) {
  for (; steps > 0; --steps) {
    if (steps % kTellSteps == 0) teller_->tell();
    {
      std::lock_guard lock(mutex_);
      if (!events_.empty()) return;
    }
    Worker* worker = workers_[random_() % workers_.size()].get();
    const int64_t moves = worker->moves();
    const Result<bool> worked = step(worker, &random_);
    if (!worked.ok()) return fail(worked.status());
    resting_ = worker->moves() != moves ? 0 : resting_ + 1;
    note_ended();
    if (resting_ == kRestSteps) teller_->tell();
    if (resting_ < 2 * kRestSteps) continue;
    resting_ = 0;
    std::unique_lock lock(mutex_);
    const bool told = !events_.empty();
    lock.unlock();
    if (!told) jump();
    return;
  }
}

// It is the time now at which something has to be done next, if there is such.
void Job::jump() {
  Timestamp next = kWatermarkMax;
  for (const auto& worker : workers_) next = std::min(next, worker->wakes_at());
  if (next == kWatermarkMax || next <= clock_->now()) return;
  simulated_clock_->set(next);
}

}  // namespace frazil
