#include "format/avro_schema.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/limits.h"

namespace frazil {
namespace {

using Json = nlohmann::json;
using Kind = AvroType::Kind;

constexpr size_t kTextBytes = 4 << 20;      // bytes of a schema and those it refers to
constexpr size_t kTypes = 64 * 1024;        // types in it
constexpr int32_t kFixedBytes = 16 << 20;   // bytes of a fixed: a message is not longer
constexpr int32_t kPrecisionMax = 1 << 20;  // digits of a decimal; what a column holds is checked there

const std::map<std::string, Kind, std::less<>>& Primitives() {
  static const std::map<std::string, Kind, std::less<>> kinds{
      {"null", Kind::kNull},   {"boolean", Kind::kBoolean}, {"int", Kind::kInt},
      {"long", Kind::kLong},   {"float", Kind::kFloat},     {"double", Kind::kDouble},
      {"bytes", Kind::kBytes}, {"string", Kind::kString}};
  return kinds;
}

Status Bad(const std::string& text) { return Error(ErrorKind::kDecode, "Avro schema: " + text); }

std::string Text(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

// A whole number in [least, most], or -1.
int32_t Number(const Json& object, const char* key, int32_t least, int32_t most) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number_integer()) return -1;
  const auto value = found->get<int64_t>();
  return value >= least && value <= most ? static_cast<int32_t>(value) : -1;
}

class Parser {
 public:
  Result<AvroSchema> Parse(const std::vector<std::string>& texts) {
    size_t bytes = 0;
    for (const auto& text : texts) bytes += text.size();
    if (texts.empty() || bytes > kTextBytes)
      return Bad("longer than " + std::to_string(kTextBytes) + " bytes");
    for (const auto& text : texts) {
      Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
      if (json.is_discarded()) {
        // "string" alone is a schema too, and some registries keep it without its quotes.
        if (!Primitives().contains(text)) return Bad("the text is not JSON");
        json = text;
      }
      FZ_ASSIGN(schema_.root, Type(json, "", 1));
    }
    FindEmpty();
    return std::move(schema_);
  }

 private:
  AvroType& at(int32_t type) { return schema_.types[static_cast<size_t>(type)]; }

  Result<int32_t> Add(AvroType type) {
    if (schema_.types.size() >= kTypes) return Bad("more than " + std::to_string(kTypes) + " types");
    schema_.types.push_back(std::move(type));
    return static_cast<int32_t>(schema_.types.size() - 1);
  }

  Result<int32_t> Type(const Json& json, const std::string& space, int depth) {
    if (depth > limits::kJsonDepth) {
      return Bad("nested deeper than " + std::to_string(limits::kJsonDepth) + " levels");
    }
    if (json.is_string()) return Named(json.get_ref<const std::string&>(), space);
    if (json.is_array()) return Union(json, space, depth);
    if (!json.is_object()) return Bad("expected a type, got " + json.dump().substr(0, 40));
    const auto kind = json.find("type");
    if (kind == json.end()) return Bad("an object without \"type\"");
    if (!kind->is_string()) return Type(*kind, space, depth + 1);
    const auto& word = kind->get_ref<const std::string&>();
    if (word == "record" || word == "error") return Record(json, space, depth);
    if (word == "enum") return Enum(json, space);
    if (word == "fixed") return Fixed(json, space);
    if (word == "array" || word == "map") return Nested(json, word == "array", space, depth);
    const auto primitive = Primitives().find(word);
    if (primitive == Primitives().end()) return Named(word, space);
    AvroType type;
    type.kind = primitive->second;
    Annotate(json, &type);
    return Add(std::move(type));
  }

  Result<int32_t> Named(const std::string& word, const std::string& space) {
    if (const auto primitive = Primitives().find(word); primitive != Primitives().end()) {
      AvroType type;
      type.kind = primitive->second;
      return Add(std::move(type));
    }
    auto found =
        names_.find(word.find('.') != std::string::npos || space.empty() ? word : space + "." + word);
    if (found == names_.end()) found = names_.find(word);
    if (found != names_.end()) return found->second;
    return Bad("no type \"" + word.substr(0, 100) + "\" is defined before it is used");
  }

  // Defines the name of a record, enum or fixed; `space` becomes the one for names inside.
  Result<int32_t> Define(const Json& json, Kind kind, std::string* space) {
    AvroType type;
    type.kind = kind;
    type.name = Text(json, "name");
    if (type.name.empty()) return Bad("a " + Text(json, "type") + " without a name");
    if (const size_t dot = type.name.rfind('.'); dot != std::string::npos) {
      *space = type.name.substr(0, dot);
    } else {
      if (json.contains("namespace")) *space = Text(json, "namespace");
      if (!space->empty()) type.name = *space + "." + type.name;
    }
    if (names_.contains(type.name)) return Bad("type \"" + type.name + "\" is defined twice");
    const std::string name = type.name;
    FZ_ASSIGN(const int32_t number, Add(std::move(type)));
    names_.emplace(name, number);
    return number;
  }

  Result<int32_t> Record(const Json& json, std::string space, int depth) {
    FZ_ASSIGN(const int32_t number, Define(json, Kind::kRecord, &space));
    Annotate(json, &at(number));
    const auto fields = json.find("fields");
    if (fields == json.end() || !fields->is_array())
      return Bad("record \"" + at(number).name + "\" has no fields");
    std::set<std::string> seen;
    for (const Json& field : *fields) {
      const std::string name = field.is_object() ? Text(field, "name") : "";
      if (name.empty() || !field.contains("type")) {
        return Bad("record \"" + at(number).name + "\" has a field without a name or type");
      }
      if (!seen.insert(name).second)
        return Bad("record \"" + at(number).name + "\" has field \"" + name + "\" twice");
      FZ_ASSIGN(const int32_t type, Type(field.at("type"), space, depth + 1));
      at(number).fields.push_back({name, type});
    }
    return number;
  }

  Result<int32_t> Enum(const Json& json, std::string space) {
    FZ_ASSIGN(const int32_t number, Define(json, Kind::kEnum, &space));
    Annotate(json, &at(number));
    const auto symbols = json.find("symbols");
    if (symbols != json.end() && symbols->is_array()) {
      for (const Json& symbol : *symbols) {
        if (!symbol.is_string()) return Bad("enum \"" + at(number).name + "\" has a symbol that is no text");
        at(number).symbols.push_back(symbol.get<std::string>());
      }
    }
    if (at(number).symbols.empty()) return Bad("enum \"" + at(number).name + "\" has no symbols");
    return number;
  }

  Result<int32_t> Fixed(const Json& json, std::string space) {
    FZ_ASSIGN(const int32_t number, Define(json, Kind::kFixed, &space));
    at(number).size = Number(json, "size", 0, kFixedBytes);
    if (at(number).size < 0) return Bad("fixed \"" + at(number).name + "\" has no size that is possible");
    Annotate(json, &at(number));
    return number;
  }

  Result<int32_t> Nested(const Json& json, bool array, const std::string& space, int depth) {
    const auto inside = json.find(array ? "items" : "values");
    if (inside == json.end()) return Bad(array ? "an array without items" : "a map without values");
    AvroType type;
    type.kind = array ? Kind::kArray : Kind::kMap;
    Annotate(json, &type);
    FZ_ASSIGN(const int32_t item, Type(*inside, space, depth + 1));
    type.inside.push_back(item);
    return Add(std::move(type));
  }

  Result<int32_t> Union(const Json& json, const std::string& space, int depth) {
    AvroType type;
    type.kind = Kind::kUnion;
    std::set<std::pair<Kind, std::string>> seen;
    for (const Json& each : json) {
      FZ_ASSIGN(const int32_t branch, Type(each, space, depth + 1));
      if (at(branch).kind == Kind::kUnion) return Bad("a union within a union");
      if (!seen.emplace(at(branch).kind, at(branch).name).second) {
        return Bad("a union has " + AvroTypeText(at(branch)) + " twice");
      }
      type.inside.push_back(branch);
    }
    if (type.inside.empty()) return Bad("a union without branches");
    return Add(std::move(type));
  }

  // What else is said of a type. A logical type that does not go with it is to be ignored.
  static void Annotate(const Json& json, AvroType* type) {
    type->connect = Text(json, "connect.name");
    if (const auto found = json.find("connect.parameters"); found != json.end() && found->is_object()) {
      type->connect_scale = Text(*found, "scale");
    }
    const std::string logical = Text(json, "logicalType");
    static const std::map<std::string, std::vector<Kind>> kKinds{{"date", {Kind::kInt}},
                                                                 {"time-millis", {Kind::kInt}},
                                                                 {"time-micros", {Kind::kLong}},
                                                                 {"timestamp-millis", {Kind::kLong}},
                                                                 {"timestamp-micros", {Kind::kLong}},
                                                                 {"timestamp-nanos", {Kind::kLong}},
                                                                 {"local-timestamp-millis", {Kind::kLong}},
                                                                 {"local-timestamp-micros", {Kind::kLong}},
                                                                 {"local-timestamp-nanos", {Kind::kLong}},
                                                                 {"decimal", {Kind::kBytes, Kind::kFixed}},
                                                                 {"uuid", {Kind::kString, Kind::kFixed}},
                                                                 {"duration", {Kind::kFixed}}};
    const auto kinds = kKinds.find(logical);
    if (kinds == kKinds.end()) return;
    if (std::find(kinds->second.begin(), kinds->second.end(), type->kind) == kinds->second.end()) return;
    if (logical == "uuid" && type->kind == Kind::kFixed && type->size != 16) return;
    if (logical == "duration" && type->size != 12) return;
    if (logical == "decimal") {
      const int32_t precision = Number(json, "precision", 1, kPrecisionMax);
      const int32_t scale = json.contains("scale") ? Number(json, "scale", 0, precision) : 0;
      if (precision < 0 || scale < 0) return;
      type->precision = precision;
      type->scale = scale;
    }
    type->logical = logical;
  }

  // Values that take no byte: nulls, fixed of nothing, and records of only those. One pass more for each
  // level of records.
  void FindEmpty() {
    for (bool found = true; found;) {
      found = false;
      for (AvroType& type : schema_.types) {
        if (type.may_be_empty) continue;
        const bool empty = type.kind == Kind::kNull || (type.kind == Kind::kFixed && type.size == 0) ||
                           (type.kind == Kind::kRecord && std::all_of(type.fields.begin(), type.fields.end(),
                                                                      [&](const AvroType::Field& field) {
                                                                        return at(field.type).may_be_empty;
                                                                      }));
        type.may_be_empty = empty;
        found = found || empty;
      }
    }
  }

  AvroSchema schema_;
  std::map<std::string, int32_t> names_;
};

}  // namespace

std::string AvroTypeText(const AvroType& type) {
  static const char* const kTexts[] = {"null",   "boolean", "int",  "long",  "float", "double", "bytes",
                                       "string", "record",  "enum", "array", "map",   "union",  "fixed"};
  std::string text = kTexts[static_cast<size_t>(type.kind)];
  if (!type.name.empty()) text += " " + type.name;
  if (!type.connect.empty() && type.connect != type.name) return text + " (" + type.connect + ")";
  return type.logical.empty() ? text : text + " (" + type.logical + ")";
}

Result<AvroSchema> ParseAvroSchema(const std::vector<std::string>& texts) { return Parser().Parse(texts); }

}  // namespace frazil
