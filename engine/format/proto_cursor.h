#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "base/limits.h"
#include "format/json_cursor.h"
#include "format/proto_schema.h"

namespace frazil {

// A value as it stands in a message: bits of a varint or of fixed width, or the bytes of a text, a message, a
// group or packed numbers. Views into the message.
struct ProtoPiece {
  ProtoWire wire = ProtoWire::kVarint;
  uint32_t size = 0;  // of the bytes
  union {
    uint64_t bits = 0;
    const char* data;
  };

  std::string_view bytes() const { return {data, size}; }
  static ProtoPiece Bits(ProtoWire wire, uint64_t bits) {
    ProtoPiece piece;
    piece.wire = wire;
    piece.bits = bits;
    return piece;
  }
  static ProtoPiece Bytes(ProtoWire wire, std::string_view bytes) {
    ProtoPiece piece;
    piece.wire = wire;
    piece.size = static_cast<uint32_t>(bytes.size());
    piece.data = bytes.data();
    return piece;
  }
};

// Reads the fields of one message, each step of which checks that the bytes are there. Failures are JSON's.
class ProtoCursor {
 public:
  explicit ProtoCursor(std::string_view bytes)
      : begin_(bytes.data()), at_(begin_), end_(begin_ + bytes.size()) {}

  bool AtEnd() const { return at_ == end_; }

  // The number of the field here and how its value stands. An end of a group is none.
  bool TakeTag(int32_t* number, ProtoWire* wire, JsonFailure& failure) {
    if (!TakeAnyTag(number, wire, failure)) return false;
    if (*wire != ProtoWire::kGroupEnd) [[likely]]
      return true;
    return Bad("an end of a group that has not begun", failure);
  }

  // The value of a field.
  bool TakePiece(int32_t number, ProtoWire wire, ProtoPiece* piece, JsonFailure& failure) {
    switch (wire) {
      case ProtoWire::kVarint: {
        uint64_t bits = 0;
        if (!TakeVarint(&bits, failure)) return false;
        *piece = ProtoPiece::Bits(wire, bits);
        return true;
      }
      case ProtoWire::kFixed64:
        return TakeFixed<uint64_t>(wire, piece, failure);
      case ProtoWire::kFixed32:
        return TakeFixed<uint32_t>(wire, piece, failure);
      case ProtoWire::kBytes: {
        uint64_t size = 0;
        if (!TakeVarint(&size, failure)) return false;
        if (size > static_cast<uint64_t>(end_ - at_)) [[unlikely]]
          return Ends(failure);
        *piece = ProtoPiece::Bytes(wire, {at_, static_cast<size_t>(size)});
        at_ += size;
        return true;
      }
      default:
        return TakeGroup(number, piece, failure);
    }
  }

 private:
  bool TakeAnyTag(int32_t* number, ProtoWire* wire, JsonFailure& failure) {
    uint64_t tag = 0;
    if (!TakeVarint(&tag, failure)) return false;
    if (tag > UINT32_MAX || tag < 8) [[unlikely]]
      return Bad("a field of number " + std::to_string(tag >> 3), failure);
    *number = static_cast<int32_t>(tag >> 3);
    *wire = static_cast<ProtoWire>(tag & 7);
    if (*wire <= ProtoWire::kFixed32) [[likely]]
      return true;
    return Bad("a field of wire type " + std::to_string(tag & 7), failure);
  }

  bool TakeVarint(uint64_t* value, JsonFailure& failure) {
    uint64_t bits = 0;
    const char* at = at_;
    for (int shift = 0; shift < 70; shift += 7) {
      if (at == end_) [[unlikely]]
        return Ends(failure);
      const auto byte = static_cast<uint8_t>(*at++);
      bits |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) {
        if (shift == 63 && byte > 1) [[unlikely]]
          break;
        at_ = at;
        *value = bits;
        return true;
      }
    }
    return Bad("a number of more than 64 bits", failure);
  }

  template <typename T>
  bool TakeFixed(ProtoWire wire, ProtoPiece* piece, JsonFailure& failure) {
    if (end_ - at_ < static_cast<std::ptrdiff_t>(sizeof(T))) [[unlikely]]
      return Ends(failure);
    T bits = 0;
    std::memcpy(&bits, at_, sizeof(T));
    at_ += sizeof(T);
    *piece = ProtoPiece::Bits(wire, bits);
    return true;
  }

  // The fields of a group that has begun, up to its end, groups in it gone over.
  bool TakeGroup(int32_t number, ProtoPiece* piece, JsonFailure& failure) {
    const char* const begin = at_;
    int32_t open[limits::kJsonDepth] = {number};
    int32_t depth = 1;
    for (;;) {
      const char* const before = at_;
      int32_t inside = 0;
      ProtoWire wire = ProtoWire::kVarint;
      if (!TakeAnyTag(&inside, &wire, failure)) return false;
      if (wire == ProtoWire::kGroup) {
        if (depth == limits::kJsonDepth)
          return Bad("groups nested deeper than " + std::to_string(depth) + " levels", failure);
        open[depth++] = inside;
      } else if (wire == ProtoWire::kGroupEnd) {
        if (inside != open[--depth]) return Bad("an end of a group that has not begun", failure);
        if (depth > 0) continue;
        *piece = ProtoPiece::Bytes(ProtoWire::kGroup, {begin, static_cast<size_t>(before - begin)});
        return true;
      } else {
        ProtoPiece skipped;
        if (!TakePiece(inside, wire, &skipped, failure)) return false;
      }
    }
  }

  [[gnu::cold]] bool Ends(JsonFailure& failure) { return Bad("the message ends within a value", failure); }
  [[gnu::cold]] bool Bad(const std::string& text, JsonFailure& failure) {
    return failure.Because(text + " (at byte " + std::to_string(at_ - begin_) + " of its message)");
  }

  const char* begin_;
  const char* at_;
  const char* end_;
};

}  // namespace frazil
