#pragma once

#include <arrow/memory_pool.h>

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>

#include "base/batch.h"
#include "base/status.h"
#include "state/pool_array.h"

namespace frazil {

// A held row by its event time; rows of one time by their number.
struct TimedRow {
  Timestamp time = 0;
  uint64_t row = 0;

  friend auto operator<=>(const TimedRow&, const TimedRow&) = default;
};

// Rows of one key in the order of time, for many keys. A list is plain bytes, so that it can be part of a
// StateTable's payload: all zero is an empty one, and it is to be cleared before its row is erased.
//
// Rows lie in blocks of up to kBlockRows, which double up to that size; a list of several blocks has a
// directory of them. So a key with one row costs 24 bytes beside its list, and one with a million rows moves
// some kilobytes for an insertion anywhere. Blocks of few rows are cut from slabs, which are kept for others
// until there is none: the pool gives 64 bytes at least. One thread; memory from the pool, which outlives it.
class TimeLists {
 public:
  struct Block;
  struct List {
    Block** directory;  // of `blocks`, or null
    Block* single;      // the only block, if there is no directory
    uint32_t blocks;
    uint32_t capacity;  // of the directory
  };

  // A place between rows; valid until the list changes.
  struct Place {
    uint32_t block = 0;
    uint32_t at = 0;
  };

  static constexpr uint32_t kBlockRows = 256;
  static constexpr uint32_t kSmallRows = 4;  // blocks of up to so many are cut from slabs

  explicit TimeLists(arrow::MemoryPool* pool) : pool_(pool), slabs_(pool) {}
  ~TimeLists() { free_slabs(); }
  TimeLists(const TimeLists&) = delete;
  TimeLists& operator=(const TimeLists&) = delete;

  // Errors: no memory; then the list is as it was.
  Status insert(List* list, TimedRow row);
  // Takes a row out; false if it is not there.
  bool remove(List* list, TimedRow row);
  void clear(List* list);

  static bool empty(const List& list) { return list.blocks == 0; }
  // The place of the first row that is not before `row`.
  static Place lower_bound(const List& list, TimedRow row);
  // The row at a place, which moves on to the next; null at the end.
  static const TimedRow* next(const List& list, Place* place);
  // The row before a place; null at the beginning.
  static const TimedRow* previous(const List& list, Place place);
  // True if a row has a time in [from, to].
  static bool any(const List& list, Timestamp from, Timestamp to) {
    Place place = lower_bound(list, {from, 0});
    const TimedRow* found = next(list, &place);
    return found != nullptr && found->time <= to;
  }

  int64_t bytes() const { return bytes_ + slabs_.bytes(); }

 private:
  static Block* const* blocks_of(const List& list) {
    return list.directory != nullptr ? list.directory : &list.single;
  }
  static Block** blocks_of(List* list) {
    return list->directory != nullptr ? list->directory : &list->single;
  }
  Result<Block*> allocate(uint32_t capacity);
  Status add_slab(uint32_t capacity);
  void free(Block* block);
  void free_slabs();
  Status grow(Block** block);
  Status split(List* list, uint32_t number);
  void drop(List* list, uint32_t number);

  arrow::MemoryPool* const pool_;
  int64_t bytes_ = 0;
  PoolArray<uint8_t*> slabs_;
  std::array<Block*, 3> unused_{};  // small blocks of 1, 2 and 4 rows, each with the next one behind its head
  int64_t small_ = 0;               // blocks in use
};

}  // namespace frazil
