#pragma once

#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/status.h"

namespace frazil {

// Where a held row is.
struct HeldRow {
  uint32_t block = 0;
  uint32_t row = 0;
  auto operator<=>(const HeldRow&) const = default;
};

// Rows that an operator keeps for a while, as columns: batches as they came, whose rows are let go one by
// one. A block's memory is given back with its last row; compact() writes together those of which little is
// left. One thread; the pool outlives it.
class HeldRows {
 public:
  HeldRows(std::shared_ptr<arrow::Schema> schema, arrow::MemoryPool* pool)
      : schema_(std::move(schema)), pool_(pool) {}

  // Holds all rows of a batch of the schema; gives the number of their block, in which they have the numbers
  // they have in the batch, which has rows.
  Result<uint32_t> add(std::shared_ptr<arrow::RecordBatch> rows);
  // Lets a row go; it must be held.
  Status release(HeldRow row);

  // Columns of the block of a row.
  const arrow::RecordBatch& block(uint32_t number) const { return *blocks_[number].rows; }
  // The rows in the order given, each as often as it is given, as one batch: without a copy if they stand
  // side by side. Errors: no memory; text of more than 2 GiB.
  Result<std::shared_ptr<arrow::RecordBatch>> gather(std::span<const HeldRow> rows) const;

  // Rows of blocks that were added since settle() are new: a checkpoint has them to write.
  bool is_new(HeldRow row) const { return blocks_[row.block].is_new; }
  void settle();

  // True if more than half of the memory is of rows that were let go.
  bool sparse() const;
  // Moves rows so that this is no more so. `rows` are all rows that are held, in any order; they are told
  // their new places. Nothing may be new. Errors: no memory; then nothing has moved.
  Status compact(std::span<HeldRow* const> rows);

  const std::shared_ptr<arrow::Schema>& schema() const { return schema_; }
  int64_t size() const { return live_; }
  // Of the columns of all blocks, whoever allocated them.
  int64_t bytes() const { return bytes_; }

 private:
  struct Block {
    std::shared_ptr<arrow::RecordBatch> rows;
    int64_t live = 0;
    int64_t bytes = 0;
    bool is_new = true;
  };

  const std::shared_ptr<arrow::Schema> schema_;
  arrow::MemoryPool* const pool_;
  std::vector<Block> blocks_;
  std::vector<uint32_t> free_;  // numbers of blocks that are gone
  int64_t live_ = 0;            // rows
  int64_t bytes_ = 0;
  int64_t live_bytes_ = 0;  // about those of rows that are held
};

}  // namespace frazil
