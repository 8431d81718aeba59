#pragma once

#include <memory>
#include <nlohmann/json.hpp>

#include "connector/source.h"

namespace frazil {

// Tables that stand in the plan, for tests, examples and small dimensions. Options: {"partitions": [base64 of
// an Arrow IPC stream, ...], "batch_rows": n?}. Partition "memory-<i>"; position {"v":1,"row":n}, the next
// row. Always bounded.
Result<std::unique_ptr<Source>> MakeMemorySource(const nlohmann::json& options,
                                                 const std::shared_ptr<arrow::Schema>& schema);
Result<std::unique_ptr<Enumerator>> MakeMemoryEnumerator(const nlohmann::json& options);

}  // namespace frazil
