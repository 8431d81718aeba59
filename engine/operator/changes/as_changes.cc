#include "operator/changes/as_changes.h"

#include <arrow/api.h>

#include <optional>
#include <string_view>
#include <utility>

#include "operator/changes/kinds.h"

namespace frazil {
namespace {

std::optional<RowKind> KindOfCode(std::string_view code) {
  if (code.size() != 1) return std::nullopt;
  switch (code[0]) {
    case 'c':
    case 'C':
    case 'r':
    case 'R':
      return RowKind::kInsert;
    case 'u':
    case 'U':
      return RowKind::kUpdateAfter;
    case 'd':
    case 'D':
      return RowKind::kDelete;
    default:
      return std::nullopt;
  }
}

Result<int> ColumnOf(const nlohmann::json& spec, const arrow::Schema& input) {
  const auto name = spec.at("op").get<std::string>();
  const int column = input.GetFieldIndex(name);
  if (column < 0 || input.field(column)->type()->id() != arrow::Type::STRING) {
    return Error(ErrorKind::kConfig, "reading the plan: as_changes: \"" + name + "\" is no column of text");
  }
  if (HasKinds(input)) return Error(ErrorKind::kConfig, "reading the plan: as_changes of changes");
  return column;
}

}  // namespace

Result<std::shared_ptr<arrow::Schema>> ChangesSchema(const nlohmann::json& spec, const arrow::Schema& input) {
  FZ_ASSIGN(const int column, ColumnOf(spec, input));
  FZ_ASSIGN(const auto rest, input.RemoveField(column));
  return rest->AddField(rest->num_fields(), KindField());
}

Result<std::unique_ptr<AsChanges>> AsChanges::Make(const nlohmann::json& spec, const arrow::Schema& input,
                                                   arrow::MemoryPool* pool) {
  FZ_ASSIGN(const int column, ColumnOf(spec, input));
  FZ_ASSIGN(auto output, ChangesSchema(spec, input));
  return std::unique_ptr<AsChanges>(new AsChanges(column, std::move(output), pool));
}

Result<Progress> AsChanges::process(Batch batch, Output& out) {
  const auto& codes = static_cast<const arrow::StringArray&>(*batch.columns->column(column_));
  arrow::UInt8Builder kinds(pool_);
  FZ_TRY(kinds.Reserve(batch.rows()));
  for (int64_t i = 0; i < batch.rows(); ++i) {
    const auto kind = codes.IsNull(i) ? std::nullopt : KindOfCode(codes.GetView(i));
    if (!kind) {
      const std::string found = codes.IsNull(i) ? "null" : "\"" + codes.GetString(i).substr(0, 40) + "\"";
      return Error(ErrorKind::kUser, "making changes of rows: column \"" +
                                         batch.columns->column_name(column_) +
                                         "\": expected c, r, u or d, got " + found +
                                         "; filter such rows out, or compute a column that says it");
    }
    kinds.UnsafeAppend(static_cast<uint8_t>(*kind));
  }
  arrow::ArrayVector columns = batch.columns->columns();
  columns.erase(columns.begin() + column_);
  FZ_TRY(kinds.Finish(&columns.emplace_back()));
  batch.columns = arrow::RecordBatch::Make(output_, batch.rows(), std::move(columns));
  FZ_TRY(out.push(std::move(batch)));
  return Progress::kDone;
}

}  // namespace frazil
