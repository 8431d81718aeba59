#pragma once

#include <arrow/type.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "connector/source.h"

namespace frazil {

// A source that the user has written in Python. Options: "handle", the number of its readers (readers.h),
// which read in threads of theirs; the worker takes what they have read.
//
// A position is {"v": 1, "row": n, "at": text}: rows given since the partition's beginning, and the source's
// own position as JSON text, kept as it is. What one read gave is taken whole, so a checkpoint never stands
// within it: how a source divides its rows into reads may differ from run to run. It gives columns, or bytes
// for the decoder (raw_rows.h).
Result<std::unique_ptr<Source>> MakePythonSource(const nlohmann::json& options,
                                                 const std::shared_ptr<arrow::Schema>& schema,
                                                 arrow::MemoryPool* pool);
Result<std::unique_ptr<Enumerator>> MakePythonEnumerator(const nlohmann::json& options);

}  // namespace frazil
