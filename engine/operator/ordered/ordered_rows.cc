#include "operator/ordered/ordered_rows.h"

#include <arrow/api.h>

#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "operator/ordered/keyed_state.h"
#include "operator/time/order_mark.h"
#include "state/take_rows.h"

namespace frazil {
namespace {

std::shared_ptr<arrow::Field> OrderField(bool nullable) {
  return arrow::field("ord", arrow::fixed_size_binary(kOrderBytes), nullable);
}

}  // namespace

std::shared_ptr<arrow::Schema> HeldSchema(const arrow::Schema& input) {
  arrow::FieldVector fields = input.fields();
  fields.push_back(OrderField(false));
  return arrow::schema(std::move(fields));
}

Result<std::shared_ptr<arrow::RecordBatch>> ToHeld(const Batch& batch,
                                                   const std::shared_ptr<arrow::Schema>& held) {
  auto order = MarkOf(batch, kOrderMark);
  FZ_CHECK(order != nullptr);
  arrow::ArrayVector columns = VisibleColumns(batch)->columns();
  columns.push_back(std::move(order));
  return arrow::RecordBatch::Make(held, batch.rows(), std::move(columns));
}

Batch FromHeld(const std::shared_ptr<arrow::RecordBatch>& rows, const std::shared_ptr<arrow::Schema>& input) {
  arrow::ArrayVector columns = rows->columns();
  auto order = std::move(columns.back());
  columns.pop_back();
  Batch batch{arrow::RecordBatch::Make(input, rows->num_rows(), std::move(columns)), {}, nullptr};
  SetMark(&batch, kOrderMark, std::move(order));
  return batch;
}

arrow::FieldVector SavedRowFields(const arrow::Schema& input) {
  arrow::FieldVector columns;
  for (const auto& field : input.fields()) columns.push_back(field->WithNullable(true));
  return {OrderField(true), arrow::field("row", arrow::struct_(std::move(columns)))};
}

arrow::ArrayVector SavedRows(const std::shared_ptr<arrow::RecordBatch>& held,
                             const arrow::FieldVector& fields) {
  arrow::ArrayVector columns = held->columns();
  auto order = std::move(columns.back());
  columns.pop_back();
  auto row =
      std::make_shared<arrow::StructArray>(fields.back()->type(), held->num_rows(), std::move(columns));
  return {std::move(order), std::move(row)};
}

Result<std::shared_ptr<arrow::RecordBatch>> RestoredRows(const arrow::RecordBatch& saved,
                                                         const std::shared_ptr<arrow::Schema>& held,
                                                         const std::vector<int32_t>& which,
                                                         std::string_view what, arrow::MemoryPool* pool) {
  const auto& row = static_cast<const arrow::StructArray&>(*saved.GetColumnByName("row"));
  FZ_ASSIGN(arrow::ArrayVector columns, row.Flatten(pool));
  columns.push_back(saved.GetColumnByName("ord"));
  FZ_ASSIGN(auto rows,
            TakeRows(arrow::RecordBatch::Make(held, saved.num_rows(), std::move(columns)), which, pool));
  for (int i = 0; i < rows->num_columns(); ++i) {
    if (!held->field(i)->nullable() && rows->column(i)->null_count() > 0) {
      return RestoreError(what, "a row without " + held->field(i)->name());
    }
  }
  return rows;
}

}  // namespace frazil
