#pragma once

#include <cstdint>
#include <string>

#include "connector/iceberg/parquet_file.h"
#include "connector/iceberg/partitioner.h"

namespace frazil::iceberg {

// A data file as an object of the token's "files".
std::string FileEntry(const DataFolder& folder, const DataFile& file, const PartitionKey& key,
                      int32_t spec_id);

// The values of a partition as a JSON list: single-value bytes in hex, or null.
std::string PartitionText(const PartitionKey& key);

// The token of these entries; empty if there are none.
std::string TokenOf(const std::vector<std::string>& entries, const std::string& table_uuid);

}  // namespace frazil::iceberg
