#pragma once

#include <atomic>
#include <chrono>

#include "base/batch.h"

namespace frazil {

// What time it is, us since 1970-01-01 UTC. Operators and sources know it from here only. Any thread.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual Timestamp now() const = 0;
};

// The machine's clock; it may be put back.
class SystemClock : public Clock {
 public:
  Timestamp now() const override {
    const auto since = std::chrono::system_clock::now().time_since_epoch();
    return std::chrono::duration_cast<std::chrono::microseconds>(since).count();
  }
};

// A clock that stands still until it is set.
class ManualClock : public Clock {
 public:
  explicit ManualClock(Timestamp now) : now_(now) {}
  Timestamp now() const override { return now_.load(); }
  void set(Timestamp now) { now_.store(now); }

 private:
  std::atomic<Timestamp> now_;
};

}  // namespace frazil
