#pragma once

#include <arrow/array.h>
#include <arrow/memory_pool.h>

#include <vector>

#include "base/batch.h"
#include "base/status.h"

namespace frazil {

// How the open sessions of some keys have changed: columns of changes, the kind last. Rows of `before` and
// `after` are sessions, those of a key side by side; the owners say of which key each is, and rise. The
// beginning of a session stands behind `key_count` columns of keys: a session with another one is another
// session.
Result<arrow::ArrayVector> SessionChanges(const Batch& before, const std::vector<size_t>& owners_before,
                                          const Batch& after, const std::vector<size_t>& owners_after,
                                          int key_count, arrow::MemoryPool* pool);

}  // namespace frazil
