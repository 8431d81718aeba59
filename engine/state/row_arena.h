#pragma once

#include <arrow/memory_pool.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "state/pool_array.h"

namespace frazil {

// Memory of rows that never move: a payload of fixed width, a head of 2 bytes, the key. Keys of up to
// kInlineKeyBytes lie in the row - one cache miss less than an offset into a heap, and fewer bytes - longer
// ones are allocated on their own. Rows are cut from chunks of 1 to 256 KiB, a quarter of what there is, so
// that tables of few rows are small; freed rows are kept by size for the next key that fits exactly. A row
// has a number of 32 bits, its place in units of 8 bytes: 32 GiB are possible. With units of 4 rows are up to
// 4 bytes smaller, payloads are aligned to as many, and 16 GiB are possible.
//
// One thread. Memory from the pool only.
class RowArena {
 public:
  static constexpr uint32_t kInlineKeyBytes = 256;
  static constexpr int32_t kPayloadBytesMax = 64 * 1024;

  // unit_bytes: 8 or 4. payload_bytes: a multiple of it, up to kPayloadBytesMax.
  RowArena(int32_t payload_bytes, arrow::MemoryPool* pool, uint32_t unit_bytes = 8)
      : payload_(static_cast<uint32_t>(payload_bytes)),
        unit_shift_(unit_bytes == 4 ? 2 : 3),
        pool_(pool),
        chunks_(pool) {}
  ~RowArena();
  RowArena(const RowArena&) = delete;
  RowArena& operator=(const RowArena&) = delete;

  // What a row is; every bit but those of kListed is cleared when it is freed.
  enum Flag : uint16_t {
    kOutside = 1 << 9,
    kFree = 1 << 10,
    kErased = 1 << 11,
    kKnown = 1 << 12,
    kOdd = 1 << 13,   // it is in one of two lists of changed rows
    kEven = 1 << 14,  // in the other
    kRound = 1 << 15  // for walks over all rows
  };
  static constexpr uint16_t kListed = kOdd | kEven;

  // A row with this key; its payload is whatever was there. Number 0 is no row.
  Result<uint32_t> allocate(std::string_view key);
  void release(uint32_t row);

  // Frees all rows and keeps the chunks for new ones.
  void clear();

  std::byte* at(uint32_t row) const {
    return chunks_[row >> kChunkShift].memory + bytes_of(row & (kChunkUnits - 1));
  }
  bool has(const std::byte* row, Flag flag) const { return (head(row) & flag) != 0; }
  void set(std::byte* row, Flag flag) const { set_head(row, static_cast<uint16_t>(head(row) | flag)); }
  void unset(std::byte* row, Flag flag) const { set_head(row, static_cast<uint16_t>(head(row) & ~flag)); }
  std::string_view key(const std::byte* row) const {
    const uint16_t bits = head(row);
    if ((bits & kOutside) == 0) return {key_place(row), static_cast<size_t>(bits & kLengthMask)};
    Outside outside;
    std::memcpy(&outside, key_place(row), sizeof outside);
    return {outside.bytes, outside.length};
  }
  // True if the row has this key and is not erased: one look at the head of most rows.
  bool matches(const std::byte* row, std::string_view key) const {
    const uint16_t bits = head(row);
    if (key.size() > kInlineKeyBytes) {
      return (bits & (kOutside | kErased)) == kOutside && this->key(row) == key;
    }
    return (bits & (kLengthMask | kOutside | kErased)) == key.size() &&
           SameBytes(key_place(row), key.data(), key.size());
  }
  void prefetch(const std::byte* row) const {
    __builtin_prefetch(row);
    __builtin_prefetch(row + payload_ + kHeadBytes);
  }

  // Where a walk over all rows is. Rows that are allocated during a walk may be seen or not.
  struct Walk {
    size_t chunk = 0;
    uint32_t unit = 0;
  };
  // The next row, free or not, or nullptr at the end.
  std::byte* next(Walk* walk) const;

  int64_t bytes() const { return chunk_bytes_ + outside_bytes_ + chunks_.bytes(); }

 private:
  static constexpr uint32_t kChunkShift = 15;
  static constexpr uint32_t kChunkUnits = 1u << kChunkShift;
  static constexpr uint32_t kFirstChunkUnits = 128;
  static constexpr uint32_t kReservedUnits = 1;  // of the first chunk, as row number 0 is no row
  static constexpr size_t kChunksMax = size_t{1} << (32 - kChunkShift);
  static constexpr uint32_t kHeadBytes = 2;
  static constexpr uint16_t kLengthMask = kOutside - 1;

#pragma pack(push, 1)
  struct Outside {
    char* bytes;
    uint32_t length;
  };
#pragma pack(pop)
  struct Chunk {
    std::byte* memory;
    uint32_t units;  // that it has
    uint32_t used;
  };

  uint16_t head(const std::byte* row) const {
    uint16_t bits;
    std::memcpy(&bits, row + payload_, sizeof bits);
    return bits;
  }
  void set_head(std::byte* row, uint16_t bits) const { std::memcpy(row + payload_, &bits, sizeof bits); }
  const char* key_place(const std::byte* row) const {
    return reinterpret_cast<const char*>(row + payload_ + kHeadBytes);
  }
  char* key_place(std::byte* row) const { return reinterpret_cast<char*>(row + payload_ + kHeadBytes); }
  // memcmp for few bytes, without the call.
  static bool SameBytes(const char* left, const char* right, size_t size) {
    const auto word = [](const char* at) {
      uint64_t value;
      std::memcpy(&value, at, sizeof value);
      return value;
    };
    if (size < 8) return std::memcmp(left, right, size) == 0;
    uint64_t different = word(left + size - 8) ^ word(right + size - 8);
    for (size_t at = 0; at + 8 < size; at += 8) different |= word(left + at) ^ word(right + at);
    return different == 0;
  }
  size_t bytes_of(uint32_t units) const { return size_t{units} << unit_shift_; }
  uint32_t units_of(uint32_t bytes) const { return (bytes + (1u << unit_shift_) - 1) >> unit_shift_; }
  // Units behind the payload, which is also the size a free row is kept by. A free row has the number of the
  // next one where its key was.
  uint32_t units_behind(uint16_t head) const {
    const uint32_t bytes = (head & kOutside) != 0 ? sizeof(Outside) : head & kLengthMask;
    return units_of(kHeadBytes + std::max<uint32_t>(bytes, sizeof(uint32_t)));
  }
  void release_outside(std::byte* row);
  void release_all_outside();
  Status add_chunk(uint32_t units);
  Result<uint32_t> take(uint32_t behind);

  uint32_t payload_;
  uint32_t unit_shift_;
  arrow::MemoryPool* pool_;
  PoolArray<Chunk> chunks_;
  std::array<uint32_t, (kHeadBytes + kInlineKeyBytes) / 4 + 2> free_{};  // first, by units behind
  size_t open_ = 0;  // the chunk that rows are cut from; those behind it are empty
  int64_t chunk_bytes_ = 0;
  int64_t outside_bytes_ = 0;
};

}  // namespace frazil
