#pragma once

#include <arrow/memory_pool.h>

#include <atomic>
#include <cstdint>
#include <string>

namespace frazil {

// Counts what one worker holds under one tag ("decode", "sink") and refuses past a limit that all tags of the
// worker share. Thread-safe: buffers may be freed anywhere.
class MemoryBudget {
 public:
  explicit MemoryBudget(int64_t limit_bytes) : limit_bytes_(limit_bytes) {}
  bool reserve(int64_t bytes) {
    const int64_t before = used_.fetch_add(bytes, std::memory_order_relaxed);
    if (before + bytes <= limit_bytes_) return true;
    used_.fetch_sub(bytes, std::memory_order_relaxed);
    return false;
  }
  void release(int64_t bytes) { used_.fetch_sub(bytes, std::memory_order_relaxed); }
  int64_t used() const { return used_.load(std::memory_order_relaxed); }
  int64_t limit() const { return limit_bytes_; }

 private:
  const int64_t limit_bytes_;
  std::atomic<int64_t> used_{0};
};

// An Arrow memory pool over another one, accounted to a tag and a budget. The budget outlives the pool, and
// the pool outlives every buffer made from it.
class AccountedPool : public arrow::MemoryPool {
 public:
  AccountedPool(std::string tag, MemoryBudget* budget, arrow::MemoryPool* base);

  using arrow::MemoryPool::Allocate;
  using arrow::MemoryPool::Free;
  using arrow::MemoryPool::Reallocate;
  arrow::Status Allocate(int64_t size, int64_t alignment, uint8_t** out) override;
  arrow::Status Reallocate(int64_t old_size, int64_t new_size, int64_t alignment, uint8_t** data) override;
  void Free(uint8_t* buffer, int64_t size, int64_t alignment) override;
  void ReleaseUnused() override { base_->ReleaseUnused(); }

  int64_t bytes_allocated() const override { return bytes_.load(std::memory_order_relaxed); }
  int64_t max_memory() const override { return peak_.load(std::memory_order_relaxed); }
  int64_t total_bytes_allocated() const override { return total_.load(std::memory_order_relaxed); }
  int64_t num_allocations() const override { return count_.load(std::memory_order_relaxed); }
  std::string backend_name() const override { return base_->backend_name(); }
  const std::string& tag() const { return tag_; }

 private:
  arrow::Status refuse(int64_t bytes) const;
  void count(int64_t bytes);

  const std::string tag_;
  MemoryBudget* const budget_;
  arrow::MemoryPool* const base_;
  std::atomic<int64_t> bytes_{0}, peak_{0}, total_{0}, count_{0};
};

}  // namespace frazil
