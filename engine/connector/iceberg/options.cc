#include "connector/iceberg/options.h"

#include <arrow/io/memory.h>
#include <arrow/ipc/dictionary.h>
#include <arrow/ipc/reader.h>
#include <arrow/util/base64.h>

#include <charconv>
#include <set>

namespace frazil::iceberg {
namespace {

Status Bad(const std::string& key, const std::string& what) {
  return Error(ErrorKind::kConfig, "reading the options of an Iceberg sink: \"" + key + "\": " + what);
}

template <typename T>
Status Read(const nlohmann::json& json, const char* key, T* out) {
  const auto found = json.find(key);
  if (found == json.end() || found->is_null()) return Status::OK();
  if constexpr (std::is_same_v<T, std::string>) {
    if (!found->is_string()) return Bad(key, "expected a string, got " + found->dump());
  } else if constexpr (std::is_same_v<T, bool>) {
    if (!found->is_boolean()) return Bad(key, "expected true or false, got " + found->dump());
  } else {
    if (!found->is_number_integer()) return Bad(key, "expected an integer, got " + found->dump());
  }
  *out = found->get<T>();
  return Status::OK();
}

Result<std::shared_ptr<arrow::Schema>> ReadSchema(const std::string& text) {
  if (text.empty()) return Bad("schema", "missing");
  auto bytes = arrow::util::base64_decode(text);
  if (!bytes.ok()) return Bad("schema", "not base64");
  auto buffer = arrow::Buffer::FromString(std::move(*bytes));
  arrow::io::BufferReader reader(buffer);
  arrow::ipc::DictionaryMemo memo;
  auto schema = arrow::ipc::ReadSchema(&reader, &memo);
  if (!schema.ok()) return Bad("schema", "not a serialized Arrow schema: " + MessageOf(schema.status()));
  return schema;
}

Result<PartitionField> ReadPartitionField(const nlohmann::json& json, const arrow::Schema& schema) {
  if (!json.is_object()) return Bad("partition", "expected objects, got " + json.dump());
  PartitionField field;
  FZ_TRY(Read(json, "source", &field.source));
  FZ_TRY(Read(json, "name", &field.name));
  FZ_TRY(Read(json, "transform", &field.transform));
  FZ_TRY(Read(json, "param", &field.param));
  static const std::set<std::string> kTransforms = {"identity", "bucket", "truncate", "year",
                                                    "month",    "day",    "hour",     "void"};
  if (!kTransforms.contains(field.transform))
    return Bad("partition", "unknown transform \"" + field.transform + "\"");
  const bool sized = field.transform == "bucket" || field.transform == "truncate";
  if (sized && (field.param <= 0 || field.param > INT32_MAX)) {
    return Bad("partition",
               field.transform + " needs \"param\" from 1 to 2147483647, got " + std::to_string(field.param));
  }
  if (schema.GetFieldIndex(field.source) < 0) {
    return Bad("partition", "source column \"" + field.source + "\" is not a top-level column of the table");
  }
  return field;
}

Result<std::vector<std::string>> ReadKey(const nlohmann::json& json, const arrow::Schema& schema) {
  if (!json.is_array()) return Bad("key", "expected a list of columns, got " + json.dump());
  std::vector<std::string> key;
  for (const auto& column : json) {
    if (!column.is_string()) return Bad("key", "expected names of columns, got " + json.dump());
    key.push_back(column.get<std::string>());
    if (schema.GetFieldIndex(key.back()) < 0) return Bad("key", "the table has no column " + column.dump());
  }
  return key;
}

// Columns by which stream and table differ; none if it is not said.
Result<std::set<std::string>> ReadColumns(const nlohmann::json& options, const char* key) {
  std::set<std::string> columns;
  const auto found = options.find(key);
  if (found == options.end() || found->is_null()) return columns;
  const nlohmann::json& json = *found;
  if (!json.is_array()) return Bad(key, "expected a list of columns, got " + json.dump());
  for (const auto& column : json) {
    if (!column.is_string()) return Bad(key, "expected names of columns, got " + json.dump());
    columns.insert(column.get<std::string>());
  }
  return columns;
}

}  // namespace

Result<MetricsMode> ParseMetricsMode(const std::string& text) {
  using Kind = MetricsMode::Kind;
  if (text == "none") return MetricsMode{Kind::kNone};
  if (text == "counts") return MetricsMode{Kind::kCounts};
  if (text == "full") return MetricsMode{Kind::kFull};
  constexpr std::string_view kHead = "truncate(";
  if (text.starts_with(kHead) && text.ends_with(")")) {
    MetricsMode mode{Kind::kTruncate};
    const char* last = text.data() + text.size() - 1;
    const auto [end, error] = std::from_chars(text.data() + kHead.size(), last, mode.width);
    if (error == std::errc() && end == last && mode.width > 0) return mode;
  }
  return Bad("metrics", "expected none, counts, full or truncate(<length>), got \"" + text + "\"");
}

Result<WriterOptions> ParseWriterOptions(const nlohmann::json& json) {
  if (!json.is_object())
    return Error(ErrorKind::kConfig, "reading the options of an Iceberg sink: expected an object");
  WriterOptions options;
  std::string schema;
  FZ_TRY(Read(json, "location", &options.location));
  while (options.location.ends_with('/')) options.location.pop_back();
  if (options.location.empty()) return Bad("location", "missing");
  FZ_TRY(Read(json, "schema", &schema));
  FZ_ASSIGN(options.schema, ReadSchema(schema));
  FZ_TRY(Read(json, "spec_id", &options.spec_id));
  FZ_TRY(Read(json, "attempt", &options.attempt));
  FZ_TRY(Read(json, "table_uuid", &options.table_uuid));
  FZ_TRY(Read(json, "scope", &options.scope));
  if (!options.scope.empty() && options.scope.size() != 8) {
    return Error(ErrorKind::kConfig, "iceberg sink: scope is 8 hex digits, not \"" + options.scope + "\"");
  }
  FZ_TRY(Read(json, "compression", &options.compression));
  FZ_TRY(Read(json, "compression_level", &options.compression_level));
  FZ_TRY(Read(json, "target_file_bytes", &options.file_bytes));
  FZ_TRY(Read(json, "row_group_bytes", &options.row_group_bytes));
  FZ_TRY(Read(json, "delta_encoding", &options.delta_encoding));
  if (options.file_bytes <= 0) return Bad("target_file_bytes", "must be positive");
  if (options.row_group_bytes <= 0) return Bad("row_group_bytes", "must be positive");
  if (const auto s3 = json.find("s3"); s3 != json.end()) options.s3 = *s3;
  if (const auto fields = json.find("partition"); fields != json.end() && !fields->is_null()) {
    if (!fields->is_array()) return Bad("partition", "expected a list");
    for (const auto& item : *fields) {
      FZ_ASSIGN(auto field, ReadPartitionField(item, *options.schema));
      options.partition.push_back(std::move(field));
    }
  }
  if (const auto key = json.find("key"); key != json.end() && !key->is_null()) {
    FZ_ASSIGN(options.key, ReadKey(*key, *options.schema));
  }
  FZ_ASSIGN(options.left_out, ReadColumns(json, "left_out"));
  FZ_ASSIGN(options.narrowed, ReadColumns(json, "narrowed"));
  FZ_TRY(Read(json, "order_by", &options.order_by));
  FZ_TRY(Read(json, "deleted", &options.deleted));
  FZ_TRY(Read(json, "seed", &options.seed));
  if (!options.deleted.empty() && options.schema->GetFieldIndex(options.deleted) < 0) {
    return Bad("deleted", "the table has no column \"" + options.deleted + "\"");
  }
  if (const auto metrics = json.find("metrics"); metrics != json.end() && !metrics->is_null()) {
    if (!metrics->is_object()) return Bad("metrics", "expected an object of column: mode");
    for (const auto& [column, mode] : metrics->items()) {
      if (!mode.is_string()) return Bad("metrics", "expected a string for column \"" + column + "\"");
      FZ_ASSIGN(options.metrics[column], ParseMetricsMode(mode.get<std::string>()));
    }
  }
  return options;
}

}  // namespace frazil::iceberg
