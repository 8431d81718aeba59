#pragma once

#include <arrow/memory_pool.h>
#include <arrow/type.h>

#include <memory>
#include <string>

#include "format/decoder.h"
#include "format/schema_board.h"

namespace frazil {

// Makes the decoder of Protobuf messages of one type without anything before or after them. `message` is the
// schema with its only root, see proto_schema.h; columns and what messages lack are as proto_rows.h says. A
// config error says that the schema does not go with the columns.
//
// A message is rejected if its bytes are not what the schema says: they end too early, a field stands in
// another way than its type does, a number does not fit its type, a text is not UTF-8, an enum as text has a
// value that it does not know. Fields that no column reads are skipped, and their values not looked into.
Result<std::unique_ptr<Decoder>> MakeProtobufDecoder(std::shared_ptr<arrow::Schema> schema,
                                                     const std::string& message, arrow::MemoryPool* pool);

// Makes the decoder of Protobuf messages in the wire format of Confluent's serializers, see proto_messages.h:
// each is read by the schema it was written with, which comes from `desk` under the registry's name. A
// message is also rejected if it has no such header, the registry does not know its id, or its schema does
// not go with the columns.
Result<std::unique_ptr<Decoder>> MakeRegisteredProtobufDecoder(std::shared_ptr<arrow::Schema> schema,
                                                               std::string registry, SchemaDesk desk,
                                                               arrow::MemoryPool* pool);

}  // namespace frazil
