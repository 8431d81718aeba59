#pragma once

#include <arrow/memory_pool.h>
#include <arrow/type.h>

#include <memory>
#include <string>

#include "base/status.h"
#include "format/debezium_types.h"
#include "format/decoder.h"
#include "format/schema_board.h"

namespace frazil {

// Makes the decoder of Debezium's change events in JSON, with and without the wrapper {"schema", "payload"},
// one way or the other from message to message. `schema` has the columns of the table, columns of the
// envelope (kEnvelopeMetadata) and, last, the kind (kinds.h). A message gives no row (tombstones, "m"), one
// or two; see debezium_rows.h for which. Values are read as json.h says, after what debezium_types.h makes of
// the message's schema, which is worked out once for each text of a schema.
//
// With the name of a registry messages are in the wire format of Confluent's serializers: a zero byte, the id
// of the schema, the event. The schema comes from `desk`: JSON Schema as Confluent's converter registers it
// (connect_schema.h), or Connect's own form (KCONNECT, which Apicurio's converter registers).
//
// A message is rejected if its JSON, its schema, its op or a column cannot be read, and where a column holds
// the placeholder of a value that was not sent. `pool` holds the columns and outlives the decoder and every
// batch of it.
Result<std::unique_ptr<Decoder>> MakeDebeziumDecoder(std::shared_ptr<arrow::Schema> schema,
                                                     DebeziumOptions options, arrow::MemoryPool* pool,
                                                     std::string registry = {}, SchemaDesk desk = {});

}  // namespace frazil
