#pragma once

#include <arrow/memory_pool.h>
#include <arrow/type.h>

#include <memory>
#include <string>

#include "format/debezium_types.h"
#include "format/decoder.h"
#include "format/schema_board.h"

namespace frazil {

// Make decoders of Debezium's change events in messages that name their schema by its id in a registry, as
// converters of Kafka Connect write them. The rows and kinds are those of debezium.h; `decimals` of the
// options does not count.

// In Avro: messages and schemas are as avro.h says. What the types of columns are, the schema of each message
// says.
Result<std::unique_ptr<Decoder>> MakeDebeziumAvroDecoder(std::shared_ptr<arrow::Schema> schema,
                                                         DebeziumOptions options, std::string registry,
                                                         SchemaDesk desk, arrow::MemoryPool* pool);

// In Protobuf: messages and schemas are as protobuf.h says. Debezium's times are plain numbers there: they
// are read by fz:time_unit of the columns; those in dates are days, those in durations microseconds if
// nothing else is declared. Of the envelope, what has no presence and is zero is null, except places in
// MySQL's log.
Result<std::unique_ptr<Decoder>> MakeDebeziumProtobufDecoder(std::shared_ptr<arrow::Schema> schema,
                                                             DebeziumOptions options, std::string registry,
                                                             SchemaDesk desk, arrow::MemoryPool* pool);

}  // namespace frazil
