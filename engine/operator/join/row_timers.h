#pragma once

#include <arrow/memory_pool.h>

#include <algorithm>
#include <cstddef>
#include <map>
#include <vector>

#include "base/batch.h"
#include "base/calendar.h"
#include "base/status.h"
#include "state/pool_array.h"

namespace frazil {

// Held rows by their time, for the moment at which the watermark has passed it. In lists of a second of event
// time, each of which is put in order only as far as it is asked for. One thread.
class RowTimers {
 public:
  struct Timer {
    Timestamp time;
    std::byte* key;  // row of a StateTable
    uint32_t row;
  };

  explicit RowTimers(arrow::MemoryPool* pool) : pool_(pool) {}

  Status add(const Timer& timer) {
    List& list = lists_.try_emplace(FloorDivide(timer.time, kWidth), pool_).first->second;
    const int64_t before = list.bytes();
    FZ_TRY(list.reserve(list.size() + 1));
    bytes_ += list.bytes() - before;
    list.push_back(timer);
    return Status::OK();
  }

  // Moves timers whose time is before `due` into `out` (cleared first): at least `most`, if there are so
  // many.
  void take(Timestamp due, size_t most, std::vector<Timer>* out) {
    out->clear();
    while (!lists_.empty() && out->size() < most && lists_.begin()->first <= FloorDivide(due, kWidth)) {
      List& list = lists_.begin()->second;
      size_t left = 0;
      for (size_t i = 0; i < list.size(); ++i) {
        if (list[i].time < due) {
          out->push_back(list[i]);
        } else {
          list[left++] = list[i];
        }
      }
      while (list.size() > left) list.pop_back();
      if (left > 0) return;
      bytes_ -= list.bytes();
      lists_.erase(lists_.begin());
    }
  }

  int64_t bytes() const { return bytes_ + static_cast<int64_t>(lists_.size()) * kNodeBytes; }

 private:
  using List = PoolArray<Timer>;

  static constexpr int64_t kWidth = 1'000'000;                                        // us
  static constexpr int64_t kNodeBytes = 32 + sizeof(std::pair<const int64_t, List>);  // of the map, about

  arrow::MemoryPool* const pool_;
  std::map<int64_t, List> lists_;
  int64_t bytes_ = 0;
};

}  // namespace frazil
