#include "operator/call_function.h"

#include <arrow/record_batch.h>

#include <utility>

#include "base/check.h"

namespace frazil {
namespace {

Result<std::shared_ptr<arrow::RecordBatch>> VisibleColumns(const arrow::RecordBatch& batch) {
  std::vector<int> visible;
  for (int i = 0; i < batch.num_columns(); ++i) {
    if (!batch.schema()->field(i)->name().starts_with(kHiddenPrefix)) visible.push_back(i);
  }
  return batch.SelectColumns(visible);
}

std::string Where(const std::string& reference, const Origin& origin) {
  std::string where = "calling " + reference;
  if (origin.partition < 0) return where;
  return where + " with rows " + std::to_string(origin.position_begin) + " to " +
         std::to_string(origin.position_end) + " of partition " + std::to_string(origin.partition);
}

// The place of a new column: that of the one it replaces, or behind the last visible one.
int PlaceOf(const arrow::Schema& schema, const std::string& column, bool* replaces) {
  const int found = schema.GetFieldIndex(column);
  *replaces = found >= 0;
  if (*replaces) return found;
  int place = schema.num_fields();
  while (place > 0 && schema.field(place - 1)->name().starts_with(kHiddenPrefix)) --place;
  return place;
}

}  // namespace

Result<Progress> MapBatches::process(Batch batch, Output& out) {
  FZ_ASSIGN(auto visible, VisibleColumns(*batch.columns));
  auto called = function_(visible);
  if (!called.ok()) return Prefixed(called.status(), Where(reference_, batch.origin));
  batch.columns = std::move(*called);
  batch.marks = nullptr;  // they were those of other rows
  FZ_TRY(out.push(std::move(batch)));
  return Progress::kDone;
}

Result<std::shared_ptr<arrow::Schema>> UdfSchema(const arrow::Schema& input,
                                                 const std::shared_ptr<arrow::Field>& column) {
  bool replaces = false;
  const int place = PlaceOf(input, column->name(), &replaces);
  return replaces ? input.SetField(place, column) : input.AddField(place, column);
}

Result<Progress> CallUdf::process(Batch batch, Output& out) {
  arrow::FieldVector fields;
  arrow::ArrayVector columns;
  for (const BoundExpr& argument : spec_.arguments) {
    FZ_ASSIGN(auto column, argument.Evaluate(*batch.columns, pool_));
    fields.push_back(arrow::field("a" + std::to_string(fields.size()), column->type()));
    columns.push_back(std::move(column));
  }
  const auto arguments = arrow::RecordBatch::Make(arrow::schema(fields), batch.rows(), columns);
  auto called = spec_.function(arguments);
  if (!called.ok()) return Prefixed(called.status(), Where(spec_.reference, batch.origin));
  const arrow::RecordBatch& result = **called;
  FZ_CHECK(result.num_columns() == 1 && result.num_rows() == batch.rows());
  const auto field = result.schema()->field(0)->WithName(spec_.column);
  bool replaces = false;
  const int place = PlaceOf(*batch.columns->schema(), spec_.column, &replaces);
  FZ_ASSIGN(batch.columns, replaces ? batch.columns->SetColumn(place, field, result.column(0))
                                    : batch.columns->AddColumn(place, field, result.column(0)));
  FZ_TRY(out.push(std::move(batch)));
  return Progress::kDone;
}

}  // namespace frazil
