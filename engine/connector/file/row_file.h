#pragma once

#include <arrow/io/interfaces.h>
#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>

#include <cstdint>
#include <memory>

#include "base/status.h"

namespace frazil {

// One file of rows being written; by one thread at a time. Errors do not name the file.
class RowFile {
 public:
  virtual ~RowFile() = default;
  virtual Status Write(const std::shared_ptr<arrow::RecordBatch>& batch) = 0;
  // Writes what is left and closes the stream. Once.
  virtual Status Close() = 0;
  // Bytes held in memory.
  virtual int64_t held() const = 0;
};

// One JSON object a line (format/json_encode.h).
std::unique_ptr<RowFile> MakeJsonRowFile(std::shared_ptr<arrow::io::OutputStream> output);

// Parquet, zstd; row groups are closed at limits::kRowGroupBytes of Arrow data. The schema is the first
// batch's.
std::unique_ptr<RowFile> MakeParquetRowFile(std::shared_ptr<arrow::io::OutputStream> output,
                                            arrow::MemoryPool* pool);

}  // namespace frazil
