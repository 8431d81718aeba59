#pragma once

#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>
#include <parquet/arrow/writer.h>
#include <parquet/file_writer.h>

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "connector/data_folder.h"
#include "connector/iceberg/encoding.h"
#include "connector/iceberg/metrics.h"

namespace frazil::iceberg {

// What a closed data file is.
struct DataFile {
  std::string name;  // relative to the folder
  int64_t bytes = 0;
  FileMetrics metrics;
};

// One data file being written. Rows gather encoded in memory until a row group is full, then it is written
// out. Used by one thread at a time; a file may be handed to another to be closed. Errors name the file. A
// file that is destroyed before Close() succeeded is removed, as far as that works.
class ParquetFile {
 public:
  // `leaves` and `schema` outlive the file's owner through shared ownership.
  static Result<std::unique_ptr<ParquetFile>> Open(std::shared_ptr<DataFolder> folder, std::string name,
                                                   std::shared_ptr<arrow::Schema> schema,
                                                   std::shared_ptr<const std::vector<Leaf>> leaves,
                                                   const EncodingChooser& encodings, int64_t row_group_bytes,
                                                   arrow::MemoryPool* pool);
  ~ParquetFile();

  // Takes rows in the file's schema.
  Status Write(const arrow::RecordBatch& batch);
  // Finishes the file; when it returns, the file is durable. Once.
  Result<DataFile> Close();

  // Bytes of memory held.
  int64_t memory() const { return pool_.bytes_allocated(); }
  // Bytes the file has now or will have, about.
  int64_t encoded() const;
  int64_t rows() const { return rows_; }
  const std::string& name() const { return name_; }

 private:
  ParquetFile(std::shared_ptr<DataFolder> folder, std::string name,
              std::shared_ptr<const std::vector<Leaf>> leaves, int64_t row_group_bytes,
              arrow::MemoryPool* pool);
  int64_t RowGroupBytes() const;
  Status Failed(const Status& status) const;

  arrow::ProxyMemoryPool pool_;  // first: it counts what everything below holds
  std::shared_ptr<DataFolder> folder_;
  std::string name_;
  std::shared_ptr<const std::vector<Leaf>> leaves_;
  int64_t row_group_bytes_;
  std::vector<LeafCounts> counts_;
  std::shared_ptr<arrow::io::OutputStream> output_;
  std::unique_ptr<parquet::arrow::FileWriter> writer_;
  parquet::RowGroupWriter* group_ = nullptr;  // the open one, of writer_
  int64_t rows_ = 0;
  bool closed_ = false;
};

}  // namespace frazil::iceberg
