#pragma once

#include <arrow/memory_pool.h>

#include <memory>
#include <nlohmann/json_fwd.hpp>

#include "connector/source.h"

namespace frazil {

// Kafka topics as a source. `options` are those of connector/kafka/options.h; errors in them are kConfig and
// name the option. A partition is called "orders-3"; a position is {"v":1,"offset":n}, n = the offset to read
// next.
//
// The source opens its connection at the first assign() and never waits for it: a broker that is away is
// kIdle with a condition(), and an error (kConnect) only when it refuses us or after `give_up_after_ms`. Rows
// are the records' values, positions their offsets, which may have gaps (transactions, compaction). `pool`
// outlives every batch given.
Result<std::unique_ptr<Source>> MakeKafkaSource(const nlohmann::json& options, arrow::MemoryPool* pool);

// Finds partitions and resolves their start to offsets. Waits for the broker in discover(), at most
// `timeout_ms`; what it cannot reach is a retryable kConnect error, so that the caller can wait and say so.
Result<std::unique_ptr<Enumerator>> MakeKafkaEnumerator(const nlohmann::json& options);

}  // namespace frazil
