#include "state/row_arena.h"

#include <algorithm>
#include <limits>
#include <string>

namespace frazil {

RowArena::~RowArena() {
  release_all_outside();
  for (const Chunk& chunk : chunks_) {
    pool_->Free(reinterpret_cast<uint8_t*>(chunk.memory), static_cast<int64_t>(bytes_of(chunk.units)));
  }
}

void RowArena::clear() {
  release_all_outside();
  for (Chunk& chunk : chunks_) chunk.used = 0;
  if (!chunks_.empty()) chunks_[0].used = kReservedUnits;
  open_ = 0;
  free_.fill(0);
}

void RowArena::release_all_outside() {
  Walk walk;
  while (outside_bytes_ > 0) {
    std::byte* row = next(&walk);
    if (has(row, kOutside) && !has(row, kFree)) release_outside(row);
  }
}

void RowArena::release_outside(std::byte* row) {
  Outside outside;
  std::memcpy(&outside, key_place(row), sizeof outside);
  pool_->Free(reinterpret_cast<uint8_t*>(outside.bytes), outside.length);
  outside_bytes_ -= outside.length;
}

Status RowArena::add_chunk(uint32_t units) {
  if (chunks_.size() == kChunksMax) {
    return Error(ErrorKind::kUser, "a state table has " + std::to_string(4 << unit_shift_) +
                                       " GiB of rows in one worker, which is all it can hold; use more "
                                       "workers, fewer keys or shorter windows");
  }
  FZ_TRY(chunks_.reserve(chunks_.size() + 1));
  const auto usual = static_cast<uint32_t>(
      std::clamp<int64_t>(chunk_bytes_ >> unit_shift_ >> 2, kFirstChunkUnits, kChunkUnits));
  const uint32_t reserved = chunks_.empty() ? kReservedUnits : 0;
  Chunk chunk{nullptr, std::max(usual, units + reserved), reserved};
  uint8_t* memory = nullptr;
  FZ_TRY(pool_->Allocate(static_cast<int64_t>(bytes_of(chunk.units)), &memory));
  chunk.memory = reinterpret_cast<std::byte*>(memory);
  chunk_bytes_ += static_cast<int64_t>(bytes_of(chunk.units));
  chunks_.push_back(chunk);
  return Status::OK();
}

Result<uint32_t> RowArena::take(uint32_t behind) {
  if (const uint32_t row = free_[behind]; row != 0) {
    std::memcpy(&free_[behind], key_place(at(row)), sizeof(uint32_t));
    return row;
  }
  const uint32_t units = (payload_ >> unit_shift_) + behind;
  while (open_ < chunks_.size() && chunks_[open_].units - chunks_[open_].used < units) ++open_;
  if (open_ == chunks_.size()) FZ_TRY(add_chunk(units));
  Chunk& chunk = chunks_[open_];
  const auto row = static_cast<uint32_t>(open_ << kChunkShift | chunk.used);
  chunk.used += units;
  set_head(at(row), 0);  // a row that was never used is in no list
  return row;
}

Result<uint32_t> RowArena::allocate(std::string_view key) {
  if (key.size() > std::numeric_limits<uint32_t>::max()) {
    return Error(ErrorKind::kUser, "a key of " + std::to_string(key.size()) + " bytes; 4 GiB are the most");
  }
  const bool outside = key.size() > kInlineKeyBytes;
  const auto bits = static_cast<uint16_t>(outside ? size_t{kOutside} : key.size());
  Outside place{nullptr, static_cast<uint32_t>(key.size())};
  if (outside) {
    uint8_t* memory = nullptr;
    FZ_TRY(pool_->Allocate(place.length, &memory));
    std::memcpy(memory, key.data(), key.size());
    place.bytes = reinterpret_cast<char*>(memory);
  }
  auto taken = take(units_behind(bits));
  if (!taken.ok()) {
    if (outside) pool_->Free(reinterpret_cast<uint8_t*>(place.bytes), place.length);
    return taken.status();
  }
  std::byte* row = at(*taken);
  set_head(row, static_cast<uint16_t>(bits | (head(row) & kListed)));
  if (outside) {
    outside_bytes_ += place.length;
    std::memcpy(key_place(row), &place, sizeof place);
  } else if (!key.empty()) {
    std::memcpy(key_place(row), key.data(), key.size());
  }
  return *taken;
}

void RowArena::release(uint32_t number) {
  std::byte* row = at(number);
  if (has(row, kOutside)) release_outside(row);
  const uint16_t bits = head(row);
  const uint32_t behind = units_behind(bits);
  set_head(row, static_cast<uint16_t>((bits & (kLengthMask | kOutside | kListed)) | kFree));
  std::memcpy(key_place(row), &free_[behind], sizeof(uint32_t));
  free_[behind] = number;
}

std::byte* RowArena::next(Walk* walk) const {
  for (; walk->chunk < chunks_.size(); ++walk->chunk, walk->unit = 0) {
    const Chunk& chunk = chunks_[walk->chunk];
    if (walk->chunk == 0 && walk->unit == 0) walk->unit = 1;
    if (walk->unit >= chunk.used) continue;
    std::byte* row = chunk.memory + bytes_of(walk->unit);
    walk->unit += (payload_ >> unit_shift_) + units_behind(head(row));
    return row;
  }
  return nullptr;
}

}  // namespace frazil
