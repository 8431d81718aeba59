#pragma once

#include <arrow/array.h>

#include <atomic>
#include <functional>
#include <vector>

#include "operator/batch_function.h"
#include "operator/operator.h"

namespace frazil {

// Rows that come too late for a window, on their way aside. One record per row and missed window. It stands
// before the exchange, so that whether a row is late depends on its own partition only.
class LateGate {
 public:
  LateGate(arrow::MemoryPool* pool, const PartitionNames* partitions)
      : pool_(pool), partitions_(partitions) {}

  void set_aside(Output* aside) { aside_ = aside; }
  // Notes that row `row` of the batch misses a window; without `windows` (sessions) start and end stand for
  // nothing.
  void refuse(int64_t row, Timestamp watermark, Timestamp start, Timestamp end) {
    rows_.push_back(static_cast<int32_t>(row));
    watermarks_.push_back(watermark);
    starts_.push_back(start);
    ends_.push_back(end);
  }
  // Gives what was noted to the reader of late rows and forgets it.
  Status flush(const Batch& batch, bool windows);
  int64_t count() const { return count_.load(std::memory_order_relaxed); }

 private:
  Result<Batch> rows_of(const Batch& batch, bool windows) const;

  arrow::MemoryPool* const pool_;
  const PartitionNames* const partitions_;
  Output* aside_ = nullptr;
  std::vector<int32_t> rows_;
  std::vector<int64_t> watermarks_, starts_, ends_;
  std::atomic<int64_t> count_{0};
};

}  // namespace frazil
