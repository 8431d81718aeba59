#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "aggregate/value.h"

namespace frazil {

// Values one behind the other, numbered from 0. At most 4 GiB.
class ValueList {
 public:
  // The value is not in this list.
  void append(const ValueType& type, std::string_view value) {
    bytes_.insert(bytes_.end(), value.begin(), value.end());
    if (type.width() < 0) ends_.push_back(static_cast<uint32_t>(bytes_.size()));
  }
  // Valid until the next append.
  std::string_view view(const ValueType& type, uint32_t number) const {
    if (type.width() >= 0) {
      const auto width = static_cast<size_t>(type.width());
      return {bytes_.data() + number * width, width};
    }
    const uint32_t begin = number == 0 ? 0 : ends_[number - 1];
    return {bytes_.data() + begin, ends_[number] - begin};
  }
  int64_t bytes() const { return static_cast<int64_t>(bytes_.size()); }
  int64_t heap_bytes() const {
    return static_cast<int64_t>(bytes_.capacity() + ends_.capacity() * sizeof(uint32_t));
  }

 private:
  std::vector<char> bytes_;
  std::vector<uint32_t> ends_;  // of values of various lengths
};

// A set of values, numbered in the order in which they came. Floats must be given canonical. Open addressing
// with linear probing; a few values are searched one by one.
class ValueTable {
 public:
  // The number of the value, and whether it is new. The value is not in this table.
  std::pair<uint32_t, bool> insert(const ValueType& type, std::string_view value);

  uint32_t size() const { return size_; }
  std::string_view view(const ValueType& type, uint32_t number) const { return values_.view(type, number); }
  // The numbers in the order of the values.
  std::vector<uint32_t> sorted(const ValueType& type) const;

  // What bounds count: bytes of the values and 8 for each.
  int64_t counted_bytes() const { return values_.bytes() + int64_t{8} * size_; }
  int64_t heap_bytes() const {
    return values_.heap_bytes() + static_cast<int64_t>(slots_.capacity() * sizeof(uint64_t));
  }

 private:
  void grow(const ValueType& type);

  ValueList values_;
  std::vector<uint64_t> slots_;  // upper half: of the hash; lower half: number + 1, or 0 where free
  uint32_t size_ = 0;
};

}  // namespace frazil
