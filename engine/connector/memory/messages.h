#pragma once

#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>

#include <memory>
#include <string>

#include "base/status.h"
#include "format/raw_batch.h"

namespace frazil {

// Rows of a table as messages for a decoder: column "raw" (binary; null is a message without bytes) has what
// came, every other column is metadata of it. The first row has position `first`; `place` is what errors call
// the partition. An error is kConfig (no such column) or Arrow's (memory).
Result<RawBatch> MessagesOf(const std::shared_ptr<arrow::RecordBatch>& table, int64_t first,
                            const std::string& place, arrow::MemoryPool* pool);

}  // namespace frazil
