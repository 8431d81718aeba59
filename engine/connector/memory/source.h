#pragma once

#include <memory>
#include <nlohmann/json.hpp>

#include "connector/source.h"

namespace frazil {

// Tables that stand in the plan, for tests, examples and small dimensions. Options: {"partitions": [base64 of
// an Arrow IPC stream, ...], "batch_rows": n?, "messages": true?,
// "waits": [[[row, us], ...], ...]?}. Partition "memory-<i>"; position
// {"v":1,"row":n}, the next row. Always bounded. With "waits" a partition
// is silent before a row until the machine's clock has come to that time. With "messages" the tables hold
// what a decoder is to read (messages.h), not the columns of the source.
Result<std::unique_ptr<Source>> MakeMemorySource(const nlohmann::json& options,
                                                 const std::shared_ptr<arrow::Schema>& schema);
Result<std::unique_ptr<Enumerator>> MakeMemoryEnumerator(const nlohmann::json& options);

}  // namespace frazil
