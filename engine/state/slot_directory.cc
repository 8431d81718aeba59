#include "state/slot_directory.h"

#include <algorithm>
#include <cstring>

namespace frazil {

SlotDirectory::~SlotDirectory() {
  for (SubTable& table : tables_) free(table);
}

void SlotDirectory::Put(SubTable& table, uint64_t slot) {
  uint32_t position = home(table, static_cast<uint32_t>(slot >> 32));
  while (table.slots[position] != 0) {
    if (++position == table.capacity) position = 0;
  }
  table.slots[position] = slot;
  ++table.rows;
}

Result<SlotDirectory::SubTable> SlotDirectory::make(uint32_t rows, uint32_t depth) {
  SubTable table;
  table.capacity = slots_for(rows);
  table.depth = depth;
  const auto bytes = static_cast<int64_t>(table.capacity * sizeof(uint64_t));
  uint8_t* memory = nullptr;
  FZ_TRY(pool_->Allocate(bytes, &memory));
  std::memset(memory, 0, static_cast<size_t>(bytes));
  table.slots = reinterpret_cast<uint64_t*>(memory);
  slot_bytes_ += bytes;
  return table;
}

void SlotDirectory::free(SubTable& table) {
  const auto bytes = static_cast<int64_t>(table.capacity * sizeof(uint64_t));
  pool_->Free(reinterpret_cast<uint8_t*>(table.slots), bytes);
  slot_bytes_ -= bytes;
}

Status SlotDirectory::rebuild(SubTable& table, uint32_t rows) {
  FZ_ASSIGN(SubTable bigger, make(rows, table.depth));
  for (uint32_t i = 0; i < table.capacity; ++i) {
    if (table.slots[i] != 0) Put(bigger, table.slots[i]);
  }
  free(table);
  table = bigger;
  return Status::OK();
}

Status SlotDirectory::split(uint32_t hash) {
  const uint32_t from = directory_[index_of(hash)];
  const uint32_t depth = tables_[from].depth;
  FZ_TRY(tables_.reserve(tables_.size() + 1));
  if (depth == depth_) {
    const size_t size = directory_.size();
    FZ_TRY(directory_.reserve(size * 2));
    for (size_t i = 0; i < size; ++i) directory_.push_back(0);
    for (size_t i = size; i-- > 0;) directory_[2 * i] = directory_[2 * i + 1] = directory_[i];
    ++depth_;
  }
  SubTable& old = tables_[from];
  const uint64_t bit = uint64_t{1} << (63 - depth);  // the first bit of a slot that is not shared
  uint32_t upper = 0;
  for (uint32_t i = 0; i < old.capacity; ++i) upper += (old.slots[i] & bit) != 0;
  FZ_ASSIGN(SubTable right, make(upper, depth + 1));
  auto made = make(old.rows - upper, depth + 1);
  if (!made.ok()) {
    free(right);
    return made.status();
  }
  SubTable left = *made;
  for (uint32_t i = 0; i < old.capacity; ++i) {
    if (old.slots[i] != 0) Put((old.slots[i] & bit) != 0 ? right : left, old.slots[i]);
  }
  free(old);
  old = left;
  const auto added = static_cast<uint32_t>(tables_.size());
  tables_.push_back(right);
  const size_t share = size_t{1} << (depth_ - depth);  // entries of the directory that named the old one
  const size_t first = index_of(hash) / share * share;
  for (size_t i = first + share / 2; i < first + share; ++i) directory_[i] = added;
  return Status::OK();
}

void SlotDirectory::clear() {
  for (SubTable& table : tables_) {
    std::memset(table.slots, 0, table.capacity * sizeof(uint64_t));
    table.rows = 0;
  }
}

Status SlotDirectory::reserve(uint32_t hash) {
  if (directory_.empty()) [[unlikely]] {
    FZ_TRY(directory_.reserve(1));
    FZ_TRY(tables_.reserve(1));
    FZ_ASSIGN(const SubTable first, make(0, 0));
    tables_.push_back(first);
    directory_.push_back(0);
  }
  for (;;) {
    const uint32_t index = directory_[index_of(hash)];
    SubTable& table = tables_[index];
    // Up to a quarter less, another number for each: hashes fill all sub-tables alike, and not all should be
    // split in the same batch.
    const uint32_t rows_max = kSubTableRows - (index * 2'654'435'761u >> 18);
    if (table.rows >= rows_max && table.depth < kDepthMax) {
      FZ_TRY(split(hash));  // a split may leave all rows on one side
    } else if (crowded(table.rows + 1, table.capacity)) {
      return rebuild(table, table.rows + 1);
    } else {
      return Status::OK();
    }
  }
}

void SlotDirectory::insert(uint32_t hash, uint32_t row) {
  Put(tables_[directory_[index_of(hash)]], uint64_t{hash} << 32 | row);
}

// Rows behind the hole move into it unless that would be before their home (Knuth, volume 3, 6.4, algorithm
// R).
void SlotDirectory::erase(uint32_t hash, uint32_t row) {
  SubTable& table = tables_[directory_[index_of(hash)]];
  const uint64_t wanted = uint64_t{hash} << 32 | row;
  uint32_t hole = home(table, hash);
  while (table.slots[hole] != wanted) {
    if (++hole == table.capacity) hole = 0;
  }
  for (uint32_t next = hole;;) {
    if (++next == table.capacity) next = 0;
    if (table.slots[next] == 0) break;
    const uint32_t wish = home(table, static_cast<uint32_t>(table.slots[next] >> 32));
    const uint32_t from_wish = next >= wish ? next - wish : next + table.capacity - wish;
    const uint32_t from_hole = next >= hole ? next - hole : next + table.capacity - hole;
    if (from_wish >= from_hole) {
      table.slots[hole] = table.slots[next];
      hole = next;
    }
  }
  table.slots[hole] = 0;
  --table.rows;
  if (table.capacity > kSlotsMin && table.rows < table.capacity / 8) {
    // Fewer slots are only a saving: without memory for them the many stay.
    if (!rebuild(table, table.rows).ok()) return;
  }
}

}  // namespace frazil
