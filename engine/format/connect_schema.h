#pragma once

#include <nlohmann/json.hpp>

#include "base/status.h"

namespace frazil {

// The schema of a value in Kafka Connect's JSON form ({"type": "struct", "fields": [...]}), of the JSON
// Schema that Confluent's JSON Schema converter registers for it: there names of types are titles, and
// "connect.type" and "connect.parameters" say what JSON cannot. A JSON Schema by others comes to the types of
// JSON, without names. What has no one type (a union, a reference to another schema) has none here either:
// readers then go by the declared column. A decode error says that it is no schema.
//
// Source: JsonSchemaData of Confluent's Schema Registry.
Result<nlohmann::json> ConnectSchemaOf(const nlohmann::json& json_schema);

}  // namespace frazil
