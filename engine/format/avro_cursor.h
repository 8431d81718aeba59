#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "format/json_cursor.h"

namespace frazil {

// Reads the bytes of one message, each step of which checks that they are there. A plain value: copying it
// remembers a place. Failures are JSON's: reason, path and column.
class AvroCursor {
 public:
  AvroCursor() = default;
  explicit AvroCursor(std::string_view bytes)
      : begin_(reinterpret_cast<const uint8_t*>(bytes.data())), at_(begin_), end_(begin_ + bytes.size()) {}

  int64_t left() const { return end_ - at_; }
  int64_t place() const { return at_ - begin_; }

  // A long, of at most ten bytes.
  bool TakeLong(int64_t* value, JsonFailure& failure) {
    uint64_t bits = 0;
    const uint8_t* at = at_;
    for (int shift = 0; shift < 70; shift += 7) {
      if (at == end_) [[unlikely]]
        return Ends(failure);
      const uint8_t byte = *at++;
      bits |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) {
        if (shift == 63 && byte > 1) [[unlikely]]
          break;
        at_ = at;
        *value = static_cast<int64_t>((bits >> 1) ^ (~(bits & 1) + 1));
        return true;
      }
    }
    return failure.Because("a number of more than 64 bits");
  }
  bool TakeInt(int64_t* value, JsonFailure& failure) {
    if (!TakeLong(value, failure)) return false;
    if (*value == static_cast<int32_t>(*value)) [[likely]]
      return true;
    return failure.Because("a number of more than 32 bits in an int");
  }
  template <typename T>
  bool TakeFixed(T* value, JsonFailure& failure) {
    if (left() < static_cast<int64_t>(sizeof(T))) [[unlikely]]
      return Ends(failure);
    std::memcpy(value, at_, sizeof(T));
    at_ += sizeof(T);
    return true;
  }
  bool TakeBoolean(bool* value, JsonFailure& failure) {
    if (at_ == end_) [[unlikely]]
      return Ends(failure);
    if (*at_ > 1) [[unlikely]]
      return failure.Because("a boolean that is neither 0 nor 1");
    *value = *at_++ == 1;
    return true;
  }
  bool TakeBytes(int64_t size, std::string_view* value, JsonFailure& failure) {
    if (size < 0) [[unlikely]]
      return failure.Because("a length below zero");
    if (size > left()) [[unlikely]]
      return Ends(failure);
    *value = {reinterpret_cast<const char*>(at_), static_cast<size_t>(size)};
    at_ += size;
    return true;
  }
  bool TakeText(std::string_view* value, JsonFailure& failure) {
    int64_t size = 0;
    return TakeLong(&size, failure) && TakeBytes(size, value, failure);
  }
  // The number of a branch or symbol, one of `count`.
  bool TakeChoice(size_t count, size_t* value, JsonFailure& failure) {
    int64_t number = 0;
    if (!TakeLong(&number, failure)) return false;
    if (number < 0 || number >= static_cast<int64_t>(count)) [[unlikely]]
      return failure.Because("number " + std::to_string(number) + " of " + std::to_string(count) +
                             " choices");
    *value = static_cast<size_t>(number);
    return true;
  }
  // Begins the next block of an array or map: how many items it has, 0 at its end. Where the block says how
  // long it is, `bytes` is that, else -1. Items that take no bytes are counted over the whole message.
  bool TakeBlock(bool empty_items, int64_t* items, int64_t* bytes, JsonFailure& failure) {
    *bytes = -1;
    if (!TakeLong(items, failure)) return false;
    if (*items < 0) {
      if (*items == INT64_MIN) [[unlikely]]
        return failure.Because("a block of too many items");
      *items = -*items;
      if (!TakeLong(bytes, failure)) return false;
      if (*bytes < 0) return failure.Because("a length below zero");
      if (*bytes > left()) return Ends(failure);
    }
    if (empty_items) {
      empty_left_ -= *items > empty_left_ ? empty_left_ + 1 : *items;
      return empty_left_ >= 0 || failure.Because("more than " + std::to_string(kEmptyItems) + " empty items");
    }
    return *items <= left() || Ends(failure);
  }

  // Levels of skipped values, which may hold themselves.
  bool Enter(JsonFailure& failure) {
    if (++depth_ <= limits::kJsonDepth) [[likely]]
      return true;
    return failure.Because("nested deeper than " + std::to_string(limits::kJsonDepth) + " levels");
  }
  void Leave() { --depth_; }

 private:
  static constexpr int64_t kEmptyItems = 1 << 20;  // items without bytes in a message

  [[gnu::cold]] static bool Ends(JsonFailure& failure) {
    return failure.Because("the message ends within the value");
  }

  const uint8_t* begin_ = nullptr;
  const uint8_t* at_ = nullptr;
  const uint8_t* end_ = nullptr;
  int64_t empty_left_ = kEmptyItems;
  int32_t depth_ = 0;
};

}  // namespace frazil
