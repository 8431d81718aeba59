#include "format/debezium_events.h"

#include <arrow/util/key_value_metadata.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/batch.h"
#include "format/debezium_rows.h"
#include "format/json_column.h"
#include "format/json_rest.h"

namespace frazil {
namespace {

using Json = nlohmann::json;

bool IsKey(const DebeziumOptions& options, const std::string& name) {
  return std::find(options.key.begin(), options.key.end(), name) != options.key.end();
}

arrow::Result<std::shared_ptr<arrow::Field>> WithSource(const std::shared_ptr<arrow::Field>& field,
                                                        const Json& keys) {
  auto metadata =
      field->metadata() == nullptr ? std::make_shared<arrow::KeyValueMetadata>() : field->metadata()->Copy();
  FZ_TRY(metadata->Set("fz:source", keys.dump()));
  return field->WithMetadata(std::move(metadata));
}

// The columns of the table as they are read, of one side of an event. Those of a row before may be
// missing, except the key's.
Result<arrow::FieldVector> Columns(const arrow::Schema& schema, const DebeziumOptions& options,
                                   const DebeziumColumn& made, const std::string& side) {
  const bool relaxed = side != kAfterField;
  arrow::FieldVector fields;
  for (const auto& field : schema.fields()) {
    if (field->name() == kKindColumn || !JsonMetadata(*field, kEnvelopeMetadata).empty()) continue;
    if (JsonRest::IsOne(*field)) {
      fields.push_back(field);
      continue;
    }
    FZ_ASSIGN(const std::string source, DebeziumSource(*field));
    FZ_ASSIGN(auto column, made(*field, side));
    if (relaxed && !IsKey(options, field->name())) {
      column = column->WithNullable(true);
      if (!options.unwrapped && column->HasMetadata()) {
        auto metadata = column->metadata()->Copy();
        if (metadata->Contains("fz:default")) FZ_TRY(metadata->Delete("fz:default"));
        column = column->WithMetadata(std::move(metadata));
      }
    }
    FZ_ASSIGN(column, WithSource(column, Json::array({source})));
    fields.push_back(std::move(column));
  }
  return fields;
}

}  // namespace

Result<std::shared_ptr<arrow::Schema>> DebeziumEventSchema(const arrow::Schema& schema,
                                                           const DebeziumOptions& options,
                                                           const DebeziumColumn& column) {
  arrow::FieldVector fields;
  const auto text = [](const char* name) { return arrow::field(name, arrow::utf8()); };
  if (options.unwrapped) {
    FZ_ASSIGN(fields, Columns(schema, options, column, ""));
    FZ_ASSIGN(auto op, WithSource(text(kOpField), Json::array({"__op"})));
    FZ_ASSIGN(auto deleted, WithSource(text(kDeletedField), Json::array({"__deleted"})));
    fields.push_back(std::move(op));
    fields.push_back(std::move(deleted));
    return arrow::schema(std::move(fields));
  }
  for (const char* side : {kBeforeField, kAfterField}) {
    FZ_ASSIGN(auto columns, Columns(schema, options, column, side));
    fields.push_back(arrow::field(side, arrow::struct_(std::move(columns))));
  }
  FZ_ASSIGN(auto op, WithSource(text(kOpField), Json::array({"op"})));
  fields.push_back(std::move(op));
  for (const auto& field : schema.fields()) {
    const std::string keys = JsonMetadata(*field, kEnvelopeMetadata);
    if (keys.empty()) continue;
    FZ_ASSIGN(auto made, WithSource(field, Json::parse(keys, nullptr, /*allow_exceptions=*/false)));
    fields.push_back(std::move(made));
  }
  return arrow::schema(std::move(fields));
}

std::string DebeziumColumnAt(const arrow::Schema& schema, std::string_view path) {
  std::string longest;
  for (const auto& field : schema.fields()) {
    const std::string& name = field->name();
    if (name.size() < longest.size() || !path.starts_with(name)) continue;
    if (path.size() > name.size() && path[name.size()] != '.' && path[name.size()] != '[' &&
        path[name.size()] != ':') {
      continue;
    }
    longest = name;
  }
  return longest;
}

}  // namespace frazil
