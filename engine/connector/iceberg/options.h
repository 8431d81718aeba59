#pragma once

#include <arrow/type.h>

#include <cstdint>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "base/limits.h"
#include "base/status.h"

namespace frazil::iceberg {

// Which statistics of a column go into the file and the token.
struct MetricsMode {
  enum class Kind { kNone, kCounts, kTruncate, kFull };
  Kind kind = Kind::kFull;
  int64_t width = 0;  // code points or bytes, for kTruncate

  bool bounds() const { return kind == Kind::kTruncate || kind == Kind::kFull; }
};

// "none", "counts", "full" or "truncate(16)"; kConfig error otherwise.
Result<MetricsMode> ParseMetricsMode(const std::string& text);

// One field of the partition spec. `param` is N of bucket[N] or W of truncate[W], else 0.
struct PartitionField {
  std::string source;  // top-level column
  std::string name;    // of the partition field, for paths
  std::string transform;
  int64_t param = 0;
};

// What a table's data writer is told by Python, checked.
struct WriterOptions {
  std::string location;                   // URI of the folder of data files, without a slash at the end
  nlohmann::json s3;                      // credentials and endpoint; null if not S3
  std::shared_ptr<arrow::Schema> schema;  // with PARQUET:field_id everywhere
  std::string table_uuid;                 // whose field ids these are; goes into tokens
  int32_t spec_id = 0;
  std::vector<PartitionField> partition;
  std::vector<std::string> key;    // columns by which rows replace each other; none: rows are appended
  std::set<std::string> left_out;  // columns of the stream that are not written; with dots inside structs
  std::set<std::string> narrowed;  // columns of a wider type in the stream, whose values have to fit
  std::string order_by;            // column by which rows of a key are older and newer; none: as they come
  std::string deleted;             // column that marks rows that are gone; none: they are deleted
  std::string seed;                // file with the rows that the table has (upsert_sink.h); none: it is empty
  int64_t attempt = 0;
  std::string
      scope;  // 8 hex digits that begin the uuids in file names: whose files these are; empty = random
  std::string compression = "zstd";
  int compression_level = 1;  // of zstd, gzip and brotli
  int64_t file_bytes = limits::kFileBytes;
  int64_t row_group_bytes = limits::kRowGroupBytes;
  bool delta_encoding = true;                  // false for readers without DELTA_BINARY_PACKED
  std::map<std::string, MetricsMode> metrics;  // by dotted column path; "*" is for columns not named
};

// Reads the options of a sink node:
// {"location","schema","table_uuid","spec_id","partition":[{"source","name","transform","param"}],"key","order_by","deleted",
//  "seed","left_out","narrowed","attempt","scope","s3","compression","compression_level","target_file_bytes",
//  "row_group_bytes","delta_encoding","metrics"}.
//  kConfig error naming the key.
Result<WriterOptions> ParseWriterOptions(const nlohmann::json& json);

}  // namespace frazil::iceberg
