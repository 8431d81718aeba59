#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

namespace frazil {

// Lets one worker sleep until somebody has something for it. A wake that comes before the sleep is not lost.
class Waker {
 public:
  // Any thread.
  void wake() {
    {
      std::lock_guard lock(mutex_);
      woken_ = true;
    }
    condition_.notify_one();
  }

  // The worker's thread: returns when woken (also since the last sleep) or after `limit`.
  void sleep(std::chrono::milliseconds limit) {
    std::unique_lock lock(mutex_);
    condition_.wait_for(lock, limit, [this] { return woken_; });
    woken_ = false;
  }

 private:
  std::mutex mutex_;
  std::condition_variable condition_;
  bool woken_ = false;
};

}  // namespace frazil
