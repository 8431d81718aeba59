#include "operator/ordered/keyed_state.h"

#include <span>
#include <utility>

namespace frazil {

Result<KeyColumns> KeyColumns::Make(const nlohmann::json& spec, const arrow::Schema& input) {
  std::vector<int> columns;
  arrow::DataTypeVector types;
  for (const auto& key : spec.at("keys")) {
    const int column = input.GetFieldIndex(key.get<std::string>());
    if (column < 0) return Error(ErrorKind::kConfig, "reading the plan: no key column " + key.dump());
    columns.push_back(column);
    types.push_back(input.field(column)->type());
  }
  FZ_ASSIGN(KeyCodec codec, KeyCodec::Make(std::move(types)));
  return KeyColumns(std::move(columns), std::move(codec));
}

Status KeyColumns::encode(const Batch& batch, EncodedKeys* keys) const {
  arrow::ArrayVector columns;
  for (const int column : columns_) columns.push_back(batch.columns->column(column));
  std::span<const uint64_t> hashes;
  const auto mark = MarkOf(batch, kHashMark);
  if (mark != nullptr) {
    hashes = {static_cast<const arrow::UInt64Array&>(*mark).raw_values(), static_cast<size_t>(batch.rows())};
  }
  return codec_.encode(columns, batch.rows(), keys, hashes);
}

std::shared_ptr<arrow::Schema> KeyedSchema(const arrow::FieldVector& fields) {
  arrow::FieldVector all = {arrow::field("hash", arrow::uint64()), arrow::field("key", arrow::binary())};
  all.insert(all.end(), fields.begin(), fields.end());
  return arrow::schema(std::move(all));
}

Result<arrow::ArrayVector> SavedKeys(const StateTable& table, const std::vector<std::byte*>& payloads,
                                     arrow::MemoryPool* pool) {
  arrow::UInt64Builder hashes(pool);
  arrow::BinaryBuilder keys(pool);
  FZ_TRY(hashes.Reserve(static_cast<int64_t>(payloads.size())));
  for (const std::byte* payload : payloads) {
    hashes.UnsafeAppend(table.hash(payload));
    FZ_TRY(keys.Append(table.key(payload)));
  }
  arrow::ArrayVector columns(2);
  FZ_TRY(hashes.Finish(&columns[0]));
  FZ_TRY(keys.Finish(&columns[1]));
  return columns;
}

Result<std::shared_ptr<arrow::RecordBatch>> SavedNote(const std::shared_ptr<arrow::Schema>& schema,
                                                      const std::string& name, int64_t value,
                                                      arrow::MemoryPool* pool) {
  arrow::ArrayVector columns;
  for (const auto& field : schema->fields()) {
    if (field->name() == name) {
      FZ_ASSIGN(auto column, arrow::MakeArrayFromScalar(arrow::Int64Scalar(value), 1, pool));
      columns.push_back(std::move(column));
    } else {
      FZ_ASSIGN(auto column, arrow::MakeArrayOfNull(field->type(), 1, pool));
      columns.push_back(std::move(column));
    }
  }
  return arrow::RecordBatch::Make(schema, 1, std::move(columns));
}

std::vector<std::byte*> PayloadsOf(std::span<const StateTable::Change> rows) {
  std::vector<std::byte*> payloads;
  payloads.reserve(rows.size());
  for (const StateTable::Change& row : rows) payloads.push_back(row.payload);
  return payloads;
}

Status Freeze(StateTable* table, bool full, StateTable::Save save) {
  return full || table->changes() > 0 ? table->freeze(full, std::move(save)) : Status::OK();
}

Result<bool> SaveSlice(StateTable* table, int64_t rows_max, StateRows* saved, StateRows* rows) {
  if (table->frozen()) FZ_TRY(table->save_slice(&rows_max));
  rows->insert(rows->end(), saved->begin(), saved->end());
  saved->clear();
  return !table->frozen();
}

Status RestoreError(std::string_view what, const std::string& text) {
  return Error(ErrorKind::kState, "restoring " + std::string(what) + ": " + text);
}

Status CheckRestored(const arrow::RecordBatch& rows, const arrow::Schema& schema, std::string_view what) {
  if (rows.schema()->Equals(schema, /*check_metadata=*/false)) return Status::OK();
  return RestoreError(
      what, "the state has other columns: " + rows.schema()->ToString() + ", expected " + schema.ToString());
}

}  // namespace frazil
