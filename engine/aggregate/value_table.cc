#define XXH_INLINE_ALL
#include "aggregate/value_table.h"

#include <xxhash.h>

#include <algorithm>
#include <numeric>

namespace frazil {
namespace {

constexpr uint32_t kSearched = 8;  // values without slots
constexpr uint64_t kUpper = 0xFFFF'FFFF'0000'0000;

uint64_t Hash(std::string_view value) { return XXH3_64bits(value.data(), value.size()); }

}  // namespace

std::pair<uint32_t, bool> ValueTable::insert(const ValueType& type, std::string_view value) {
  if (slots_.empty()) {
    for (uint32_t i = 0; i < size_; ++i) {
      if (values_.view(type, i) == value) return {i, false};
    }
    values_.append(type, value);
    if (++size_ > kSearched) grow(type);
    return {size_ - 1, true};
  }
  const uint64_t hash = Hash(value);
  const size_t mask = slots_.size() - 1;
  size_t at = hash & mask;
  for (; slots_[at] != 0; at = (at + 1) & mask) {
    if ((slots_[at] & kUpper) != (hash & kUpper)) continue;
    const auto number = static_cast<uint32_t>(slots_[at]) - 1;
    if (values_.view(type, number) == value) return {number, false};
  }
  values_.append(type, value);
  slots_[at] = (hash & kUpper) | ++size_;
  if (uint64_t{size_} * 3 > uint64_t{slots_.size()} * 2) grow(type);
  return {size_ - 1, true};
}

void ValueTable::grow(const ValueType& type) {
  const size_t slots = std::max<size_t>(32, slots_.size() * 2);
  std::vector<uint64_t>(slots).swap(slots_);
  for (uint32_t i = 0; i < size_; ++i) {
    const uint64_t hash = Hash(values_.view(type, i));
    size_t at = hash & (slots - 1);
    while (slots_[at] != 0) at = (at + 1) & (slots - 1);
    slots_[at] = (hash & kUpper) | (i + 1);
  }
}

std::vector<uint32_t> ValueTable::sorted(const ValueType& type) const {
  std::vector<uint32_t> numbers(size_);
  std::iota(numbers.begin(), numbers.end(), 0);
  std::ranges::sort(numbers,
                    [&](uint32_t a, uint32_t b) { return type.compare(view(type, a), view(type, b)) < 0; });
  return numbers;
}

}  // namespace frazil
