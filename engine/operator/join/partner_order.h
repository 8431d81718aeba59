#pragma once

#include <arrow/memory_pool.h>

#include <cstdint>
#include <span>

#include "base/batch.h"
#include "base/status.h"
#include "operator/batch_function.h"

namespace frazil {

// Tells rows apart that came of one row by having several partners: gives each an order mark (kOrderMark) of
// its own, which depends on the row and on the number of the partner alone. `numbers` (by row of the batch)
// counts the partners of a row from 0. Rows of a source stay in the order of their positions, and those of
// one position in that of the partners. Rows that were computed need no mark: it is a hash of their columns.
Status MarkPartners(Batch* batch, std::span<const uint32_t> numbers, const PartitionNames* partitions,
                    arrow::MemoryPool* pool);

}  // namespace frazil
