#include "state/state_pool.h"

#include <algorithm>
#include <cstring>

#include "base/status.h"

namespace frazil {

arrow::Status StatePool::Allocate(int64_t size, int64_t alignment, uint8_t** out) {
  if (size < kSpillBytesMin || !tight(size)) return AccountedPool::Allocate(size, alignment, out);
  const auto room = space_->allocate(size);
  if (room.ok()) {
    *out = *room;
    spilled_.fetch_add(SpillSpace::PageBytes(size), std::memory_order_relaxed);
    return arrow::Status::OK();
  }
  if (arrow::Status status = AccountedPool::Allocate(size, alignment, out); !status.ok()) {
    return status.WithMessage(status.message(), "; ", room.status().message());
  }
  return arrow::Status::OK();
}

arrow::Status StatePool::Reallocate(int64_t old_size, int64_t new_size, int64_t alignment, uint8_t** data) {
  const bool was_spilled = spilled(*data);
  if (was_spilled && SpillSpace::PageBytes(old_size) == SpillSpace::PageBytes(new_size) && new_size > 0) {
    return arrow::Status::OK();
  }
  if (!was_spilled && (new_size < kSpillBytesMin || !tight(new_size - old_size))) {
    return AccountedPool::Reallocate(old_size, new_size, alignment, data);
  }
  uint8_t* moved = nullptr;
  ARROW_RETURN_NOT_OK(Allocate(new_size, alignment, &moved));
  std::memcpy(moved, *data, static_cast<size_t>(std::min(old_size, new_size)));
  Free(*data, old_size, alignment);
  *data = moved;
  return arrow::Status::OK();
}

void StatePool::Free(uint8_t* buffer, int64_t size, int64_t alignment) {
  if (!spilled(buffer)) return AccountedPool::Free(buffer, size, alignment);
  space_->free(buffer, size);
  spilled_.fetch_sub(SpillSpace::PageBytes(size), std::memory_order_relaxed);
}

}  // namespace frazil
