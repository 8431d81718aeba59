#include "base/batch.h"

#include <arrow/util/byte_size.h>

#include <algorithm>

namespace frazil {

int64_t BatchBytes(const Batch& batch) {
  if (batch.columns == nullptr) return 0;
  auto referenced = arrow::util::ReferencedBufferSize(*batch.columns);
  const int64_t bytes = referenced.ok() ? *referenced : arrow::util::TotalBufferSize(*batch.columns);
  return std::max<int64_t>(bytes, batch.columns->num_rows());
}

std::shared_ptr<arrow::Array> MarkOf(const Batch& batch, std::string_view name) {
  return batch.marks == nullptr ? nullptr : batch.marks->GetColumnByName(std::string(name));
}

void SetMark(Batch* batch, std::string_view name, std::shared_ptr<arrow::Array> values) {
  arrow::FieldVector fields;
  arrow::ArrayVector columns;
  for (int i = 0; batch->marks != nullptr && i < batch->marks->num_columns(); ++i) {
    if (batch->marks->schema()->field(i)->name() == name) continue;
    fields.push_back(batch->marks->schema()->field(i));
    columns.push_back(batch->marks->column(i));
  }
  if (values != nullptr) {
    fields.push_back(arrow::field(std::string(name), values->type()));
    columns.push_back(std::move(values));
  }
  batch->marks = columns.empty() ? nullptr
                                 : arrow::RecordBatch::Make(arrow::schema(std::move(fields)), batch->rows(),
                                                            std::move(columns));
}

std::shared_ptr<arrow::RecordBatch> VisibleColumns(const Batch& batch) {
  arrow::FieldVector fields;
  arrow::ArrayVector columns;
  for (int i = 0; i < batch.columns->num_columns(); ++i) {
    const auto& field = batch.columns->schema()->field(i);
    if (std::string_view(field->name()).starts_with(kHiddenPrefix)) continue;
    fields.push_back(field);
    columns.push_back(batch.columns->column(i));
  }
  if (columns.size() == static_cast<size_t>(batch.columns->num_columns())) return batch.columns;
  return arrow::RecordBatch::Make(arrow::schema(std::move(fields)), batch.rows(), std::move(columns));
}

}  // namespace frazil
