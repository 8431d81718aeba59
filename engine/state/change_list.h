#pragma once

#include <arrow/memory_pool.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "state/pool_array.h"

namespace frazil {

// A list of rows that only grows until it is cleared, in segments of 16 to 4096, so that no addition copies
// what is there. One thread; memory from the pool only.
class ChangeList {
 public:
  explicit ChangeList(arrow::MemoryPool* pool) : pool_(pool), segments_(pool) {}
  ~ChangeList() { clear(); }
  ChangeList(const ChangeList&) = delete;
  ChangeList& operator=(const ChangeList&) = delete;

  size_t size() const { return size_; }
  int64_t bytes() const { return segment_bytes_ + segments_.bytes(); }

  // Makes room for one more, so that the next push_back cannot fail.
  Status reserve() {
    if (!segments_.empty() && segments_.back().used < segments_.back().capacity) return Status::OK();
    FZ_TRY(segments_.reserve(segments_.size() + 1));
    Segment segment{nullptr, 0, uint32_t{16} << std::min<size_t>(segments_.size(), 8)};
    uint8_t* memory = nullptr;
    FZ_TRY(pool_->Allocate(bytes_of(segment), &memory));
    segment.rows = reinterpret_cast<std::byte**>(memory);
    segment_bytes_ += bytes_of(segment);
    segments_.push_back(segment);
    return Status::OK();
  }
  void push_back(std::byte* row) {
    Segment& last = segments_.back();
    last.rows[last.used++] = row;
    ++size_;
  }
  void clear() {
    for (const Segment& segment : segments_) {
      pool_->Free(reinterpret_cast<uint8_t*>(segment.rows), bytes_of(segment));
    }
    segments_.clear();
    size_ = 0;
    segment_bytes_ = 0;
  }

  // A walk from the oldest to the newest; nullptr at the end.
  struct Walk {
    size_t segment = 0;
    uint32_t row = 0;
  };
  std::byte* next(Walk* walk) const {
    for (; walk->segment < segments_.size(); ++walk->segment, walk->row = 0) {
      const Segment& segment = segments_[walk->segment];
      if (walk->row < segment.used) return segment.rows[walk->row++];
      if (segment.used < segment.capacity) return nullptr;
    }
    return nullptr;
  }

 private:
  struct Segment {
    std::byte** rows;
    uint32_t used;
    uint32_t capacity;
  };
  static int64_t bytes_of(const Segment& segment) {
    return int64_t{segment.capacity} * static_cast<int64_t>(sizeof(std::byte*));
  }

  arrow::MemoryPool* pool_;
  PoolArray<Segment> segments_;
  size_t size_ = 0;
  int64_t segment_bytes_ = 0;
};

}  // namespace frazil
