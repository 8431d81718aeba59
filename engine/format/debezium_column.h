#pragma once

#include <arrow/memory_pool.h>
#include <arrow/type.h>

#include <memory>

#include "format/json_column.h"

namespace frazil {

// Field metadata that debezium_types.h sets, for values that only Debezium writes:
// "fz:decimal": how decimals stand in the data: a number is the scale of base64 (`precise`), "base64" the
//   scale of the column, "number" numbers, "text" numbers or their texts, "ask" as "number", but texts are
//   refused with the setting that tells what they are. Objects {"scale", "value"} are read always.
// "fz:unavailable": the text that stands for a value that the database did not send: rejected, with what to
//   do. It is known in texts, base64, lists (of texts, of numbers, and of the uuid in "fz:unavailable_uuid")
//   and as the first key of an object.
// "fz:kept": it is left in place (Avro), for UnsentValues to replace.
constexpr const char* kDecimalMetadata = "fz:decimal";
constexpr const char* kUnavailableMetadata = "fz:unavailable";
constexpr const char* kUnavailableUuidMetadata = "fz:unavailable_uuid";
constexpr const char* kKeptMetadata = "fz:kept";

// Makes the column of a field with such metadata, nullptr for any other.
Result<std::unique_ptr<JsonColumn>> MakeDebeziumColumn(const arrow::Field& field, const JsonOptions& options,
                                                       arrow::MemoryPool* pool, int level);

}  // namespace frazil
