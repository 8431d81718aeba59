#pragma once

#include <arrow/type.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string_view>

#include "base/batch.h"
#include "operator/time/accumulators.h"
#include "state/key_codec.h"

namespace frazil {

// Columns of what windows give: keys, window_start, window_end, aggregates. `partial` is PartialSchema.
Result<std::shared_ptr<arrow::Schema>> WindowSchema(const nlohmann::json& spec, const arrow::Schema& partial);

// A key and window that is given.
struct WindowResult {
  std::string_view key;  // encoded
  uint64_t hash;
  Timestamp start, end;
  std::byte* accumulators;
};

// Rows of WindowSchema. They are marked with the hash of their key: what tells the rows of one time apart,
// for aggregates of these rows that need an order. An error about one result names its window and key.
Result<Batch> WindowRows(const std::shared_ptr<arrow::Schema>& schema, std::span<const WindowResult> results,
                         const KeyCodec& keys, const Accumulators& accumulators, arrow::MemoryPool* pool);

}  // namespace frazil
