#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace frazil {

// How a value stands in a message, the low three bits of its tag.
enum class ProtoWire : uint8_t {
  kVarint = 0,
  kFixed64 = 1,
  kBytes = 2,
  kGroup = 3,
  kGroupEnd = 4,
  kFixed32 = 5,
};

// A field of a Protobuf message. Types that are messages or enums are named by their number in ProtoSchema,
// so that a message may hold itself.
struct ProtoField {
  enum class Type : uint8_t {
    kDouble,
    kFloat,
    kInt32,
    kInt64,
    kUint32,
    kUint64,
    kSint32,
    kSint64,
    kFixed32,
    kFixed64,
    kSfixed32,
    kSfixed64,
    kBool,
    kString,
    kBytes,
    kEnum,
    kMessage,
    kGroup,
  };
  enum class Label : uint8_t {
    kImplicit,  // has a value always: zero, empty or the first of an enum where the message has none
    kOptional,  // known to be there or not
    kRequired,
    kRepeated,
    kMap,  // repeated messages of a key (1) and a value (2)
  };

  int32_t number = 0;
  std::string name;
  Type type = Type::kInt32;
  Label label = Label::kImplicit;
  int32_t of = -1;           // the message or enum
  int32_t oneof = -1;        // number of the oneof in its message
  bool has_default = false;  // a default of its own, or a first value of its enum that is not 0
  uint64_t default_bits = 0;
  std::string default_bytes;
};

struct ProtoMessage {
  std::string name;  // full
  std::vector<ProtoField> fields;
};

struct ProtoEnum {
  std::string name;
  std::map<int32_t, std::string> values;
};

struct ProtoSchema {
  std::vector<ProtoMessage> messages;
  std::vector<ProtoEnum> enums;
  // The messages that may be written, by their place in the file: "0", or "1.0" of one inside another.
  std::map<std::string, int32_t, std::less<>> roots;

  const ProtoMessage& message(int32_t number) const { return messages[static_cast<size_t>(number)]; }
  const ProtoEnum& enumeration(int32_t number) const { return enums[static_cast<size_t>(number)]; }
};

// How values of a type stand in a message.
ProtoWire ProtoWireOf(ProtoField::Type type);
// Whether many of them may stand together in bytes.
bool IsPackable(ProtoField::Type type);

// What errors call the type of a field: "int32", "repeated shop.Item".
std::string ProtoTypeText(const ProtoSchema& schema, const ProtoField& field);

// Reads a schema in the JSON that frazil/proto_schema.py makes of descriptors:
// {"messages": [{"name", "fields": [{"number", "name", "type", "label", "of"?, "oneof"?, "default"?}]}],
//  "enums": [{"name", "values": [[name, number]]}], "roots": {place: number of the message}}
// with the names of descriptor.proto for types and labels (and "map"), and a default as bits or, of texts and
// bytes, as base64. A decode error says what is wrong. Bounded in bytes.
Result<ProtoSchema> ParseProtoSchema(std::string_view text);

}  // namespace frazil
