#include "operator/changes/as_log.h"

#include <arrow/api.h>

#include <array>
#include <string_view>

#include "operator/changes/kinds.h"

namespace frazil {
namespace {

constexpr std::array<std::string_view, 4> kNames = {"insert", "update_before", "update_after", "delete"};
constexpr const char* kColumn = "_kind";

}  // namespace

Result<std::shared_ptr<arrow::Schema>> LogSchema(const arrow::Schema& input) {
  arrow::FieldVector fields;
  for (const auto& field : input.fields()) {
    if (field->name() == kColumn) {
      return Error(ErrorKind::kConfig, "reading the plan: as_log of rows that have a column _kind");
    }
    if (!std::string_view(field->name()).starts_with(kHiddenPrefix)) fields.push_back(field);
  }
  fields.push_back(arrow::field(kColumn, arrow::utf8(), /*nullable=*/false));
  return arrow::schema(std::move(fields));
}

Result<Progress> AsLog::process(Batch batch, Output& out) {
  FZ_ASSIGN(const auto kinds, KindsOf(batch));
  arrow::StringBuilder names(pool_);
  FZ_TRY(names.Reserve(batch.rows()));
  for (int64_t i = 0; i < batch.rows(); ++i) {
    FZ_TRY(names.Append(kNames[kinds == nullptr ? 0 : kinds->Value(i)]));
  }
  arrow::ArrayVector columns = VisibleColumns(batch)->columns();
  FZ_TRY(names.Finish(&columns.emplace_back()));
  batch.columns = arrow::RecordBatch::Make(output_, batch.rows(), std::move(columns));
  FZ_TRY(out.push(std::move(batch)));
  return Progress::kDone;
}

}  // namespace frazil
