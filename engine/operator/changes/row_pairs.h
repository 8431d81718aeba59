#pragma once

#include <arrow/array.h>
#include <arrow/memory_pool.h>

#include <cstdint>
#include <vector>

#include "base/batch.h"
#include "base/status.h"

namespace frazil {

// Makes changes of rows as they were and rows as they are, which have the same columns.
class RowPairs {
 public:
  RowPairs(const arrow::ArrayVector& before, const arrow::ArrayVector& after);

  // A row that is new, one that is gone, and one that may be changed: nothing if all its values are the same
  // (NaN as NaN).
  void insert(int64_t after) { give(rows_before_ + after, RowKind::kInsert); }
  void remove(int64_t before) { give(before, RowKind::kDelete); }
  void update(int64_t before, int64_t after);

  // How many changes there are so far, and their columns, then the kinds.
  size_t size() const { return kinds_.size(); }
  Result<arrow::ArrayVector> columns(arrow::MemoryPool* pool) const;

 private:
  void give(int64_t place, RowKind kind);
  bool same(int64_t before, int64_t after) const;

  const arrow::ArrayVector& before_;
  const arrow::ArrayVector& after_;
  const int64_t rows_before_;
  std::vector<int32_t> places_;  // in the rows before, and behind them those after
  std::vector<uint8_t> kinds_;
};

}  // namespace frazil
