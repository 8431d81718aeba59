#pragma once

#include <arrow/array/array_primitive.h>

#include <cstring>
#include <string>

#include "base/batch.h"

namespace frazil {

// A row of changes that is about no key: all rows of its table that are older than it are gone. Of its
// columns only those of the envelope mean something; they say where it stands. An exchange gives it to every
// worker. Only what is planned to meet such rows (Truncates::kApply of debezium_types.h) knows this kind.
constexpr RowKind kTruncateKind = static_cast<RowKind>(4);

// The kinds of a batch that has such rows, else nullptr.
inline const uint8_t* KindsWithTruncates(const Batch& batch) {
  const auto column = batch.columns->GetColumnByName(std::string(kKindColumn));
  if (column == nullptr || column->length() == 0) return nullptr;
  const auto& kinds = static_cast<const arrow::UInt8Array&>(*column);
  const bool has = std::memchr(kinds.raw_values(), static_cast<int>(kTruncateKind),
                               static_cast<size_t>(kinds.length())) != nullptr;
  return has ? kinds.raw_values() : nullptr;
}

}  // namespace frazil
