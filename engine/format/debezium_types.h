#pragma once

#include <arrow/type.h>

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/status.h"

namespace frazil {

// What Debezium's decimal.handling.mode is where messages have no schema.
enum class DebeziumDecimals { kUnknown, kPrecise, kString, kDouble };

// What an event comes to that says that the table was truncated.
enum class Truncates {
  kStop,    // an error: nothing can be read behind it
  kApply,   // a row of kTruncateKind
  kReject,  // a row that is rejected
  kSkip,    // nothing
};

// How change events of Debezium are read where neither schema nor message says it. Python's DebeziumJson
// makes it; JSON keys have these names.
struct DebeziumOptions {
  std::vector<std::string> key;  // columns of the key, at least one
  bool unwrapped = false;        // rows as ExtractNewRecordState makes them: columns, __op, __deleted
  bool full_before = false;  // "before": "full": updates and deletes have the whole row before, else "key"
  DebeziumDecimals decimals = DebeziumDecimals::kUnknown;  // "decimals": null, "precise", "string", "double"
  Truncates truncates = Truncates::kStop;                  // "truncates": "stop", "apply", "reject", "skip"
  std::string unavailable;        // what stands for an unchanged TOAST value; empty = nothing does
  std::string unavailable_uuid;   // the same in lists of uuids
  std::vector<std::string> keep;  // columns in which it is left for UnsentValues to replace
};

// Metadata of a column that is taken from the envelope instead of the row: a JSON list of keys.
constexpr const char* kEnvelopeMetadata = "fz:envelope";

// Reads the options from a plan's format object; an unknown, missing or wrong one is a config error.
Result<DebeziumOptions> ParseDebeziumOptions(const nlohmann::json& format);

// The name a column has in the row: its fz:source, which is one key here, or its own.
Result<std::string> DebeziumSource(const arrow::Field& column);

// The field as the JSON decoder has to read it: with the unit of times, the way of decimals, and the
// placeholder. `type` is the schema of the field in the message (Connect's JSON form), nullptr if there is
// none: then the declared type and the options say it. An error (kDecode) says that the two do not go
// together.
Result<std::shared_ptr<arrow::Field>> DebeziumField(const arrow::Field& column, const nlohmann::json* type,
                                                    const DebeziumOptions& options);

// The array with the names, nullability and metadata of another type of the same layout.
std::shared_ptr<arrow::ArrayData> Retyped(const arrow::ArrayData& data,
                                          const std::shared_ptr<arrow::DataType>& type);

}  // namespace frazil
