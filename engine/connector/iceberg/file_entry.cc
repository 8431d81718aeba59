#include "connector/iceberg/file_entry.h"

#include <nlohmann/json.hpp>

#include "connector/iceberg/single_value.h"

namespace frazil::iceberg {
namespace {

nlohmann::json Counts(const std::map<int32_t, int64_t>& counts) {
  auto json = nlohmann::json::object();
  for (const auto& [id, count] : counts) json[std::to_string(id)] = count;
  return json;
}

nlohmann::json Bounds(const std::map<int32_t, std::string>& bounds) {
  auto json = nlohmann::json::object();
  for (const auto& [id, bytes] : bounds) json[std::to_string(id)] = Hex(bytes);
  return json;
}

nlohmann::json PartitionOf(const PartitionKey& key) {
  auto partition = nlohmann::json::array();
  for (const auto& value : key.values)
    partition.push_back(value ? nlohmann::json(Hex(*value)) : nlohmann::json(nullptr));
  return partition;
}

}  // namespace

std::string PartitionText(const PartitionKey& key) { return PartitionOf(key).dump(); }

std::string FileEntry(const DataFolder& folder, const DataFile& file, const PartitionKey& key,
                      int32_t spec_id) {
  const FileMetrics& metrics = file.metrics;
  const nlohmann::json entry = {{"path", folder.Uri(file.name)},
                                {"bytes", file.bytes},
                                {"rows", metrics.rows},
                                {"spec_id", spec_id},
                                {"partition", PartitionOf(key)},
                                {"column_sizes", Counts(metrics.column_sizes)},
                                {"value_counts", Counts(metrics.value_counts)},
                                {"null_counts", Counts(metrics.null_counts)},
                                {"nan_counts", Counts(metrics.nan_counts)},
                                {"lower", Bounds(metrics.lower)},
                                {"upper", Bounds(metrics.upper)},
                                {"split_offsets", metrics.split_offsets}};
  return entry.dump();
}

std::string TokenOf(const std::vector<std::string>& entries, const std::string& table_uuid) {
  if (entries.empty()) return "";
  std::string token = "{\"v\":1,";
  if (!table_uuid.empty()) token += "\"table\":" + nlohmann::json(table_uuid).dump() + ",";
  token += "\"files\":[";
  for (size_t i = 0; i < entries.size(); ++i) token += (i == 0 ? "" : ",") + entries[i];
  return token + "]}";
}

}  // namespace frazil::iceberg
