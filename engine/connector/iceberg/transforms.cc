#include "connector/iceberg/transforms.h"

#include <arrow/builder.h>
#include <arrow/extension_type.h>
#include <arrow/util/decimal.h>

#include <bit>
#include <cstring>
#include <optional>
#include <string_view>

#include "base/calendar.h"
#include "connector/iceberg/single_value.h"

namespace frazil::iceberg {
namespace {

using arrow::Type;
using ArrayPtr = std::shared_ptr<arrow::Array>;
using TypePtr = std::shared_ptr<arrow::DataType>;

constexpr int64_t kMicrosPerHour = INT64_C(3600) * 1'000'000;
constexpr int64_t kMicrosPerDay = 24 * kMicrosPerHour;

// Calls `each` (value -> value of the builder's type) for every valid row.
template <typename Builder, typename ArrayType, typename Each>
Result<ArrayPtr> Map(const arrow::Array& source, TypePtr type, arrow::MemoryPool* pool, Each&& each) {
  const auto& values = static_cast<const ArrayType&>(source);
  Builder builder(std::move(type), pool);
  FZ_TRY(builder.Reserve(values.length()));
  for (int64_t i = 0; i < values.length(); ++i) {
    if (values.IsNull(i)) {
      builder.UnsafeAppendNull();
    } else {
      builder.UnsafeAppend(each(values.GetView(i)));
    }
  }
  return builder.Finish();
}

template <typename ArrayType, typename Each>
Result<ArrayPtr> ToInt(const arrow::Array& source, arrow::MemoryPool* pool, Each&& each) {
  return Map<arrow::Int32Builder, ArrayType>(source, arrow::int32(), pool, std::forward<Each>(each));
}

int64_t PerMicro(const arrow::DataType& type) {
  return static_cast<const arrow::TimestampType&>(type).unit() == arrow::TimeUnit::NANO ? 1000 : 1;
}

std::string DecimalKey(const uint8_t* little) {
  return DecimalBytes(std::string(std::reverse_iterator(little + 16), std::reverse_iterator(little)));
}

Result<ArrayPtr> Bucket(const arrow::Array& source, int64_t count, arrow::MemoryPool* pool) {
  const auto bucket = [count](const void* data, size_t size) {
    return static_cast<int32_t>((Murmur3(data, static_cast<int64_t>(size)) & 0x7fffffff) % count);
  };
  const auto whole = [&](int64_t value) { return bucket(&value, sizeof(value)); };
  const auto bytes = [&](std::string_view value) { return bucket(value.data(), value.size()); };
  switch (source.type_id()) {
    case Type::INT32:
      return ToInt<arrow::Int32Array>(source, pool, whole);
    case Type::INT64:
      return ToInt<arrow::Int64Array>(source, pool, whole);
    case Type::DATE32:
      return ToInt<arrow::Date32Array>(source, pool, whole);
    case Type::TIME64:
      return ToInt<arrow::Time64Array>(source, pool, whole);
    case Type::TIMESTAMP: {
      const int64_t per_micro = PerMicro(*source.type());
      return ToInt<arrow::TimestampArray>(source, pool,
                                          [&](int64_t v) { return whole(FloorDivide(v, per_micro)); });
    }
    case Type::DECIMAL128:
      return ToInt<arrow::Decimal128Array>(source, pool, [&](std::string_view value) {
        return bytes(DecimalKey(reinterpret_cast<const uint8_t*>(value.data())));
      });
    case Type::STRING:
      return ToInt<arrow::StringArray>(source, pool, bytes);
    case Type::BINARY:
      return ToInt<arrow::BinaryArray>(source, pool, bytes);
    case Type::LARGE_STRING:
      return ToInt<arrow::LargeStringArray>(source, pool, bytes);
    case Type::LARGE_BINARY:
      return ToInt<arrow::LargeBinaryArray>(source, pool, bytes);
    default:
      return ToInt<arrow::FixedSizeBinaryArray>(source, pool, bytes);
  }
}

Status TruncateOverflow(const std::string& value, int64_t width) {
  return Error(ErrorKind::kUser, "truncating " + value + " to a multiple of " + std::to_string(width) +
                                     " for its partition: the result is less than the type holds");
}

template <typename Builder, typename ArrayType>
Result<ArrayPtr> TruncateWhole(const arrow::Array& source, int64_t width, arrow::MemoryPool* pool) {
  using Value = typename ArrayType::value_type;
  std::optional<Value> overflow;
  auto out = Map<Builder, ArrayType>(source, source.type(), pool, [&](Value value) {
    const int64_t rest = value - FloorDivide(value, width) * width;
    Value truncated = 0;
    if (__builtin_sub_overflow(value, rest, &truncated)) overflow = value;
    return truncated;
  });
  if (overflow) return TruncateOverflow(std::to_string(*overflow), width);
  return out;
}

Result<ArrayPtr> TruncateDecimal(const arrow::Array& source, int64_t width, arrow::MemoryPool* pool) {
  const auto& type = static_cast<const arrow::DecimalType&>(*source.type());
  const arrow::Decimal128 divisor(width);
  std::optional<arrow::Decimal128> overflow;
  auto out = Map<arrow::Decimal128Builder, arrow::Decimal128Array>(
      source, source.type(), pool, [&](std::string_view bytes) {
        const arrow::Decimal128 value(reinterpret_cast<const uint8_t*>(bytes.data()));
        arrow::Decimal128 rest = value % divisor;
        if (rest.IsNegative()) rest += divisor;
        const arrow::Decimal128 truncated = value - rest;
        if (!truncated.FitsInPrecision(type.precision())) overflow = value;
        return truncated;
      });
  if (overflow) return TruncateOverflow(overflow->ToString(type.scale()), width);
  return out;
}

// Text and bytes: the values only lose their tails.
template <typename Builder, typename ArrayType, typename Each>
Result<ArrayPtr> TruncateTail(const arrow::Array& source, arrow::MemoryPool* pool, Each&& each) {
  const auto& values = static_cast<const ArrayType&>(source);
  Builder builder(pool);
  FZ_TRY(builder.Reserve(values.length()));
  for (int64_t i = 0; i < values.length(); ++i) {
    if (values.IsNull(i)) {
      builder.UnsafeAppendNull();
    } else {
      FZ_TRY(builder.Append(each(values.GetView(i))));
    }
  }
  return builder.Finish();
}

Result<ArrayPtr> Truncate(const arrow::Array& source, int64_t width, arrow::MemoryPool* pool) {
  const auto text = [width](std::string_view value) { return TruncateText(value, width); };
  const auto bytes = [width](std::string_view value) { return value.substr(0, static_cast<size_t>(width)); };
  switch (source.type_id()) {
    case Type::INT32:
      return TruncateWhole<arrow::Int32Builder, arrow::Int32Array>(source, width, pool);
    case Type::INT64:
      return TruncateWhole<arrow::Int64Builder, arrow::Int64Array>(source, width, pool);
    case Type::DECIMAL128:
      return TruncateDecimal(source, width, pool);
    case Type::STRING:
      return TruncateTail<arrow::StringBuilder, arrow::StringArray>(source, pool, text);
    case Type::LARGE_STRING:
      return TruncateTail<arrow::LargeStringBuilder, arrow::LargeStringArray>(source, pool, text);
    case Type::BINARY:
      return TruncateTail<arrow::BinaryBuilder, arrow::BinaryArray>(source, pool, bytes);
    default:
      return TruncateTail<arrow::LargeBinaryBuilder, arrow::LargeBinaryArray>(source, pool, bytes);
  }
}

Result<ArrayPtr> Calendar(const std::string& name, const arrow::Array& source, arrow::MemoryPool* pool) {
  const auto unit = [&](int64_t days) -> int32_t {
    if (name == "day") return static_cast<int32_t>(days);
    const CivilDay civil = CivilFromDays(days);
    if (name == "year") return static_cast<int32_t>(civil.year - 1970);
    return static_cast<int32_t>((civil.year - 1970) * 12 + civil.month - 1);
  };
  if (source.type_id() == Type::DATE32) {
    if (name == "day") return source.View(arrow::date32());
    return ToInt<arrow::Date32Array>(source, pool, unit);
  }
  const int64_t per_micro = PerMicro(*source.type());
  if (name == "hour") {
    const int64_t by = kMicrosPerHour * per_micro;
    return ToInt<arrow::TimestampArray>(source, pool,
                                        [by](int64_t v) { return static_cast<int32_t>(FloorDivide(v, by)); });
  }
  const int64_t by = kMicrosPerDay * per_micro;
  if (name == "day") {
    return Map<arrow::Date32Builder, arrow::TimestampArray>(
        source, arrow::date32(), pool, [by](int64_t v) { return static_cast<int32_t>(FloorDivide(v, by)); });
  }
  return ToInt<arrow::TimestampArray>(source, pool, [&](int64_t v) { return unit(FloorDivide(v, by)); });
}

bool Buckets(Type::type id) {
  return id == Type::INT32 || id == Type::INT64 || id == Type::DATE32 || id == Type::TIME64 ||
         id == Type::TIMESTAMP || id == Type::DECIMAL128 || id == Type::STRING || id == Type::BINARY ||
         id == Type::LARGE_STRING || id == Type::LARGE_BINARY || id == Type::FIXED_SIZE_BINARY;
}

bool Truncates(Type::type id) {
  return id == Type::INT32 || id == Type::INT64 || id == Type::DECIMAL128 || id == Type::STRING ||
         id == Type::LARGE_STRING || id == Type::BINARY || id == Type::LARGE_BINARY;
}

const arrow::DataType& Storage(const arrow::DataType& type) {
  if (type.id() != Type::EXTENSION) return type;
  return *static_cast<const arrow::ExtensionType&>(type).storage_type();
}

}  // namespace

int32_t Murmur3(const void* data, int64_t size) {
  constexpr uint32_t kC1 = 0xcc9e2d51;
  constexpr uint32_t kC2 = 0x1b873593;
  const auto* bytes = static_cast<const uint8_t*>(data);
  const auto mix = [](uint32_t block) { return std::rotl(block * kC1, 15) * kC2; };
  uint32_t hash = 0;
  const int64_t blocks = size / 4;
  for (int64_t i = 0; i < blocks; ++i) {
    uint32_t block;
    std::memcpy(&block, bytes + 4 * i, 4);
    hash = std::rotl(hash ^ mix(block), 13) * 5 + 0xe6546b64;
  }
  uint32_t tail = 0;
  for (int64_t i = size - 1; i >= 4 * blocks; --i) tail = (tail << 8) | bytes[i];
  hash ^= mix(tail);
  hash ^= static_cast<uint32_t>(size);
  hash = (hash ^ (hash >> 16)) * 0x85ebca6b;
  hash = (hash ^ (hash >> 13)) * 0xc2b2ae35;
  return static_cast<int32_t>(hash ^ (hash >> 16));
}

Result<TypePtr> TransformType(const std::string& name, int64_t param, const arrow::DataType& source) {
  const arrow::DataType& storage = Storage(source);
  const Type::type id = storage.id();
  const bool sized = name == "bucket" || name == "truncate";
  const bool known = !sized || (param > 0 && param <= INT32_MAX);
  if (known) {
    if ((name == "identity" || name == "void") && !arrow::is_nested(id)) return source.GetSharedPtr();
    if (name == "bucket" && Buckets(id)) return arrow::int32();
    if (name == "truncate" && Truncates(id)) return source.GetSharedPtr();
    const bool time = id == Type::TIMESTAMP;
    if ((name == "year" || name == "month") && (time || id == Type::DATE32)) return arrow::int32();
    if (name == "day" && (time || id == Type::DATE32)) return arrow::date32();
    if (name == "hour" && time) return arrow::int32();
  }
  const std::string shown = sized ? name + "[" + std::to_string(param) + "]" : name;
  return Error(ErrorKind::kConfig,
               "partitioning by " + shown + ": Iceberg does not define it for " + source.ToString());
}

Result<ArrayPtr> Transform(const std::string& name, int64_t param, const ArrayPtr& source,
                           arrow::MemoryPool* pool) {
  FZ_ASSIGN(const TypePtr type, TransformType(name, param, *source->type()));
  if (name == "identity") return source;
  if (name == "void") return arrow::MakeArrayOfNull(type, source->length(), pool);
  ArrayPtr storage = source;
  if (source->type_id() == Type::EXTENSION)
    storage = static_cast<const arrow::ExtensionArray&>(*source).storage();
  if (name == "bucket") return Bucket(*storage, param, pool);
  if (name == "truncate") return Truncate(*storage, param, pool);
  return Calendar(name, *storage, pool);
}

}  // namespace frazil::iceberg
