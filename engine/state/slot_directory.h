#pragma once

#include <arrow/memory_pool.h>

#include <algorithm>
#include <cstdint>

#include "state/pool_array.h"

namespace frazil {

// From 32 bits of a hash to the numbers of rows: open addressing with linear probing, in sub-tables of at
// most 64 Ki rows that a directory finds by the upper bits (extendible hashing: Fagin and others, 1979). A
// full sub-table is split alone, so no insertion does more than about a millisecond of work. A slot is the 32
// bits of the hash and the row number: growing and splitting never look at a row, and only 1 of 2^32
// strangers is compared with a key. Inside a sub-table slots are in the order of the hash (position =
// remaining bits times capacity), so capacities need be no powers of two: load is between 1/2 and 2/3, 12 to
// 16 bytes per row. A `dense` directory has loads between 2/3 and 5/6, 10 to 12 bytes per row, and looks at
// twice as many slots for a row that is not there.
//
// Row number 0 is no row. One thread. Memory from the pool only.
class SlotDirectory {
 public:
  static constexpr uint32_t kSubTableRows = 64 * 1024;  // rows at which a sub-table is split
  static constexpr uint32_t kSlotsMin = 16;
  static constexpr uint32_t kSparseRows =
      4096;  // below, load is from 1/3: growing less often costs less there
  // Splits of a sub-table; beyond it grows. Only keys made to collide get there before memory ends.
  static constexpr uint32_t kDepthMax = 16;

  explicit SlotDirectory(arrow::MemoryPool* pool, bool dense = false)
      : pool_(pool), dense_(dense), tables_(pool), directory_(pool) {}
  ~SlotDirectory();
  SlotDirectory(const SlotDirectory&) = delete;
  SlotDirectory& operator=(const SlotDirectory&) = delete;

  // The first of the slots to look at for a hash. Valid until the next insertion or removal.
  struct Place {
    const uint64_t* slots = nullptr;
    uint32_t capacity = 0;
    uint32_t position = 0;
  };
  Place place(uint32_t hash) const {
    if (directory_.empty()) return {};
    const SubTable& table = tables_[directory_[index_of(hash)]];
    return {table.slots, table.capacity, home(table, hash)};
  }
  static void Prefetch(const Place& place) { __builtin_prefetch(place.slots + place.position); }
  // The next row with this hash, or 0; moves the place past it.
  static uint32_t Next(Place* place, uint32_t hash) {
    if (place->capacity == 0) return 0;
    for (;;) {
      const uint64_t slot = place->slots[place->position];
      if (slot == 0) return 0;
      if (++place->position == place->capacity) place->position = 0;
      if (static_cast<uint32_t>(slot >> 32) == hash) return static_cast<uint32_t>(slot);
    }
  }

  // Makes room, so that the next insert of this hash cannot fail.
  Status reserve(uint32_t hash);
  void insert(uint32_t hash, uint32_t row);
  void erase(uint32_t hash, uint32_t row);  // the row is there

  void clear();  // all rows; the memory is kept

  int64_t bytes() const { return slot_bytes_ + tables_.bytes() + directory_.bytes(); }
  size_t sub_tables() const { return tables_.size(); }

 private:
  struct SubTable {
    uint64_t* slots = nullptr;
    uint32_t capacity = 0;
    uint32_t rows = 0;
    uint32_t depth = 0;  // upper bits that all hashes of it share
  };

  size_t index_of(uint32_t hash) const { return static_cast<size_t>(uint64_t{hash} << depth_ >> 32); }
  static uint32_t home(const SubTable& table, uint32_t hash) {
    return static_cast<uint32_t>(uint64_t{hash << table.depth} * table.capacity >> 32);
  }
  static void Put(SubTable& table, uint64_t slot);
  Result<SubTable> make(uint32_t rows, uint32_t depth);
  void free(SubTable& table);
  Status rebuild(SubTable& table, uint32_t rows);
  Status split(uint32_t hash);

  // Whether so many rows are too many for so many slots; how many slots rows get.
  bool crowded(uint32_t rows, uint32_t capacity) const {
    return dense_ ? uint64_t{rows} * 6 > uint64_t{capacity} * 5 : uint64_t{rows} * 3 > uint64_t{capacity} * 2;
  }
  uint32_t slots_for(uint32_t rows) const {
    if (rows < kSparseRows) return std::max(kSlotsMin, rows * 3);
    return dense_ ? rows + rows / 2 : rows * 2;
  }

  arrow::MemoryPool* pool_;
  const bool dense_;
  PoolArray<SubTable> tables_;
  PoolArray<uint32_t> directory_;  // sub-table by the upper depth_ bits
  uint32_t depth_ = 0;
  int64_t slot_bytes_ = 0;
};

}  // namespace frazil
