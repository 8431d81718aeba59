#pragma once

#include <arrow/memory_pool.h>

#include <cstddef>
#include <map>

#include "base/batch.h"
#include "base/calendar.h"
#include "base/status.h"
#include "state/pool_array.h"

namespace frazil {

// Times at which rows of a table are to be looked at, in lists of a second each. The width of a list only
// says what is kept together: a timer comes when its time is over, not earlier and not later. One thread.
class SessionTimers {
 public:
  struct Timer {
    std::byte* row;
    Timestamp time;
  };

  explicit SessionTimers(arrow::MemoryPool* pool) : pool_(pool) {}

  Status add(std::byte* row, Timestamp time) {
    List& list = lists_.try_emplace(FloorDivide(time, kWidth), pool_).first->second;
    const int64_t before = list.bytes();
    FZ_TRY(list.reserve(list.size() + 1));
    bytes_ += list.bytes() - before;
    list.push_back({row, time});
    return Status::OK();
  }

  // Takes a timer whose time is before `due` (any, if that is kWatermarkMax). False if there is none. Timers
  // come by list, and in no order within one.
  bool next(Timestamp due, Timer* timer) {
    while (may_have(due)) {
      const int64_t number = lists_.begin()->first;
      List& list = lists_.begin()->second;
      // Those that were looked at for the same time and left are not looked at again.
      if (number != looked_list_ || due != looked_due_) looked_ = 0;
      looked_list_ = number;
      looked_due_ = due;
      for (; looked_ < list.size(); ++looked_) {
        if (list[looked_].time >= due && due != kWatermarkMax) continue;
        *timer = list[looked_];
        list[looked_] = list.back();
        if (list.size() > kAhead) __builtin_prefetch(list[list.size() - kAhead].row);  // taken from the back
        list.pop_back();
        return true;
      }
      if (!list.empty()) return false;  // only the list that `due` is in can have later ones
      bytes_ -= list.bytes();
      lists_.erase(lists_.begin());
      looked_ = 0;
    }
    return false;
  }

  // False if next() would be.
  bool may_have(Timestamp due) const {
    return !lists_.empty() && lists_.begin()->first <= FloorDivide(due, kWidth);
  }
  int64_t bytes() const { return bytes_ + static_cast<int64_t>(lists_.size()) * kNodeBytes; }

 private:
  using List = PoolArray<Timer>;

  static constexpr int64_t kWidth = 1'000'000;  // us
  static constexpr size_t kAhead = 8;           // timers whose rows are on the way into the cache
  static constexpr int64_t kNodeBytes = 32 + sizeof(std::pair<const int64_t, List>);  // of the map, about

  arrow::MemoryPool* const pool_;
  std::map<int64_t, List> lists_;
  int64_t bytes_ = 0;
  int64_t looked_list_ = 0;
  Timestamp looked_due_ = kWatermarkMin;
  size_t looked_ = 0;  // of the first list
};

}  // namespace frazil
