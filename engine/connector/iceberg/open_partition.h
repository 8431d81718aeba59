#pragma once

#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "base/status.h"
#include "connector/iceberg/parquet_file.h"
#include "connector/iceberg/partitioner.h"

namespace frazil::iceberg {

// A partition that has rows in the current epoch: rows that wait to be encoded, and the file they go to.
struct OpenPartition {
  struct Piece {
    std::shared_ptr<arrow::RecordBatch> rows;
    int64_t offset = 0;
    int64_t length = 0;
  };

  PartitionKey key;
  std::vector<Piece> pieces;
  int64_t rows = 0;                   // in pieces
  std::unique_ptr<ParquetFile> file;  // nullptr = not open
  int64_t used = 0;                   // when rows last came; grows

  // The waiting rows as one batch; they wait no more.
  Result<std::shared_ptr<arrow::RecordBatch>> TakeRows(arrow::MemoryPool* pool);
};

}  // namespace frazil::iceberg
