#pragma once

#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>

#include <cstdint>
#include <memory>
#include <span>

#include "base/status.h"

namespace frazil {

// The rows with these numbers, in their order, each as often as it is named; always a copy. Numbers are those
// of rows of the batch. Errors: no memory; text of more than 2 GiB.
Result<std::shared_ptr<arrow::RecordBatch>> TakeRows(const std::shared_ptr<arrow::RecordBatch>& rows,
                                                     std::span<const int32_t> which, arrow::MemoryPool* pool);

}  // namespace frazil
