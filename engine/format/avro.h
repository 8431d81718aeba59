#pragma once

#include <arrow/memory_pool.h>
#include <arrow/type.h>

#include <memory>
#include <string>

#include "base/status.h"
#include "format/decoder.h"
#include "format/schema_board.h"

namespace frazil {

// Makes the decoder of Avro records in the wire format of Confluent's serializers: a zero byte, the id of the
// schema, the record. Each message is read by the schema it was written with, which comes from `desk` under
// the registry's name, and resolved to the columns once for each id: fields by name (fz:source: a path into
// records), numbers by Avro's promotions, what is missing as fz:default, null, or not at all.
//
// A message is rejected if it has no such header, the registry does not know its id, its schema does not go
// with the columns (which are named), or its bytes are not what the schema says. Values that no column reads
// are skipped and not validated further.
//
// Columns: bool; integers (from int and long, range checked); float and double; decimals (logical type
// decimal, whole numbers, floats by their shortest digits, texts); string (from string, bytes in UTF-8, enum,
// uuid); binary and fixed; date, time, timestamp, duration (by logical type, by the name Kafka Connect gives,
// ISO 8601 text, or numbers by fz:time_unit); list; map of texts; struct; null. A union has one type beside
// null; others are refused where they are read. `pool` holds the columns and outlives the decoder and every
// batch of it.
Result<std::unique_ptr<Decoder>> MakeAvroDecoder(std::shared_ptr<arrow::Schema> schema, std::string registry,
                                                 SchemaDesk desk, arrow::MemoryPool* pool);

}  // namespace frazil
