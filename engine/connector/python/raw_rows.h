#pragma once

#include <arrow/record_batch.h>

#include "connector/source.h"

namespace frazil {

// Rows of bytes that a source in Python gives for the decoder, as one batch: columns "raw" (binary), "at"
// (int64, where the row stands in its place), "reason" (string; null unless the row is bad already), then
// those of metadata. The schema's metadata has "frazil.place" (where the rows are, for people) and
// "frazil.base" (what makes `at` rise over the partition: Origin::position_base).
bool IsRaw(const arrow::RecordBatch& read);

// Sets the positions of `origin`. kInternal if it is no such batch.
Result<RawBatch> RawOf(const arrow::RecordBatch& read, Origin* origin, arrow::MemoryPool* pool);

}  // namespace frazil
