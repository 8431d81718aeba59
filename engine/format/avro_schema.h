#pragma once

#include <arrow/type_fwd.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace frazil {

// A type of an Avro schema. Others are named by their number in AvroSchema::types, so that a type may hold
// itself.
struct AvroType {
  enum class Kind {
    kNull,
    kBoolean,
    kInt,
    kLong,
    kFloat,
    kDouble,
    kBytes,
    kString,
    kRecord,
    kEnum,
    kArray,
    kMap,
    kUnion,
    kFixed,
  };
  struct Field {
    std::string name;
    int32_t type = 0;
  };

  Kind kind = Kind::kNull;
  std::string name;                  // full name of a record, enum or fixed
  std::string logical;               // logicalType if it goes with the type, else empty: that is the spec
  int32_t precision = 0;             // of logical decimals
  int32_t scale = 0;                 // the same
  std::string connect;               // "connect.name" of Kafka Connect's converter
  std::string connect_scale;         // "scale" of its "connect.parameters"
  int32_t size = 0;                  // bytes of a fixed
  std::vector<std::string> symbols;  // of an enum
  std::vector<Field> fields;         // of a record
  std::vector<int32_t> inside;       // items of an array, values of a map, branches of a union
  bool may_be_empty = false;         // a value may take no byte at all
};

// What numbers of an int or long are, if they are a time.
struct AvroMeaning {
  enum class Means { kDate, kTime, kInstant, kLocal, kStamp, kSpan };
  Means means;
  arrow::TimeUnit::type unit = arrow::TimeUnit::SECOND;  // of all but dates, which are days
};

// By the logical type, or the name that Kafka Connect gives it; nullptr if it is none.
const AvroMeaning* AvroMeaningOf(const AvroType& type);

// What errors call a type: "a long (timestamp-micros)", "record crm.Order".
std::string AvroTypeText(const AvroType& type);

struct AvroSchema {
  std::vector<AvroType> types;
  int32_t root = 0;

  const AvroType& at(int32_t type) const { return types[static_cast<size_t>(type)]; }
};

// Reads a schema, the last of the texts; those before it are schemas that it refers to by name, in an order
// in which each knows those before it. A decode error says what is wrong. Bounded in bytes, types and
// nesting.
Result<AvroSchema> ParseAvroSchema(const std::vector<std::string>& texts);

}  // namespace frazil
