#include "base/memory.h"

#include <algorithm>

#include "base/status.h"

namespace frazil {

AccountedPool::AccountedPool(std::string tag, MemoryBudget* budget, arrow::MemoryPool* base)
    : tag_(std::move(tag)), budget_(budget), base_(base) {}

arrow::Status AccountedPool::refuse(int64_t bytes) const {
  return Error(ErrorKind::kUser, "memory limit of a worker reached: " + std::to_string(budget_->used()) +
                                     " of " + std::to_string(budget_->limit()) + " bytes in use, `" + tag_ +
                                     "` (" + std::to_string(bytes_allocated()) + " bytes) asked for " +
                                     std::to_string(bytes) + " more; raise memory_limit= or lower workers=");
}

void AccountedPool::count(int64_t bytes) {
  const int64_t now = bytes_.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  if (bytes > 0) {
    total_.fetch_add(bytes, std::memory_order_relaxed);
    count_.fetch_add(1, std::memory_order_relaxed);
  }
  int64_t peak = peak_.load(std::memory_order_relaxed);
  while (now > peak && !peak_.compare_exchange_weak(peak, now, std::memory_order_relaxed)) {
  }
}

arrow::Status AccountedPool::Allocate(int64_t size, int64_t alignment, uint8_t** out) {
  if (!budget_->reserve(size)) return refuse(size);
  if (auto status = base_->Allocate(size, alignment, out); !status.ok()) {
    budget_->release(size);
    return status;
  }
  count(size);
  return arrow::Status::OK();
}

arrow::Status AccountedPool::Reallocate(int64_t old_size, int64_t new_size, int64_t alignment,
                                        uint8_t** data) {
  const int64_t more = new_size - old_size;
  if (more > 0 && !budget_->reserve(more)) return refuse(more);
  if (auto status = base_->Reallocate(old_size, new_size, alignment, data); !status.ok()) {
    if (more > 0) budget_->release(more);
    return status;
  }
  if (more < 0) budget_->release(-more);
  count(more);
  return arrow::Status::OK();
}

void AccountedPool::Free(uint8_t* buffer, int64_t size, int64_t alignment) {
  base_->Free(buffer, size, alignment);
  budget_->release(size);
  count(-size);
}

}  // namespace frazil
