#pragma once

#include <parquet/metadata.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/status.h"
#include "connector/iceberg/encoding.h"

namespace frazil::iceberg {

// What Iceberg's manifests say about the columns of a data file, by field id of the leaf. Bounds are raw
// single-value bytes.
struct FileMetrics {
  int64_t rows = 0;
  std::map<int32_t, int64_t> column_sizes;
  std::map<int32_t, int64_t> value_counts;
  std::map<int32_t, int64_t> null_counts;
  std::map<int32_t, int64_t> nan_counts;
  std::map<int32_t, std::string> lower;
  std::map<int32_t, std::string> upper;
  std::vector<int64_t> split_offsets;  // where row groups begin
};

// Counted while a file is written, per leaf: nulls of top-level columns without Parquet statistics, NaNs of
// float columns with bounds.
struct LeafCounts {
  int64_t nulls = 0;
  int64_t nans = 0;
};

// Reads the metrics off a closed file's metadata. Columns in lists and maps have counts but no bounds, as in
// Iceberg's own writers. A missing bound means that it is not known: all values null or NaN, or a value over
// 4 KiB, or a column whose mode asks for none.
Result<FileMetrics> ReadMetrics(const parquet::FileMetaData& metadata, const std::vector<Leaf>& leaves,
                                const std::vector<LeafCounts>& counts);

// Adds what a batch holds to the counts of `leaves`.
Status CountLeaves(const arrow::RecordBatch& batch, const std::vector<Leaf>& leaves,
                   std::vector<LeafCounts>* counts);

}  // namespace frazil::iceberg
