#include "operator/join/time_lists.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace frazil {

struct TimeLists::Block {
  uint32_t size;
  uint32_t capacity;

  TimedRow* rows() { return reinterpret_cast<TimedRow*>(this + 1); }
};

namespace {

constexpr int64_t kHeadBytes = 8;
constexpr uint32_t kFirstRows = 1;
constexpr uint32_t kFirstBlocks = 4;
constexpr int64_t kSlabBytes = 4096;

// Of a small block: 1, 2 or 4 rows.
size_t SizeClass(uint32_t capacity) { return static_cast<size_t>(std::countr_zero(capacity)); }

int64_t BlockBytes(uint32_t capacity) {
  return kHeadBytes + static_cast<int64_t>(capacity) * static_cast<int64_t>(sizeof(TimedRow));
}

int64_t DirectoryBytes(uint32_t capacity) { return static_cast<int64_t>(capacity) * 8; }

}  // namespace

Result<TimeLists::Block*> TimeLists::allocate(uint32_t capacity) {
  static_assert(sizeof(Block) == kHeadBytes);
  Block* block = nullptr;
  if (capacity <= kSmallRows) {
    Block*& unused = unused_[SizeClass(capacity)];
    if (unused == nullptr) FZ_TRY(add_slab(capacity));
    block = unused;
    std::memcpy(&unused, block->rows(), sizeof unused);
    ++small_;
  } else {
    uint8_t* memory = nullptr;
    FZ_TRY(pool_->Allocate(BlockBytes(capacity), &memory));
    bytes_ += BlockBytes(capacity);
    block = reinterpret_cast<Block*>(memory);
  }
  block->size = 0;
  block->capacity = capacity;
  return block;
}

Status TimeLists::add_slab(uint32_t capacity) {
  FZ_TRY(slabs_.reserve(slabs_.size() + 1));
  uint8_t* memory = nullptr;
  FZ_TRY(pool_->Allocate(kSlabBytes, &memory));
  bytes_ += kSlabBytes;
  slabs_.push_back(memory);
  Block*& unused = unused_[SizeClass(capacity)];
  for (int64_t at = 0; at + BlockBytes(capacity) <= kSlabBytes; at += BlockBytes(capacity)) {
    auto* block = reinterpret_cast<Block*>(memory + at);
    std::memcpy(block->rows(), &unused, sizeof unused);
    unused = block;
  }
  return Status::OK();
}

void TimeLists::free(Block* block) {
  if (block->capacity > kSmallRows) {
    const int64_t bytes = BlockBytes(block->capacity);
    bytes_ -= bytes;
    pool_->Free(reinterpret_cast<uint8_t*>(block), bytes);
    return;
  }
  Block*& unused = unused_[SizeClass(block->capacity)];
  std::memcpy(block->rows(), &unused, sizeof unused);
  unused = block;
  if (--small_ == 0) free_slabs();
}

void TimeLists::free_slabs() {
  for (uint8_t* slab : slabs_) pool_->Free(slab, kSlabBytes);
  bytes_ -= static_cast<int64_t>(slabs_.size()) * kSlabBytes;
  slabs_.clear();
  unused_ = {};
}

Status TimeLists::grow(Block** block) {
  FZ_ASSIGN(Block * larger, allocate(std::min(kBlockRows, (*block)->capacity * 2)));
  larger->size = (*block)->size;
  std::copy_n((*block)->rows(), (*block)->size, larger->rows());
  free(*block);
  *block = larger;
  return Status::OK();
}

// Makes two of a full block: halves, or, of the last one, all and nothing, as most rows come at the end.
Status TimeLists::split(List* list, uint32_t number) {
  if (list->blocks == list->capacity || list->directory == nullptr) {
    const uint32_t capacity = std::max(kFirstBlocks, list->capacity * 2);
    uint8_t* memory = nullptr;
    FZ_TRY(pool_->Allocate(DirectoryBytes(capacity), &memory));
    bytes_ += DirectoryBytes(capacity);
    auto** directory = reinterpret_cast<Block**>(memory);
    std::copy_n(blocks_of(list), list->blocks, directory);
    if (list->directory != nullptr) {
      bytes_ -= DirectoryBytes(list->capacity);
      pool_->Free(reinterpret_cast<uint8_t*>(list->directory), DirectoryBytes(list->capacity));
    }
    list->directory = directory;
    list->single = nullptr;
    list->capacity = capacity;
  }
  FZ_ASSIGN(Block * added, allocate(kBlockRows));
  Block* full = list->directory[number];
  const uint32_t kept = number + 1 == list->blocks ? full->size - 1 : full->size / 2;
  added->size = full->size - kept;
  std::copy_n(full->rows() + kept, added->size, added->rows());
  full->size = kept;
  std::copy_backward(list->directory + number + 1, list->directory + list->blocks,
                     list->directory + list->blocks + 1);
  list->directory[number + 1] = added;
  ++list->blocks;
  return Status::OK();
}

Status TimeLists::insert(List* list, TimedRow row) {
  if (list->blocks == 0) {
    FZ_ASSIGN(Block * first, allocate(kFirstRows));
    first->rows()[first->size++] = row;
    list->single = first;
    list->blocks = 1;
    return Status::OK();
  }
  Place place = lower_bound(*list, row);
  // Behind the last row of a block rather than before the first of the next, or behind the last of all.
  if (place.block == list->blocks || (place.at == 0 && place.block > 0)) {
    --place.block;
    place.at = blocks_of(*list)[place.block]->size;
  }
  Block** block = &blocks_of(list)[place.block];
  if ((*block)->size == (*block)->capacity) {
    if ((*block)->capacity < kBlockRows) {
      FZ_TRY(grow(block));
    } else {
      FZ_TRY(split(list, place.block));
      const uint32_t left = list->directory[place.block]->size;
      if (place.at > left) {
        place.at -= left;
        ++place.block;
      }
      block = &list->directory[place.block];
    }
  }
  TimedRow* rows = (*block)->rows();
  std::copy_backward(rows + place.at, rows + (*block)->size, rows + (*block)->size + 1);
  rows[place.at] = row;
  ++(*block)->size;
  return Status::OK();
}

bool TimeLists::remove(List* list, TimedRow row) {
  const Place place = lower_bound(*list, row);
  if (place.block == list->blocks) return false;
  Block* block = blocks_of(*list)[place.block];
  TimedRow* rows = block->rows();
  if (place.at == block->size || rows[place.at] != row) return false;
  std::copy(rows + place.at + 1, rows + block->size, rows + place.at);
  if (--block->size == 0) drop(list, place.block);
  return true;
}

// Takes an empty block away.
void TimeLists::drop(List* list, uint32_t number) {
  Block** blocks = blocks_of(list);
  free(blocks[number]);
  std::copy(blocks + number + 1, blocks + list->blocks, blocks + number);
  if (--list->blocks == 0) clear(list);
}

void TimeLists::clear(List* list) {
  for (uint32_t number = 0; number < list->blocks; ++number) free(blocks_of(*list)[number]);
  if (list->directory != nullptr) {
    bytes_ -= DirectoryBytes(list->capacity);
    pool_->Free(reinterpret_cast<uint8_t*>(list->directory), DirectoryBytes(list->capacity));
  }
  std::memset(list, 0, sizeof *list);
}

TimeLists::Place TimeLists::lower_bound(const List& list, TimedRow row) {
  Block* const* blocks = blocks_of(list);
  // No block is empty: the first whose last row is not before it.
  Block* const* found = std::partition_point(
      blocks, blocks + list.blocks, [row](Block* block) { return block->rows()[block->size - 1] < row; });
  if (found == blocks + list.blocks) return {list.blocks, 0};
  TimedRow* rows = (*found)->rows();
  return {static_cast<uint32_t>(found - blocks),
          static_cast<uint32_t>(std::lower_bound(rows, rows + (*found)->size, row) - rows)};
}

const TimedRow* TimeLists::next(const List& list, Place* place) {
  if (place->block >= list.blocks) return nullptr;
  Block* block = blocks_of(list)[place->block];
  const TimedRow* row = block->rows() + place->at;
  if (++place->at == block->size) {
    ++place->block;
    place->at = 0;
  }
  return row;
}

const TimedRow* TimeLists::previous(const List& list, Place place) {
  Block* const* blocks = blocks_of(list);
  if (place.at > 0) return blocks[place.block]->rows() + place.at - 1;
  if (place.block == 0) return nullptr;
  Block* before = blocks[place.block - 1];
  return before->rows() + before->size - 1;
}

}  // namespace frazil
