#pragma once

#include <memory>
#include <nlohmann/json.hpp>

#include "connector/source.h"

namespace frazil {

// Made-up shop events, the same for the same seed. Columns, of which the plan may take any:
//   id int64 (0, 1, 2, ... over all partitions), at timestamp[us, UTC] (a millisecond a row from 2026-01-01,
//   one in five up to 5 s early), user, page, country, device string, amount double, quantity int64, flag
//   bool.
// Options: {"rows": n (absent: without end), "rate": rows per second of all partitions together (absent: as
// fast as it is read), "seed": n, "partitions": n}. Partition "generator-<i>" holds rows i, i + partitions,
// ...; position
// {"v":1,"row":n}, the partition's next row counted from 0. Columns are all not null.
Result<std::unique_ptr<Source>> MakeGeneratorSource(const nlohmann::json& options,
                                                    const std::shared_ptr<arrow::Schema>& schema,
                                                    arrow::MemoryPool* pool);
Result<std::unique_ptr<Enumerator>> MakeGeneratorEnumerator(const nlohmann::json& options);

// All columns, in order.
std::shared_ptr<arrow::Schema> GeneratorSchema();

}  // namespace frazil
