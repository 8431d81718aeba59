#pragma once

#include <arrow/array.h>
#include <arrow/memory_pool.h>

#include <memory>

#include "base/batch.h"
#include "base/status.h"
#include "operator/batch_function.h"

namespace frazil {

// The bytes of an order mark.
constexpr int32_t kOrderBytes = 16;

// What puts rows of one event time in order, and tells all rows apart (kOrderMark): compared as bytes. It is
// the one the rows have already; or, of rows of a source, a hash of source and partition by name, then their
// position; or, of rows that were computed, a hash of their columns. So rows with one mark and one time are
// equal in all columns, and their order cannot be seen. It depends on the rows alone, not on when or where
// they are read. Never null.
Result<std::shared_ptr<arrow::FixedSizeBinaryArray>> OrderMarkOf(const Batch& batch,
                                                                 const PartitionNames* partitions,
                                                                 arrow::MemoryPool* pool);

// A hash of source and partition by name.
uint64_t PartitionHash(const Origin& origin, const PartitionNames* partitions);

}  // namespace frazil
