#define XXH_INLINE_ALL
#include "state/key.h"

#include <arrow/api.h>
#include <xxhash.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>

namespace frazil {
namespace {

// The encoded key of each row; short keys stay inside the string objects.

using Keys = std::vector<std::string>;

void AppendFixed(std::string& key, const void* value, size_t size) {
  key.push_back('\1');
  key.append(static_cast<const char*>(value), size);
}

void AppendInt(std::string& key, int64_t value) { AppendFixed(key, &value, sizeof value); }

void AppendBytes(std::string& key, std::string_view bytes) {
  const auto length = static_cast<uint32_t>(bytes.size());
  AppendFixed(key, &length, sizeof length);
  key.append(bytes);
}

void AppendDouble(std::string& key, double value) {
  if (value == 0) value = 0;
  if (std::isnan(value)) value = std::numeric_limits<double>::quiet_NaN();
  AppendFixed(key, &value, sizeof value);
}

template <typename Append>
void ForEach(const arrow::Array& array, Keys& keys, Append append) {
  for (int64_t i = 0; i < array.length(); ++i) {
    std::string& key = keys[static_cast<size_t>(i)];
    if (array.IsNull(i)) {
      key.push_back('\0');
    } else {
      append(key, i);
    }
  }
}

template <typename ArrayType>
void AppendInts(const arrow::Array& array, Keys& keys, int64_t multiply = 1, int64_t divide = 1) {
  const auto& typed = static_cast<const ArrayType&>(array);
  ForEach(array, keys, [&](std::string& key, int64_t i) {
    AppendInt(key, static_cast<int64_t>(typed.Value(i)) * multiply / divide);
  });
}

template <typename ArrayType>
void AppendStrings(const arrow::Array& array, Keys& keys) {
  const auto& typed = static_cast<const ArrayType&>(array);
  ForEach(array, keys, [&](std::string& key, int64_t i) { AppendBytes(key, typed.GetView(i)); });
}

template <typename ArrayType>
void AppendDoubles(const arrow::Array& array, Keys& keys) {
  const auto& typed = static_cast<const ArrayType&>(array);
  ForEach(array, keys,
          [&](std::string& key, int64_t i) { AppendDouble(key, static_cast<double>(typed.Value(i))); });
}

template <typename ArrayType>
void AppendTimes(const arrow::Array& array, Keys& keys, arrow::TimeUnit::type unit) {
  switch (unit) {
    case arrow::TimeUnit::SECOND:
      return AppendInts<ArrayType>(array, keys, 1'000'000);
    case arrow::TimeUnit::MILLI:
      return AppendInts<ArrayType>(array, keys, 1'000);
    case arrow::TimeUnit::MICRO:
      return AppendInts<ArrayType>(array, keys);
    case arrow::TimeUnit::NANO:
      return AppendInts<ArrayType>(array, keys, 1, 1'000);
  }
}

Status AppendColumn(const arrow::Array& array, Keys& keys) {
  switch (array.type_id()) {
    case arrow::Type::BOOL:
      AppendInts<arrow::BooleanArray>(array, keys);
      break;
    case arrow::Type::INT8:
      AppendInts<arrow::Int8Array>(array, keys);
      break;
    case arrow::Type::INT16:
      AppendInts<arrow::Int16Array>(array, keys);
      break;
    case arrow::Type::INT32:
      AppendInts<arrow::Int32Array>(array, keys);
      break;
    case arrow::Type::INT64:
      AppendInts<arrow::Int64Array>(array, keys);
      break;
    case arrow::Type::UINT8:
      AppendInts<arrow::UInt8Array>(array, keys);
      break;
    case arrow::Type::UINT16:
      AppendInts<arrow::UInt16Array>(array, keys);
      break;
    case arrow::Type::UINT32:
      AppendInts<arrow::UInt32Array>(array, keys);
      break;
    case arrow::Type::UINT64:
      AppendInts<arrow::UInt64Array>(array, keys);
      break;
    case arrow::Type::FLOAT:
      AppendDoubles<arrow::FloatArray>(array, keys);
      break;
    case arrow::Type::DOUBLE:
      AppendDoubles<arrow::DoubleArray>(array, keys);
      break;
    case arrow::Type::DATE32:
      AppendInts<arrow::Date32Array>(array, keys);
      break;
    case arrow::Type::TIMESTAMP:
      AppendTimes<arrow::TimestampArray>(array, keys,
                                         static_cast<const arrow::TimestampType&>(*array.type()).unit());
      break;
    case arrow::Type::TIME32:
      AppendTimes<arrow::Time32Array>(array, keys,
                                      static_cast<const arrow::Time32Type&>(*array.type()).unit());
      break;
    case arrow::Type::TIME64:
      AppendTimes<arrow::Time64Array>(array, keys,
                                      static_cast<const arrow::Time64Type&>(*array.type()).unit());
      break;
    case arrow::Type::DURATION:
      AppendTimes<arrow::DurationArray>(array, keys,
                                        static_cast<const arrow::DurationType&>(*array.type()).unit());
      break;
    case arrow::Type::STRING:
      AppendStrings<arrow::StringArray>(array, keys);
      break;
    case arrow::Type::BINARY:
      AppendStrings<arrow::BinaryArray>(array, keys);
      break;
    case arrow::Type::LARGE_STRING:
      AppendStrings<arrow::LargeStringArray>(array, keys);
      break;
    case arrow::Type::LARGE_BINARY:
      AppendStrings<arrow::LargeBinaryArray>(array, keys);
      break;
    case arrow::Type::FIXED_SIZE_BINARY:
      AppendStrings<arrow::FixedSizeBinaryArray>(array, keys);
      break;
    case arrow::Type::DECIMAL128: {
      const auto& typed = static_cast<const arrow::Decimal128Array&>(array);
      ForEach(array, keys, [&](std::string& key, int64_t i) { AppendFixed(key, typed.GetValue(i), 16); });
      break;
    }
    default:
      return Error(ErrorKind::kUser, "hashing a key: a column of type " + array.type()->ToString() +
                                         " cannot be a key; cast it to a string or a number");
  }
  return Status::OK();
}

}  // namespace

Result<std::vector<uint64_t>> HashKeys(const std::vector<std::shared_ptr<arrow::Array>>& columns,
                                       int64_t rows) {
  Keys keys(static_cast<size_t>(rows));
  for (const auto& column : columns) FZ_TRY(AppendColumn(*column, keys));
  std::vector<uint64_t> hashes(static_cast<size_t>(rows));
  for (size_t i = 0; i < hashes.size(); ++i) hashes[i] = XXH3_64bits(keys[i].data(), keys[i].size());
  return hashes;
}

}  // namespace frazil
