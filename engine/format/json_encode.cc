#include "format/json_encode.h"

#include <arrow/array.h>
#include <arrow/extension_type.h>
#include <arrow/util/base64.h>
#include <arrow/util/float16.h>

#include <charconv>
#include <cmath>

#include "base/calendar.h"
#include "base/uuid.h"

namespace frazil {
namespace {

using arrow::Type;

template <typename ArrayType>
auto ViewAt(const arrow::Array& array, int64_t i) {
  return static_cast<const ArrayType&>(array).GetView(i);
}

template <typename T>
void AppendNumber(T value, std::string* out) {
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(value)) return (void)out->append("\"NaN\"");
    if (std::isinf(value)) return (void)out->append(value > 0 ? "\"Infinity\"" : "\"-Infinity\"");
  }
  char text[40];
  out->append(text, std::to_chars(text, text + sizeof(text), value).ptr);
}

void AppendQuoted(std::string_view text, std::string* out) {
  out->push_back('"');
  out->append(text);
  out->push_back('"');
}

bool IsText(Type::type id) {
  return id == Type::STRING || id == Type::LARGE_STRING || id == Type::STRING_VIEW;
}

Status AppendValue(const arrow::Array& array, int64_t i, std::string* out);

Status AppendRange(const arrow::Array& values, int64_t begin, int64_t end, std::string* out) {
  out->push_back('[');
  for (int64_t i = begin; i < end; ++i) {
    if (i > begin) out->push_back(',');
    FZ_TRY(AppendValue(values, i, out));
  }
  out->push_back(']');
  return Status::OK();
}

template <typename ListType>
Status AppendList(const arrow::Array& array, int64_t i, std::string* out) {
  const auto& list = static_cast<const ListType&>(array);
  const int64_t begin = list.value_offset(i);
  return AppendRange(*list.values(), begin, begin + list.value_length(i), out);
}

Status AppendStruct(const arrow::Array& array, int64_t i, std::string* out) {
  const auto& record = static_cast<const arrow::StructArray&>(array);
  out->push_back('{');
  for (int field = 0; field < record.num_fields(); ++field) {
    if (field > 0) out->push_back(',');
    AppendJsonString(record.type()->field(field)->name(), out);
    out->push_back(':');
    FZ_TRY(AppendValue(*record.field(field), i, out));
  }
  out->push_back('}');
  return Status::OK();
}

Status AppendMap(const arrow::Array& array, int64_t i, std::string* out) {
  const auto& map = static_cast<const arrow::MapArray&>(array);
  const bool object = IsText(map.keys()->type_id());
  out->push_back(object ? '{' : '[');
  for (int64_t at = map.value_offset(i); at < map.value_offset(i) + map.value_length(i); ++at) {
    if (at > map.value_offset(i)) out->push_back(',');
    if (!object) out->append("{\"key\":");
    FZ_TRY(AppendValue(*map.keys(), at, out));
    out->append(object ? ":" : ",\"value\":");
    FZ_TRY(AppendValue(*map.items(), at, out));
    if (!object) out->push_back('}');
  }
  out->push_back(object ? '}' : ']');
  return Status::OK();
}

Status AppendExtension(const arrow::Array& array, int64_t i, std::string* out) {
  const auto& extension = static_cast<const arrow::ExtensionArray&>(array);
  if (static_cast<const arrow::ExtensionType&>(*array.type()).extension_name() == "arrow.uuid") {
    AppendQuoted(UuidText(ViewAt<arrow::FixedSizeBinaryArray>(*extension.storage(), i)), out);
    return Status::OK();
  }
  return AppendValue(*extension.storage(), i, out);
}

Status AppendNested(const arrow::Array& array, int64_t i, std::string* out) {
  switch (array.type_id()) {
    case Type::STRUCT:
      return AppendStruct(array, i, out);
    case Type::MAP:
      return AppendMap(array, i, out);
    case Type::LIST:
      return AppendList<arrow::ListArray>(array, i, out);
    case Type::LARGE_LIST:
      return AppendList<arrow::LargeListArray>(array, i, out);
    case Type::FIXED_SIZE_LIST:
      return AppendList<arrow::FixedSizeListArray>(array, i, out);
    case Type::EXTENSION:
      return AppendExtension(array, i, out);
    case Type::DICTIONARY: {
      const auto& coded = static_cast<const arrow::DictionaryArray&>(array);
      return AppendValue(*coded.dictionary(), coded.GetValueIndex(i), out);
    }
    default:
      return Error(ErrorKind::kConfig, "writing JSON: a value of type " + array.type()->ToString() +
                                           " has no form in JSON; cast it in the pipeline");
  }
}

bool AppendTime(const arrow::Array& array, int64_t i, std::string* out) {
  const auto unit_of = [&] { return static_cast<const arrow::TimeType&>(*array.type()).unit(); };
  switch (array.type_id()) {
    case Type::DATE32:
      AppendQuoted(IsoDate(ViewAt<arrow::Date32Array>(array, i)), out);
      return true;
    case Type::DATE64:
      AppendQuoted(IsoDate(FloorDivide(ViewAt<arrow::Date64Array>(array, i), INT64_C(86'400'000))), out);
      return true;
    case Type::TIME32:
      AppendQuoted(IsoTime(ViewAt<arrow::Time32Array>(array, i), unit_of()), out);
      return true;
    case Type::TIME64:
      AppendQuoted(IsoTime(ViewAt<arrow::Time64Array>(array, i), unit_of()), out);
      return true;
    case Type::TIMESTAMP: {
      const auto& type = static_cast<const arrow::TimestampType&>(*array.type());
      const bool utc = !type.timezone().empty();
      AppendQuoted(IsoTimestamp(ViewAt<arrow::TimestampArray>(array, i), type.unit(), utc), out);
      return true;
    }
    case Type::DURATION:
      AppendNumber(ViewAt<arrow::DurationArray>(array, i), out);
      return true;
    default:
      return false;
  }
}

bool AppendNumeric(const arrow::Array& array, int64_t i, std::string* out) {
  switch (array.type_id()) {
    case Type::BOOL:
      out->append(ViewAt<arrow::BooleanArray>(array, i) ? "true" : "false");
      return true;
    case Type::INT8:
      AppendNumber(ViewAt<arrow::Int8Array>(array, i), out);
      return true;
    case Type::INT16:
      AppendNumber(ViewAt<arrow::Int16Array>(array, i), out);
      return true;
    case Type::INT32:
      AppendNumber(ViewAt<arrow::Int32Array>(array, i), out);
      return true;
    case Type::INT64:
      AppendNumber(ViewAt<arrow::Int64Array>(array, i), out);
      return true;
    case Type::UINT8:
      AppendNumber(ViewAt<arrow::UInt8Array>(array, i), out);
      return true;
    case Type::UINT16:
      AppendNumber(ViewAt<arrow::UInt16Array>(array, i), out);
      return true;
    case Type::UINT32:
      AppendNumber(ViewAt<arrow::UInt32Array>(array, i), out);
      return true;
    case Type::UINT64:
      AppendNumber(ViewAt<arrow::UInt64Array>(array, i), out);
      return true;
    case Type::HALF_FLOAT:
      AppendNumber(arrow::util::Float16::FromBits(ViewAt<arrow::HalfFloatArray>(array, i)).ToFloat(), out);
      return true;
    case Type::FLOAT:
      AppendNumber(ViewAt<arrow::FloatArray>(array, i), out);
      return true;
    case Type::DOUBLE:
      AppendNumber(ViewAt<arrow::DoubleArray>(array, i), out);
      return true;
    case Type::DECIMAL32:
      out->append(static_cast<const arrow::Decimal32Array&>(array).FormatValue(i));
      return true;
    case Type::DECIMAL64:
      out->append(static_cast<const arrow::Decimal64Array&>(array).FormatValue(i));
      return true;
    case Type::DECIMAL128:
      out->append(static_cast<const arrow::Decimal128Array&>(array).FormatValue(i));
      return true;
    case Type::DECIMAL256:
      out->append(static_cast<const arrow::Decimal256Array&>(array).FormatValue(i));
      return true;
    default:
      return false;
  }
}

Status AppendValue(const arrow::Array& array, int64_t i, std::string* out) {
  if (array.IsNull(i) || array.type_id() == Type::NA) {
    out->append("null");
    return Status::OK();
  }
  if (AppendNumeric(array, i, out)) return Status::OK();
  const auto base64 = [&](std::string_view bytes) { AppendQuoted(arrow::util::base64_encode(bytes), out); };
  switch (array.type_id()) {
    case Type::STRING:
      AppendJsonString(ViewAt<arrow::StringArray>(array, i), out);
      return Status::OK();
    case Type::LARGE_STRING:
      AppendJsonString(ViewAt<arrow::LargeStringArray>(array, i), out);
      return Status::OK();
    case Type::STRING_VIEW:
      AppendJsonString(ViewAt<arrow::StringViewArray>(array, i), out);
      return Status::OK();
    case Type::BINARY:
      base64(ViewAt<arrow::BinaryArray>(array, i));
      return Status::OK();
    case Type::LARGE_BINARY:
      base64(ViewAt<arrow::LargeBinaryArray>(array, i));
      return Status::OK();
    case Type::BINARY_VIEW:
      base64(ViewAt<arrow::BinaryViewArray>(array, i));
      return Status::OK();
    case Type::FIXED_SIZE_BINARY:
      base64(ViewAt<arrow::FixedSizeBinaryArray>(array, i));
      return Status::OK();
    default:
      break;
  }
  if (AppendTime(array, i, out)) return Status::OK();
  return AppendNested(array, i, out);
}

}  // namespace

void AppendJsonString(std::string_view text, std::string* out) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  out->push_back('"');
  size_t plain = 0;  // start of what needs no escape
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<uint8_t>(text[i]);
    if (c >= 0x20 && c != '"' && c != '\\') continue;
    out->append(text.substr(plain, i - plain));
    plain = i + 1;
    switch (c) {
      case '"':
        out->append("\\\"");
        break;
      case '\\':
        out->append("\\\\");
        break;
      case '\n':
        out->append("\\n");
        break;
      case '\r':
        out->append("\\r");
        break;
      case '\t':
        out->append("\\t");
        break;
      default:
        out->append("\\u00");
        out->push_back(kDigits[c >> 4]);
        out->push_back(kDigits[c & 0x0F]);
    }
  }
  out->append(text.substr(plain));
  out->push_back('"');
}

Status AppendJsonLines(const arrow::RecordBatch& batch, std::string* out) {
  std::vector<std::string> keys;
  for (const auto& field : batch.schema()->fields()) {
    std::string key = keys.empty() ? "{" : ",";
    AppendJsonString(field->name(), &key);
    keys.push_back(key + ":");
  }
  const arrow::ArrayVector columns = batch.columns();
  for (int64_t row = 0; row < batch.num_rows(); ++row) {
    if (keys.empty()) out->push_back('{');
    for (size_t column = 0; column < keys.size(); ++column) {
      out->append(keys[column]);
      if (const Status status = AppendValue(*columns[column], row, out); !status.ok()) {
        return Prefixed(status, "column \"" + batch.schema()->field(static_cast<int>(column))->name() + "\"");
      }
    }
    out->append("}\n");
  }
  return Status::OK();
}

}  // namespace frazil
