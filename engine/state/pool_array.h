#pragma once

#include <arrow/memory_pool.h>

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "base/status.h"

namespace frazil {

// A growing array of plain values whose memory comes from an Arrow pool, so that it is accounted, and whose
// lack is a Status. The pool outlives it.
template <typename T>
requires std::is_trivially_copyable_v<T>
class PoolArray {
 public:
  explicit PoolArray(arrow::MemoryPool* pool) : pool_(pool) {}
  PoolArray(const PoolArray&) = delete;
  PoolArray& operator=(const PoolArray&) = delete;
  ~PoolArray() { clear(); }

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T* data() { return data_; }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }
  T* begin() { return data_; }
  T* end() { return data_ + size_; }
  const T* begin() const { return data_; }
  const T* end() const { return data_ + size_; }
  T& back() { return data_[size_ - 1]; }
  int64_t bytes() const { return static_cast<int64_t>(capacity_ * sizeof(T)); }

  // Room for `size` values in all; push_back cannot fail up to there.
  Status reserve(size_t size) {
    if (size <= capacity_) return Status::OK();
    const size_t capacity = std::max<size_t>({size, capacity_ + capacity_ / 2, 4});
    auto* data = reinterpret_cast<uint8_t*>(data_);
    if (data == nullptr) {
      FZ_TRY(pool_->Allocate(static_cast<int64_t>(capacity * sizeof(T)), &data));
    } else {
      FZ_TRY(pool_->Reallocate(bytes(), static_cast<int64_t>(capacity * sizeof(T)), &data));
    }
    data_ = reinterpret_cast<T*>(data);
    capacity_ = capacity;
    return Status::OK();
  }
  // New values are not set.
  Status resize(size_t size) {
    FZ_TRY(reserve(size));
    size_ = size;
    return Status::OK();
  }
  void push_back(const T& value) { data_[size_++] = value; }  // after reserve
  void pop_back() { --size_; }
  void clear() {
    if (data_ != nullptr) pool_->Free(reinterpret_cast<uint8_t*>(data_), bytes());
    data_ = nullptr;
    size_ = capacity_ = 0;
  }

 private:
  arrow::MemoryPool* pool_;
  T* data_ = nullptr;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

}  // namespace frazil
