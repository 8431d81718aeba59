#pragma once

#include <arrow/record_batch.h>

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "base/status.h"
#include "state/held_rows.h"

namespace frazil {

// Held rows of which each may be needed by several: a row is let go with its last user. One thread; the pool
// outlives it.
class SharedRows {
 public:
  using Id = uint32_t;

  SharedRows(std::shared_ptr<arrow::Schema> schema, arrow::MemoryPool* pool)
      : rows_(std::move(schema), pool) {}

  // Holds all rows of a batch, which has some; `ids` are theirs, and each has one user: the caller.
  Status add(std::shared_ptr<arrow::RecordBatch> rows, std::vector<Id>* ids);
  void use(Id id) { ++entries_[id].users; }
  Status let_go(Id id);

  // The rows in the order given, each as often as it is given.
  Result<std::shared_ptr<arrow::RecordBatch>> gather(std::span<const Id> ids) const;

  // At a barrier: gives the memory back of rows that were let go, if there is much of it.
  Status compact();

  const std::shared_ptr<arrow::Schema>& schema() const { return rows_.schema(); }
  int64_t size() const { return rows_.size(); }
  int64_t bytes() const { return rows_.bytes() + static_cast<int64_t>(entries_.capacity() * sizeof(Entry)); }

 private:
  struct Entry {
    HeldRow row;
    uint32_t users = 0;  // none: the number is free
  };

  HeldRows rows_;
  std::vector<Entry> entries_;
  std::vector<Id> free_;
};

}  // namespace frazil
