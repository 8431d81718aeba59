#pragma once

#include <arrow/array.h>
#include <arrow/memory_pool.h>
#include <arrow/type.h>

#include <memory>
#include <vector>

#include "base/batch.h"
#include "base/status.h"

namespace frazil {

// The kinds of rows in a stream of changes stand in a hidden column, behind the visible ones. An update is
// two rows next to each other in one batch: update_before, then update_after. A stream whose consumers go by
// its key may have update_after alone.

// The column: uint8, not null.
std::shared_ptr<arrow::Field> KindField();
bool HasKinds(const arrow::Schema& schema);
// The kinds of a batch's rows; null if its rows are all new ones. Errors (kInternal): a kind that is none;
// one that is kTruncateKind (truncate.h), unless the caller knows those.
Result<std::shared_ptr<arrow::UInt8Array>> KindsOf(const Batch& batch, bool truncates = false);
// The batch with other kinds.
Result<Batch> WithKinds(const Batch& batch, const std::vector<uint8_t>& kinds, arrow::MemoryPool* pool);

// The rows of a batch that the mask (without nulls) selects, with all columns and marks. In a stream of
// changes an update of which only the row before is selected becomes a delete, and one of which only the row
// after is, an insert; an update_after that stands alone and is not selected becomes a delete. In a stream
// that is not `whole` (updates without the row before, deletes of which only the key is known, rows that come
// again) each row that is not selected is, or becomes, a delete. A truncate is always kept.
Result<Batch> KeepChanges(const Batch& batch, const std::shared_ptr<arrow::BooleanArray>& mask,
                          arrow::MemoryPool* pool, bool whole = true);

}  // namespace frazil
