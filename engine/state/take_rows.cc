#include "state/take_rows.h"

#include <arrow/api.h>
#include <arrow/compute/api.h>

namespace frazil {

Result<std::shared_ptr<arrow::RecordBatch>> TakeRows(const std::shared_ptr<arrow::RecordBatch>& rows,
                                                     std::span<const int32_t> which,
                                                     arrow::MemoryPool* pool) {
  const auto count = static_cast<int64_t>(which.size());
  const auto numbers =
      std::make_shared<arrow::Int32Array>(count, arrow::Buffer::Wrap(which.data(), which.size()));
  arrow::compute::ExecContext context(pool);
  FZ_ASSIGN(const arrow::Datum taken,
            arrow::compute::Take(rows, numbers, arrow::compute::TakeOptions::NoBoundsCheck(), &context));
  return taken.record_batch();
}

}  // namespace frazil
