#pragma once

#include <arrow/array.h>
#include <arrow/memory_pool.h>

#include <cstdint>
#include <string_view>
#include <vector>

#include "aggregate/aggregate.h"
#include "base/batch.h"
#include "base/status.h"

namespace frazil {

// An error (kInternal) if a time is before the watermark: the gate lets no such row through. `what` names the
// operator.
Status CheckNotBefore(const std::vector<Timestamp>& times, Timestamp watermark, std::string_view what);

// The same, and that no time is before the one in front of it, as behind a Reorder.
Status CheckInOrder(const std::vector<Timestamp>& times, Timestamp watermark, std::string_view what);

// Where the rows stand in the one order of all rows, by their times and order marks.
Result<std::vector<OrderKey>> OrderKeysOf(const Batch& batch, const std::vector<Timestamp>& times);

// Columns of pieces put together, so that row i of all the pieces becomes row rows[i].
Result<arrow::ArrayVector> Together(const std::vector<arrow::ArrayVector>& pieces,
                                    const std::vector<int32_t>& rows, arrow::MemoryPool* pool);

}  // namespace frazil
