#pragma once

#include <arrow/record_batch.h>
#include <arrow/type.h>
#include <parquet/properties.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "connector/iceberg/options.h"

namespace frazil::iceberg {

// A primitive column inside a table's schema.
struct Leaf {
  std::string path;          // as Parquet writes it: "a.b", "tags.list.element", "map.key_value.key"
  std::vector<int> indices;  // from the schema down, through structs; empty if it is inside a list or map
  std::shared_ptr<arrow::DataType> type;
  int32_t field_id = -1;
  MetricsMode metrics;
  bool statistics = false;  // kept by Parquet while writing

  bool repeated() const { return indices.empty(); }
  bool top() const { return indices.size() == 1; }
};

// Leaves in Parquet's order. Each column's metrics are those of `options.metrics`, by its path or that of a
// parent, else those of "*", else the default: bounds for what prunes (numbers, dates, times, uuids, sources
// of partitions), counts for the rest (text, bytes, floats, booleans). kConfig error if a leaf has no
// PARQUET:field_id.
Result<std::vector<Leaf>> Leaves(const arrow::Schema& schema, const WriterOptions& options);

// Chooses how columns are encoded, by the share of distinct values in the first rows seen: a dictionary where
// values repeat; else DELTA_BINARY_PACKED for integers and times, plain for the rest. High-cardinality
// dictionaries are what costs most in writing Parquet. Used by one thread.
class EncodingChooser {
 public:
  EncodingChooser(std::vector<Leaf> leaves, const WriterOptions& options);

  // Looks at rows that are to be written, until it has seen enough of them.
  void Observe(const arrow::RecordBatch& batch);
  // Looks at the next rows again.
  void Restart();
  // Properties for a new file.
  Result<std::shared_ptr<parquet::WriterProperties>> Properties(arrow::MemoryPool* pool) const;

 private:
  std::vector<Leaf> leaves_;
  bool delta_;
  arrow::Compression::type codec_ = arrow::Compression::UNCOMPRESSED;
  bool codec_known_ = true;
  std::string codec_name_;
  int level_;
  int64_t rows_ = 0;
  std::vector<double> distinct_;  // per leaf, 0..1; negative = not looked at
};

}  // namespace frazil::iceberg
