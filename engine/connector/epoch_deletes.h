#pragma once

#include <atomic>
#include <cstdint>

namespace frazil {

// Rows that the epoch at hand takes away, of all sinks and workers. They are in memory until its end and
// again when they are committed, so there is a bound: from then on sources rest until the epoch is cut, which
// is done whatever its interval. What is on its way from them still comes. Any thread.
class EpochDeletes {
 public:
  // `rows_max` 0: no bound.
  explicit EpochDeletes(int64_t rows_max) : rows_max_(rows_max) {}

  void add(int64_t rows) { rows_.fetch_add(rows, std::memory_order_relaxed); }
  bool full() const { return rows_max_ > 0 && rows_.load(std::memory_order_relaxed) >= rows_max_; }
  // The epoch is being cut.
  void clear() { rows_.store(0, std::memory_order_relaxed); }

 private:
  const int64_t rows_max_;
  std::atomic<int64_t> rows_{0};
};

}  // namespace frazil
