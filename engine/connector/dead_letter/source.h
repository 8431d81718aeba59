#pragma once

#include <arrow/memory_pool.h>

#include <memory>
#include <nlohmann/json_fwd.hpp>

#include "connector/source.h"

namespace frazil {

// Rows that were rejected once, to be decoded again. `options`: {"partitions": [{"name", "place", "file"}]};
// each file is an Arrow IPC stream with the columns epoch int64, position int64, tie string and raw binary,
// rising by the first three; `place` is what the rows' partition was called when they were rejected.
//
// A position is {"v":1,"epoch":e,"position":p,"tie":t}: the last row that was given, of the epoch that
// rejected it; without "tie" if that is empty. So a file may be made anew at each start, with or without rows
// that were given before.
Result<std::unique_ptr<Source>> MakeDeadLetterSource(const nlohmann::json& options, arrow::MemoryPool* pool);

// The end of a partition is its last row, whether or not that is asked for.
Result<std::unique_ptr<Enumerator>> MakeDeadLetterEnumerator(const nlohmann::json& options);

}  // namespace frazil
