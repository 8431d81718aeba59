#pragma once

#include <arrow/record_batch.h>
#include <arrow/type.h>

#include <memory>
#include <string_view>
#include <vector>

#include "base/batch.h"
#include "base/status.h"

namespace frazil {

// Rows as operators hold them: the columns of their input, then the order mark.
std::shared_ptr<arrow::Schema> HeldSchema(const arrow::Schema& input);
// The rows of a batch so; it has order marks.
Result<std::shared_ptr<arrow::RecordBatch>> ToHeld(const Batch& batch,
                                                   const std::shared_ptr<arrow::Schema>& held);
// And back to a batch with order marks.
Batch FromHeld(const std::shared_ptr<arrow::RecordBatch>& rows, const std::shared_ptr<arrow::Schema>& input);

// Fields of a checkpoint for held rows, both null where there is none: the order mark and the columns.
arrow::FieldVector SavedRowFields(const arrow::Schema& input);
// Columns of these fields.
arrow::ArrayVector SavedRows(const std::shared_ptr<arrow::RecordBatch>& held,
                             const arrow::FieldVector& fields);
// Held rows of these two columns, the rows numbered by `which`. An error (kState) if one has a null where the
// schema has none.
Result<std::shared_ptr<arrow::RecordBatch>> RestoredRows(const arrow::RecordBatch& saved,
                                                         const std::shared_ptr<arrow::Schema>& held,
                                                         const std::vector<int32_t>& which,
                                                         std::string_view what, arrow::MemoryPool* pool);

}  // namespace frazil
