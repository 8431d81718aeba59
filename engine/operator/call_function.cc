#include "operator/call_function.h"

#include <arrow/api.h>

#include <utility>

#include "base/check.h"
#include "operator/changes/kinds.h"

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

// What a call gave: rows, and those of the batch that the function could not take.
struct Called {
  std::shared_ptr<arrow::RecordBatch> rows;
  std::vector<Failure> failed;
};

// The one value of a column of lists of structs.
Result<std::shared_ptr<arrow::RecordBatch>> Unpacked(const arrow::RecordBatch& given, int column) {
  const auto& list = static_cast<const arrow::ListArray&>(*given.column(column));
  return arrow::RecordBatch::FromStructArray(
      list.values()->Slice(list.value_offset(0), list.value_length(0)));
}

// Calls a function that tells rows which fail (`apart`), or not.
Result<Called> Call(const BatchFunction& function, const std::shared_ptr<arrow::RecordBatch>& arguments,
                    bool apart, const std::string& reference) {
  FZ_ASSIGN(auto given, function(arguments));
  if (!apart) return Called{std::move(given), {}};
  FZ_CHECK(given->num_columns() == 2 && given->num_rows() == 1);
  FZ_ASSIGN(auto rows, Unpacked(*given, 0));
  FZ_ASSIGN(const auto failed, Unpacked(*given, 1));
  const auto& numbers = static_cast<const arrow::Int64Array&>(*failed->column(0));
  const auto& reasons = static_cast<const arrow::StringArray&>(*failed->column(1));
  Called called{std::move(rows), {}};
  for (int64_t i = 0; i < numbers.length(); ++i) {
    called.failed.push_back({numbers.Value(i), reasons.GetString(i), reference});
  }
  return called;
}

}  // namespace

Result<Progress> MapBatches::process(Batch batch, Output& out) {
  FZ_ASSIGN(auto visible, VisibleColumns(*batch.columns));
  auto called = Call(function_, visible, failed_ != nullptr, reference_);
  if (!called.ok()) return Prefixed(called.status(), Where(reference_, batch.origin));
  if (failed_ != nullptr) FZ_TRY(failed_->take(batch, called->failed));
  batch.columns = std::move(called->rows);
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
    fields.push_back(arrow::field(std::string("a").append(std::to_string(fields.size())), column->type()));
    columns.push_back(std::move(column));
  }
  if (spec_.kinds && HasKinds(*batch.columns->schema())) {
    FZ_ASSIGN(const auto kinds, KindsOf(batch, /*truncates=*/true));
    fields.push_back(arrow::field("kind", kinds->type()));
    columns.push_back(kinds);
  }
  const auto arguments = arrow::RecordBatch::Make(arrow::schema(fields), batch.rows(), columns);
  auto called = Call(spec_.function, arguments, failed_ != nullptr, spec_.reference);
  if (!called.ok()) return Prefixed(called.status(), Where(spec_.reference, batch.origin));
  const arrow::RecordBatch& result = *called->rows;
  FZ_CHECK(result.num_columns() == 1 && result.num_rows() == batch.rows());
  std::shared_ptr<arrow::BooleanArray> good;
  if (failed_ != nullptr) {
    FZ_ASSIGN(good, failed_->take(batch, called->failed));
  }
  bool replaces = false;
  const int place = PlaceOf(*batch.columns->schema(), spec_.field->name(), &replaces);
  FZ_ASSIGN(batch.columns, replaces ? batch.columns->SetColumn(place, spec_.field, result.column(0))
                                    : batch.columns->AddColumn(place, spec_.field, result.column(0)));
  if (good != nullptr) {
    FZ_ASSIGN(batch, KeepChanges(batch, good, pool_, spec_.whole));
    if (batch.rows() == 0) return Progress::kDone;
  }
  FZ_TRY(out.push(std::move(batch)));
  return Progress::kDone;
}

}  // namespace frazil
