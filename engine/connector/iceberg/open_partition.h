#pragma once

#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "connector/iceberg/parquet_file.h"
#include "connector/iceberg/partitioner.h"

namespace frazil::iceberg {

// A partition that has rows in the current epoch: rows that wait to be encoded, and the file they go to,
// which has its name, and so its rows their places, before it is opened.
struct OpenPartition {
  struct Piece {
    std::shared_ptr<arrow::RecordBatch> rows;
    int64_t offset = 0;
    int64_t length = 0;
  };

  PartitionKey key;
  std::string name;     // of the file
  uint32_t number = 0;  // of the file, for places
  std::vector<Piece> pieces;
  int64_t rows = 0;                   // in pieces
  std::unique_ptr<ParquetFile> file;  // nullptr = not open
  int64_t used = 0;                   // when rows last came; grows

  // Rows that the file has or will have.
  int64_t placed() const { return rows + (file == nullptr ? 0 : file->rows()); }
  // The waiting rows as one batch; they wait no more.
  Result<std::shared_ptr<arrow::RecordBatch>> TakeRows(arrow::MemoryPool* pool);
};

}  // namespace frazil::iceberg
