#pragma once

#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

#include "aggregate/aggregate.h"
#include "aggregate/held.h"
#include "aggregate/value.h"

// Fields of a saved accumulator of variable length: little endian, bytes behind their length of 32 bits.
namespace frazil {

class SavedWriter {
 public:
  explicit SavedWriter(std::string& to) : to_(to) {}
  template <typename T>
  void put(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    to_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  // Values of a fixed width need no length.
  void put_value(const ValueType& type, std::string_view value) {
    if (type.width() < 0) put(static_cast<uint32_t>(value.size()));
    to_.append(value);
  }
  void put_held(const ValueType& type, const Held& held) {
    put(static_cast<uint8_t>(held.empty() ? 0 : held.is_null() ? 1 : 2));
    if (!held.empty() && !held.is_null()) put_value(type, held.view());
  }

 private:
  std::string& to_;
};

// Every call gives false if the bytes are not there or not a value.
class SavedReader {
 public:
  explicit SavedReader(std::string_view from) : from_(from) {}
  template <typename T>
  bool take(T* value) {
    static_assert(std::is_trivially_copyable_v<T>);
    if (from_.size() < sizeof(T)) return false;
    std::memcpy(value, from_.data(), sizeof(T));
    from_.remove_prefix(sizeof(T));
    return true;
  }
  bool take_value(const ValueType& type, std::string_view* value) {
    auto size = static_cast<uint32_t>(type.width());
    if (type.width() < 0 && !take(&size)) return false;
    if (from_.size() < size) return false;
    *value = from_.substr(0, size);
    from_.remove_prefix(size);
    return type.valid(*value);
  }
  // A value or none.
  bool take_held(const ValueType& type, bool* found, bool* null, std::string_view* value) {
    uint8_t kind = 0;
    if (!take(&kind) || kind > 2) return false;
    *found = kind != 0;
    *null = kind == 1;
    return kind != 2 || take_value(type, value);
  }
  size_t left() const { return from_.size(); }

 private:
  std::string_view from_;
};

}  // namespace frazil
