#pragma once

#include <arrow/array/array_primitive.h>
#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "connector/iceberg/options.h"

namespace frazil::iceberg {

// A partition of a table: one value per field of the spec.
struct PartitionKey {
  std::vector<std::optional<std::string>> values;  // single-value bytes, nullopt = null
  std::string path;                                // "day=2026-01-01/user_bucket=3"; empty if unpartitioned
};

// Rows of one partition: a range of a batch whose rows are ordered by partition.
struct PartitionSlice {
  std::string id;  // equal for equal values, unequal for others
  PartitionKey key;
  int64_t offset = 0;
  int64_t length = 0;
};

struct PartitionedBatch {
  std::shared_ptr<arrow::RecordBatch> rows;  // the batch itself if it is in one partition
  std::vector<PartitionSlice> slices;        // in order of each partition's first row
  std::shared_ptr<arrow::Int64Array> order;  // which row of the batch each of `rows` is; null: they are its
};

// Splits batches by partition; rows keep their order inside a partition. Used by one thread.
class Partitioner {
 public:
  // kConfig error if a transform is not defined for its column.
  static Result<Partitioner> Make(const WriterOptions& options, const arrow::Schema& schema,
                                  arrow::MemoryPool* pool);

  // `batch` has the table's schema.
  Result<PartitionedBatch> Split(const std::shared_ptr<arrow::RecordBatch>& batch) const;

 private:
  struct Field {
    PartitionField spec;
    int column = 0;
  };
  Result<PartitionKey> KeyAt(const arrow::ArrayVector& values, int64_t row) const;

  std::vector<Field> fields_;
  arrow::MemoryPool* pool_ = nullptr;
};

}  // namespace frazil::iceberg
