#include "format/debezium_types.h"

#include <arrow/array/data.h>
#include <arrow/type_traits.h>
#include <arrow/util/key_value_metadata.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "format/debezium_column.h"
#include "format/json_object.h"

namespace frazil {
namespace {

using Json = nlohmann::json;
using Metadata = std::shared_ptr<arrow::KeyValueMetadata>;

// Names of types that are texts of ISO 8601, and units of those that are numbers.
const std::map<std::string, std::string>& TimeUnits() {
  static const std::map<std::string, std::string> units{
      {"io.debezium.time.Date", "d"},
      {"io.debezium.time.Time", "ms"},
      {"io.debezium.time.MicroTime", "us"},
      {"io.debezium.time.NanoTime", "ns"},
      {"io.debezium.time.Timestamp", "ms"},
      {"io.debezium.time.MicroTimestamp", "us"},
      {"io.debezium.time.NanoTimestamp", "ns"},
      {"io.debezium.time.MicroDuration", "us"},
      {"io.debezium.time.NanoDuration", "ns"},
      {"org.apache.kafka.connect.data.Date", "d"},
      {"org.apache.kafka.connect.data.Time", "ms"},
      {"org.apache.kafka.connect.data.Timestamp", "ms"},
      {"io.debezium.time.ZonedTimestamp", "iso"},
      {"io.debezium.time.ZonedTime", "iso"},
      {"io.debezium.time.IsoDate", "iso"},
      {"io.debezium.time.IsoTime", "iso"},
      {"io.debezium.time.IsoTimestamp", "iso"},
      {"io.debezium.time.Interval", "iso"},
  };
  return units;
}

std::string TextOf(const Json& type, const char* key) {
  const auto found = type.find(key);
  return found != type.end() && found->is_string() ? found->get<std::string>() : "";
}

Status Clash(const arrow::Field& column, const std::string& found, const std::string& advice) {
  return Error(ErrorKind::kDecode, "the message's schema says " + found + ", and the column is declared " +
                                       column.type()->ToString() + "\n  " + advice);
}

bool IsTime(arrow::Type::type id) { return arrow::is_temporal(id) || id == arrow::Type::DURATION; }

// Times with the schema of the message. A unit that is declared is overruled: the message knows.
Status SetTime(const arrow::Field& column, const std::string& name, const std::string& unit,
               Metadata* metadata) {
  const auto id = column.type()->id();
  const bool date = unit == "d" || name == "io.debezium.time.IsoDate";
  const bool stamp = name.find("Timestamp") != std::string::npos;
  const bool span = name.find("Duration") != std::string::npos || name == "io.debezium.time.Interval";
  bool fits = arrow::is_integer(id) && unit != "iso";
  fits = fits || (arrow::is_string(id) && unit == "iso");
  if (IsTime(id)) {
    if (date) {
      fits = id == arrow::Type::DATE32;
    } else if (stamp) {
      fits = id == arrow::Type::TIMESTAMP;
    } else if (span) {
      fits = id == arrow::Type::DURATION;
    } else {
      fits = id == arrow::Type::TIME32 || id == arrow::Type::TIME64 || id == arrow::Type::DURATION;
    }
  }
  if (!fits) {
    const char* advice = date    ? "declare a date"
                         : stamp ? "declare a timestamp"
                         : span  ? "declare a duration, or int64"
                                 : "declare a time, or a duration (MySQL's TIME goes beyond a day)";
    return Clash(column, name, advice);
  }
  if (IsTime(id)) FZ_TRY((*metadata)->Set("fz:time_unit", unit));
  return Status::OK();
}

Status SetDecimal(const arrow::Field& column, const std::string& how, Metadata* metadata) {
  if (arrow::is_decimal(column.type()->id())) return (*metadata)->Set(kDecimalMetadata, how);
  return Clash(column, "a decimal as base64",
               "declare fz.Decimal[precision, scale], or have the connector write decimals otherwise "
               "(decimal.handling.mode=string)");
}

// Without a schema in the message.
Status SetByDeclared(const arrow::Field& column, const DebeziumOptions& options, Metadata* metadata) {
  const auto id = column.type()->id();
  const bool has_unit = (*metadata)->Contains("fz:time_unit");
  if (id == arrow::Type::DATE32 && !has_unit) return (*metadata)->Set("fz:time_unit", "d");
  if (id == arrow::Type::DURATION && !has_unit) return (*metadata)->Set("fz:time_unit", "us");
  if (!arrow::is_decimal(id)) return Status::OK();
  switch (options.decimals) {
    case DebeziumDecimals::kPrecise:
      return (*metadata)->Set(kDecimalMetadata, "base64");
    case DebeziumDecimals::kString:
      return (*metadata)->Set(kDecimalMetadata, "text");
    case DebeziumDecimals::kDouble:
      return (*metadata)->Set(kDecimalMetadata, "number");
    case DebeziumDecimals::kUnknown:
      break;
  }
  return (*metadata)->Set(kDecimalMetadata, "ask");
}

// With the schema of the field.
Status SetBySchema(const arrow::Field& column, const Json& type, Metadata* metadata) {
  const auto id = column.type()->id();
  const std::string name = TextOf(type, "name");
  const std::string kind = TextOf(type, "type");
  if (const auto unit = TimeUnits().find(name); unit != TimeUnits().end()) {
    return SetTime(column, name, unit->second, metadata);
  }
  if (name == "org.apache.kafka.connect.data.Decimal") {
    const auto parameters = type.find("parameters");
    const std::string scale =
        parameters != type.end() && parameters->is_object() ? TextOf(*parameters, "scale") : "";
    if (scale.empty()) {
      return Error(
          ErrorKind::kDecode,
          "the message's schema has a decimal without a scale\n  have the connector write decimals as "
          "text (decimal.handling.mode=string)");
    }
    return SetDecimal(column, scale, metadata);
  }
  if (name == "io.debezium.data.VariableScaleDecimal") return SetDecimal(column, "base64", metadata);
  if (arrow::is_decimal(id)) return (*metadata)->Set(kDecimalMetadata, "text");
  if ((id == arrow::Type::BINARY || id == arrow::Type::LARGE_BINARY) && kind == "string") {
    return Clash(column, "a string", "declare str, or have the connector write binary.handling.mode=bytes");
  }
  if (arrow::is_string(id) && kind == "bytes") {
    return Clash(column, name.empty() ? "bytes" : name, "declare bytes");
  }
  return Status::OK();
}

bool MayBeUnavailable(arrow::Type::type id) {
  return arrow::is_binary_like(id) || arrow::is_large_binary_like(id) || arrow::is_decimal(id) ||
         arrow::is_nested(id);
}

// The child of a list as it is to be read.
Result<std::shared_ptr<arrow::DataType>> ListType(const arrow::DataType& type, const Json* items,
                                                  const DebeziumOptions& options) {
  DebeziumOptions inside = options;
  inside.unavailable.clear();  // the list itself looks for it
  FZ_ASSIGN(auto child, DebeziumField(*type.field(0), items, inside));
  if (type.id() == arrow::Type::LIST) return arrow::list(std::move(child));
  return arrow::large_list(std::move(child));
}

Status WrongOption(const std::string& text) {
  return Error(ErrorKind::kConfig, "format debezium-json: " + text);
}

// Reads one of some words; null and missing are the first.
Result<size_t> Choice(const Json& format, const char* name, const std::vector<std::string>& words) {
  const auto found = format.find(name);
  if (found == format.end() || found->is_null()) return 0;
  for (size_t i = 0; i < words.size(); ++i) {
    if (found->is_string() && found->get<std::string>() == words[i]) return i;
  }
  return WrongOption(std::string(name) + ": " + found->dump() + " is not offered");
}

}  // namespace

Result<DebeziumOptions> ParseDebeziumOptions(const Json& format) {
  static const std::set<std::string> kKnown{"kind",     "key",       "unwrapped",   "before",
                                            "decimals", "truncates", "unavailable", "unavailable_uuid",
                                            "keep"};
  for (const auto& [name, value] : format.items()) {
    if (!kKnown.contains(name)) return WrongOption("unknown option \"" + name + "\"");
  }
  DebeziumOptions options;
  const auto key = format.find("key");
  if (key == format.end() || !key->is_array() || key->empty()) return WrongOption("key: a list of columns");
  for (const Json& each : *key) {
    if (!each.is_string()) return WrongOption("key: " + each.dump() + " is no column");
    options.key.push_back(each.get<std::string>());
  }
  if (const auto found = format.find("unwrapped"); found != format.end()) {
    if (!found->is_boolean()) return WrongOption("unwrapped: true or false");
    options.unwrapped = found->get<bool>();
  }
  FZ_ASSIGN(const size_t before, Choice(format, "before", {"key", "full"}));
  options.full_before = before == 1;
  FZ_ASSIGN(const size_t decimals, Choice(format, "decimals", {"", "precise", "string", "double"}));
  options.decimals = static_cast<DebeziumDecimals>(decimals);
  FZ_ASSIGN(const size_t truncates, Choice(format, "truncates", {"stop", "apply", "reject", "skip"}));
  options.truncates = static_cast<Truncates>(truncates);
  options.unavailable = TextOf(format, "unavailable");
  options.unavailable_uuid = TextOf(format, "unavailable_uuid");
  if (const auto keep = format.find("keep"); keep != format.end()) {
    if (!keep->is_array()) return WrongOption("keep: a list of columns");
    for (const Json& each : *keep) {
      if (!each.is_string()) return WrongOption("keep: " + each.dump() + " is no column");
      options.keep.push_back(each.get<std::string>());
    }
  }
  return options;
}

Result<std::string> DebeziumSource(const arrow::Field& column) {
  const std::string source = JsonMetadata(column, "fz:source");
  if (source.empty()) return column.name();
  FZ_ASSIGN(const auto keys, ParseJsonSource(source));
  if (keys.size() == 1) return keys.front();
  return Error(ErrorKind::kConfig, "field \"" + column.name() + "\": source " + source +
                                       " goes into an object\n  columns of a table are not nested: one name");
}

Result<std::shared_ptr<arrow::Field>> DebeziumField(const arrow::Field& column, const Json* type,
                                                    const DebeziumOptions& options) {
  auto metadata =
      column.metadata() == nullptr ? std::make_shared<arrow::KeyValueMetadata>() : column.metadata()->Copy();
  if (type == nullptr || !type->is_object()) {
    FZ_TRY(SetByDeclared(column, options, &metadata));
    type = nullptr;
  } else {
    FZ_TRY(SetBySchema(column, *type, &metadata));
  }
  const auto id = column.type()->id();
  const bool kept = std::find(options.keep.begin(), options.keep.end(), column.name()) != options.keep.end();
  if (!options.unavailable.empty() && !kept && MayBeUnavailable(id)) {
    FZ_TRY(metadata->Set(kUnavailableMetadata, options.unavailable));
    FZ_TRY(metadata->Set(kUnavailableUuidMetadata, options.unavailable_uuid));
  }
  auto made = column.WithMetadata(metadata->size() == 0 ? nullptr : metadata);
  if (id != arrow::Type::LIST && id != arrow::Type::LARGE_LIST) return made;
  const Json* items = nullptr;
  if (type != nullptr) {
    const auto found = type->find("items");
    if (found != type->end()) items = &*found;
  }
  FZ_ASSIGN(auto list, ListType(*column.type(), items, options));
  return made->WithType(std::move(list));
}

std::shared_ptr<arrow::ArrayData> Retyped(const arrow::ArrayData& data,
                                          const std::shared_ptr<arrow::DataType>& type) {
  auto made = data.Copy();
  made->type = type;
  for (size_t i = 0; i < made->child_data.size(); ++i) {
    made->child_data[i] = Retyped(*made->child_data[i], type->field(static_cast<int>(i))->type());
  }
  return made;
}

}  // namespace frazil
