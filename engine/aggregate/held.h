#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace frazil {

// One value inside an accumulator: nothing, a null, or bytes. Up to 16 bytes lie in it, more on the heap.
// Plain bytes that may be moved by memcpy; clear() frees.
class Held {
 public:
  bool empty() const { return size_ == kNothing; }
  bool is_null() const { return size_ == kNull; }
  // Of a value that is neither.
  std::string_view view() const { return {capacity_ == 0 ? inline_ : heap(), static_cast<size_t>(size_)}; }

  // Value is not in this object. These give the bytes by which the heap grew.
  int64_t assign(std::string_view value) {
    const auto size = static_cast<int64_t>(value.size());
    int64_t grown = 0;
    if (size > static_cast<int64_t>(sizeof inline_) && size > capacity_) {
      grown = clear();
      const int64_t capacity = (size + 15) / 16 * 16;
      char* bytes = new char[static_cast<size_t>(capacity)];
      std::memcpy(inline_, &bytes, sizeof bytes);
      capacity_ = capacity;
      grown += capacity;
    }
    size_ = size;
    if (size != 0) std::memcpy(capacity_ == 0 ? inline_ : heap(), value.data(), value.size());
    return grown;
  }
  int64_t assign_null() {
    const int64_t grown = clear();
    size_ = kNull;
    return grown;
  }
  int64_t clear() {
    const int64_t freed = capacity_;
    if (capacity_ != 0) delete[] heap();
    capacity_ = 0;
    size_ = kNothing;
    return -freed;
  }
  int64_t heap_bytes() const { return capacity_; }

 private:
  static constexpr int64_t kNothing = -1;
  static constexpr int64_t kNull = -2;

  char* heap() const {
    char* bytes;
    std::memcpy(&bytes, inline_, sizeof bytes);
    return bytes;
  }

  int64_t size_ = kNothing;
  int64_t capacity_ = 0;  // bytes on the heap; 0: the value is inline
  char inline_[16] = {};  // the value or a pointer
};
static_assert(sizeof(Held) == 32 && alignof(Held) == 8);

}  // namespace frazil
