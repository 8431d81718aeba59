#pragma once

#include <string>

#include "base/memory.h"
#include "state/spill_space.h"

namespace frazil {

// Where what operators keep lies: in memory, and, once half of the worker's budget is used, in the spill
// space as far as it is asked for in pieces of kSpillBytesMin or more. Small pieces stay in memory, and so
// does what was there before: memory is not left unused. If the spill space has no room, memory is used up to
// the budget, and then the error names both. Thread-safe like every pool.
class StatePool : public AccountedPool {
 public:
  static constexpr int64_t kSpillBytesMin = 4096;

  // A null space: nothing is spilled. It outlives the pool.
  StatePool(MemoryBudget* budget, arrow::MemoryPool* base, SpillSpace* space)
      : AccountedPool("state", budget, base), budget_(budget), space_(space) {}

  using arrow::MemoryPool::Allocate;
  using arrow::MemoryPool::Free;
  using arrow::MemoryPool::Reallocate;
  arrow::Status Allocate(int64_t size, int64_t alignment, uint8_t** out) override;
  arrow::Status Reallocate(int64_t old_size, int64_t new_size, int64_t alignment, uint8_t** data) override;
  void Free(uint8_t* buffer, int64_t size, int64_t alignment) override;

  // True if more that is kept should be spilled: who holds buffers of other pools copies them into this one.
  bool tight(int64_t more) const {
    return space_ != nullptr && budget_->used() + more > budget_->limit() / 2;
  }
  static bool Tight(const arrow::MemoryPool* pool, int64_t more) {
    const auto* state = dynamic_cast<const StatePool*>(pool);
    return state != nullptr && state->tight(more);
  }
  // Has the page of a byte in the process, if it is in the spill space, by a write that changes nothing: for
  // a page that is read first the kernel maps 16, and asks again when it is written. The caller's thread is
  // the only one that uses the byte.
  static void HavePage(void* byte) {
    uint8_t expected = 0;
    __atomic_compare_exchange_n(static_cast<uint8_t*>(byte), &expected, uint8_t{0}, false, __ATOMIC_RELAXED,
                                __ATOMIC_RELAXED);
  }
  // Of this pool, in the spill space.
  int64_t spilled_bytes() const { return spilled_.load(std::memory_order_relaxed); }

 private:
  bool spilled(const uint8_t* buffer) const { return space_ != nullptr && space_->owns(buffer); }

  MemoryBudget* const budget_;
  SpillSpace* const space_;
  std::atomic<int64_t> spilled_{0};
};

}  // namespace frazil
