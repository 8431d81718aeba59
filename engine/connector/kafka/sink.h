#pragma once

#include <arrow/type_fwd.h>

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "connector/sink.h"

namespace frazil {

// Rows as Kafka messages. `options`: {"folder", "s3"?, "prefix", "attempt", "key": [columns],
// "message_bytes_max"?, "avro"?: {"value": {"id", "texts"}, "key"?: the same}}.
//
// Nothing is sent here: messages are staged as files in `folder`, and sent by kafka::Publisher when the
// epoch's manifest is accepted. So what a message holds is fixed before any consumer can see it, and a crash
// can only lead to the same messages being sent again, never to others. The files are Arrow IPC streams with
// the columns of StagedSchema(), rows in the order in which they came.
//
// A value is the row as JSON (format/json_encode.h). A key is the text or the bytes of its column; of another
// type, what JSON makes of it without quotes; of several columns a JSON object. With "avro" values are Avro
// (format/avro_encode.h) of a registered schema, and keys if they have a schema. Rows that are changes: a
// delete is a message without a value, the row before an update is left out. Errors: kConfig for options,
// kUser for a row that makes too large a message, or changes without a key.
Result<std::unique_ptr<Sink>> MakeKafkaSink(const nlohmann::json& options, const SinkContext& context);

namespace kafka {

// key binary, value binary; each may be null.
const std::shared_ptr<arrow::Schema>& StagedSchema();

}  // namespace kafka
}  // namespace frazil
