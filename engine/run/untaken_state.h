#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace frazil {

// Bytes of state, of all workers, that have been read out of operators for a checkpoint and are still here:
// as rows, and then as the files made of them, until somebody takes these. Workers save no more while it is
// full, so that a store that is slow holds up the checkpoint and costs no memory. Any thread.
class UntakenState {
 public:
  static constexpr int64_t kBytesMax = 64 << 20;
  static constexpr int64_t kMemoryShare = 8;  // it takes at most this part of the memory limit

  static int64_t BytesMax(int64_t memory_bytes) {
    return memory_bytes <= 0 ? kBytesMax : std::min(kBytesMax, memory_bytes / kMemoryShare);
  }
  explicit UntakenState(int64_t bytes_max) : bytes_max_(bytes_max) {}
  void add(int64_t bytes) { bytes_.fetch_add(bytes, std::memory_order_relaxed); }
  bool full() const { return bytes_.load(std::memory_order_relaxed) >= bytes_max_; }
  // Rows that make up a file, so that several files fit.
  int64_t file_bytes_max() const { return bytes_max_ / 4; }

 private:
  const int64_t bytes_max_;
  std::atomic<int64_t> bytes_{0};
};

}  // namespace frazil
