#include "format/connect_schema.h"

#include <string>
#include <utility>

#include "base/limits.h"

namespace frazil {
namespace {

using Json = nlohmann::json;

std::string Text(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

bool IsNull(const Json& schema) { return schema.is_object() && Text(schema, "type") == "null"; }

// The one alternative beside null, nullptr if there are several.
const Json* OnlyValue(const Json& alternatives) {
  const Json* found = nullptr;
  for (const Json& each : alternatives) {
    if (IsNull(each)) continue;
    if (found != nullptr) return nullptr;
    found = &each;
  }
  return found;
}

// The type of JSON: the one beside null, if there are several; "" if none is said.
std::string TypeOf(const Json& schema) {
  const auto found = schema.find("type");
  if (found == schema.end()) return schema.contains("enum") ? "string" : "";
  if (found->is_string()) return found->get<std::string>();
  std::string only;
  if (!found->is_array()) return only;
  for (const Json& each : *found) {
    if (!each.is_string() || each == "null") continue;
    if (!only.empty()) return "";
    only = each.get<std::string>();
  }
  return only;
}

Result<Json> Convert(const Json& schema, int depth);

Status SetInside(const Json& schema, const std::string& type, int depth, Json* made) {
  if (type == "array") {
    const auto items = schema.find("items");
    if (items == schema.end() || !items->is_object()) return Status::OK();
    FZ_ASSIGN((*made)["items"], Convert(*items, depth + 1));
    return Status::OK();
  }
  const auto properties = schema.find("properties");
  if (type != "object" || properties == schema.end() || !properties->is_object()) return Status::OK();
  (*made)["type"] = "struct";
  Json fields = Json::array();
  for (const auto& [name, property] : properties->items()) {
    FZ_ASSIGN(Json field, Convert(property, depth + 1));
    field["field"] = name;
    fields.push_back(std::move(field));
  }
  (*made)["fields"] = std::move(fields);
  return Status::OK();
}

Result<Json> Convert(const Json& schema, int depth) {
  if (depth > limits::kJsonDepth) {
    return Error(ErrorKind::kDecode,
                 "JSON Schema: nested deeper than " + std::to_string(limits::kJsonDepth) + " levels");
  }
  if (!schema.is_object()) return Json::object();
  for (const char* key : {"oneOf", "anyOf"}) {
    const auto found = schema.find(key);
    if (found == schema.end() || !found->is_array()) continue;
    const Json* const only = OnlyValue(*found);
    if (only == nullptr) return Json::object();
    return Convert(*only, depth + 1);
  }
  const std::string type = TypeOf(schema);
  Json made = Json::object();
  std::string kind = Text(schema, "connect.type");
  if (kind.empty()) kind = type == "integer" ? "int64" : type == "number" ? "double" : type;
  if (!kind.empty()) made["type"] = kind;
  if (const std::string title = Text(schema, "title"); !title.empty()) made["name"] = title;
  if (const auto found = schema.find("connect.parameters"); found != schema.end() && found->is_object()) {
    Json parameters = Json::object();
    for (const auto& [name, value] : found->items()) {
      parameters[name] = value.is_string() ? value.get<std::string>() : value.dump();
    }
    made["parameters"] = std::move(parameters);
  }
  FZ_TRY(SetInside(schema, type, depth, &made));
  return made;
}

}  // namespace

Result<Json> ConnectSchemaOf(const Json& json_schema) {
  if (!json_schema.is_object()) return Error(ErrorKind::kDecode, "JSON Schema: no object");
  return Convert(json_schema, 1);
}

}  // namespace frazil
