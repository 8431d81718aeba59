#pragma once

#include <memory>
#include <nlohmann/json.hpp>

#include "base/status.h"
#include "connector/sink.h"

namespace frazil::iceberg {

// The data writer of an Iceberg table: encodes rows into Parquet files under the table's data folder and
// tells in its token, {"v":1,"files":[...]}, what the committer needs to add them to the table. It never
// touches the catalog. Options are those of ParseWriterOptions; kConfig errors for what is wrong with them.
//
// Memory is bounded: rows of a partition gather until they are worth encoding (limits::kPendingRows,
// kPendingBytes; pieces of batches in them, kPendingSlices, are put side by side), at most
// limits::kOpenWriters files are open and hold limits::kOpenWriterBytes. Beyond that the least recently used,
// or the largest, is closed and its partition gets another file later: many partitions mean small files,
// never more memory. Files that no token names are removed when the sink is destroyed, as far as that works;
// the table's orphan removal finds the others.
Result<std::unique_ptr<Sink>> MakeIcebergSink(const nlohmann::json& options, const SinkContext& context);

}  // namespace frazil::iceberg
