#pragma once

#include <arrow/memory_pool.h>
#include <arrow/type.h>

#include <memory>
#include <string>

#include "format/debezium_types.h"
#include "format/decoder.h"
#include "format/schema_board.h"

namespace frazil {

// Makes the decoder of Debezium's change events in Avro, as Kafka Connect's Avro converter writes them: the
// rows and kinds are those of debezium.h, messages and schemas are as avro.h says. What the types of columns
// are, the schema of each message says; `decimals` of the options does not count.
Result<std::unique_ptr<Decoder>> MakeDebeziumAvroDecoder(std::shared_ptr<arrow::Schema> schema,
                                                         DebeziumOptions options, std::string registry,
                                                         SchemaDesk desk, arrow::MemoryPool* pool);

}  // namespace frazil
