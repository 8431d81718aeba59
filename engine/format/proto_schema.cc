#include "format/proto_schema.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "format/base64.h"

namespace frazil {
namespace {

using Json = nlohmann::json;
using Type = ProtoField::Type;
using Label = ProtoField::Label;

constexpr size_t kTextBytes = 16 << 20;        // bytes of a schema
constexpr int32_t kNumberMax = (1 << 29) - 1;  // of a field: what a tag holds

constexpr const char* kTypes[] = {"double", "float",  "int32",   "int64",   "uint32",   "uint64",
                                  "sint32", "sint64", "fixed32", "fixed64", "sfixed32", "sfixed64",
                                  "bool",   "string", "bytes",   "enum",    "message",  "group"};
constexpr const char* kLabels[] = {"implicit", "optional", "required", "repeated", "map"};

Status Bad(const std::string& text) { return Error(ErrorKind::kDecode, "Protobuf schema: " + text); }

// The place of a text in a list of them, or -1.
template <size_t kSize>
int Place(const char* const (&names)[kSize], const std::string& name) {
  const auto found = std::find(std::begin(names), std::end(names), name);
  return found == std::end(names) ? -1 : static_cast<int>(found - std::begin(names));
}

std::string Text(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

// A whole number in [least, most], else `other`.
int32_t Number(const Json& object, const char* key, int64_t least, int64_t most, int32_t other) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number_integer()) return other;
  const auto value = found->get<int64_t>();
  return value >= least && value <= most ? static_cast<int32_t>(value) : other;
}

Status ReadDefault(const Json& json, ProtoField* field) {
  const auto found = json.find("default");
  if (found == json.end()) return Status::OK();
  field->has_default = true;
  if (found->is_number_integer()) {
    field->default_bits =
        found->is_number_unsigned() ? found->get<uint64_t>() : static_cast<uint64_t>(found->get<int64_t>());
    return Status::OK();
  }
  if (!found->is_string()) return Bad("a default that is no number or text");
  const auto text = found->get<std::string>();
  std::vector<uint8_t> bytes(text.size() / 4 * 3 + 3);
  size_t size = 0;
  if (!DecodeBase64(text, bytes.data(), &size)) return Bad("a default that is not base64");
  field->default_bytes.assign(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
  return Status::OK();
}

Result<ProtoField> ReadField(const Json& json, size_t messages, size_t enums) {
  if (!json.is_object()) return Bad("a field that is no object");
  ProtoField field;
  field.name = Text(json, "name");
  field.number = Number(json, "number", 1, kNumberMax, 0);
  const int type = Place(kTypes, Text(json, "type"));
  const int label = Place(kLabels, Text(json, "label"));
  if (field.name.empty() || field.number == 0 || type < 0 || label < 0)
    return Bad("field \"" + field.name + "\" has no number, type or label");
  field.type = static_cast<Type>(type);
  field.label = static_cast<Label>(label);
  const bool inner = field.type == Type::kMessage || field.type == Type::kGroup;
  const size_t count = inner ? messages : enums;
  field.of = Number(json, "of", 0, static_cast<int64_t>(count) - 1, -1);
  if ((inner || field.type == Type::kEnum) && field.of < 0)
    return Bad("field \"" + field.name + "\" is of a type that is not there");
  field.oneof = Number(json, "oneof", 0, INT32_MAX, -1);
  FZ_TRY(ReadDefault(json, &field));
  return field;
}

Status CheckMap(const ProtoSchema& schema, const ProtoField& field) {
  if (field.label != Label::kMap) return Status::OK();
  if (field.type == Type::kMessage) {
    const auto& fields = schema.message(field.of).fields;
    const auto one = [](const ProtoField& each) {
      return each.label == Label::kImplicit || each.label == Label::kOptional;
    };
    if (fields.size() == 2 && fields[0].number == 1 && fields[1].number == 2 && one(fields[0]) &&
        one(fields[1]) && (IsPackable(fields[0].type) || fields[0].type == Type::kString)) {
      return Status::OK();
    }
  }
  return Bad("map \"" + field.name + "\" has no key and value");
}

Result<ProtoSchema> Read(const Json& json) {
  const auto part = [&](const char* name, bool list) {
    const auto found = json.find(name);
    const bool there = found != json.end() && (list ? found->is_array() : found->is_object());
    return there ? &*found : nullptr;
  };
  const Json* const messages = part("messages", true);
  const Json* const enums = part("enums", true);
  const Json* const roots = part("roots", false);
  if (messages == nullptr || enums == nullptr || roots == nullptr) return Bad("a part is missing");
  ProtoSchema schema;
  for (const Json& each : *messages) {
    ProtoMessage& message = schema.messages.emplace_back();
    message.name = Text(each, "name");
    const auto fields = each.find("fields");
    if (fields == each.end() || !fields->is_array()) return Bad("message " + message.name + " has no fields");
    std::set<int32_t> numbers;
    for (const Json& inside : *fields) {
      FZ_ASSIGN(ProtoField field, ReadField(inside, messages->size(), enums->size()));
      if (!numbers.insert(field.number).second) return Bad("a number of two fields in " + message.name);
      message.fields.push_back(std::move(field));
    }
  }
  for (const ProtoMessage& message : schema.messages) {
    for (const ProtoField& field : message.fields) FZ_TRY(CheckMap(schema, field));
  }
  for (const Json& each : *enums) {
    ProtoEnum& made = schema.enums.emplace_back();
    made.name = Text(each, "name");
    const auto values = each.find("values");
    if (values == each.end() || !values->is_array()) return Bad("enum " + made.name + " has no values");
    for (const Json& value : *values) {
      const bool pair = value.is_array() && value.size() == 2 && value[0].is_string();
      if (!pair || !value[1].is_number_integer()) return Bad("a value of " + made.name + " has no number");
      // Of several names the first one.
      made.values.try_emplace(static_cast<int32_t>(value[1].get<int64_t>()), value[0].get<std::string>());
    }
  }
  for (const auto& [place, number] : roots->items()) {
    if (!number.is_number_integer() || number.get<int64_t>() < 0 ||
        number.get<int64_t>() >= static_cast<int64_t>(schema.messages.size())) {
      return Bad("a message that is not there");
    }
    schema.roots[place] = number.get<int32_t>();
  }
  return schema;
}

}  // namespace

ProtoWire ProtoWireOf(Type type) {
  switch (type) {
    case Type::kDouble:
    case Type::kFixed64:
    case Type::kSfixed64:
      return ProtoWire::kFixed64;
    case Type::kFloat:
    case Type::kFixed32:
    case Type::kSfixed32:
      return ProtoWire::kFixed32;
    case Type::kString:
    case Type::kBytes:
    case Type::kMessage:
      return ProtoWire::kBytes;
    case Type::kGroup:
      return ProtoWire::kGroup;
    default:
      return ProtoWire::kVarint;
  }
}

bool IsPackable(Type type) {
  const ProtoWire wire = ProtoWireOf(type);
  return wire != ProtoWire::kBytes && wire != ProtoWire::kGroup;
}

std::string ProtoTypeText(const ProtoSchema& schema, const ProtoField& field) {
  if (field.label == Label::kMap) {
    const auto& fields = schema.message(field.of).fields;
    return "map<" + ProtoTypeText(schema, fields[0]) + ", " + ProtoTypeText(schema, fields[1]) + ">";
  }
  std::string text = field.label == Label::kRepeated ? "repeated " : "";
  if (field.type == Type::kEnum) return text + "enum " + schema.enumeration(field.of).name;
  if (field.type == Type::kMessage || field.type == Type::kGroup) return text + schema.message(field.of).name;
  return text + kTypes[static_cast<size_t>(field.type)];
}

Result<ProtoSchema> ParseProtoSchema(std::string_view text) {
  if (text.size() > kTextBytes) return Bad("longer than " + std::to_string(kTextBytes) + " bytes");
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return Bad("the text is no JSON object");
  return Read(json);
}

}  // namespace frazil
