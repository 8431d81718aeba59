#include "operator/ordered/sort_key.h"

#include <arrow/api.h>

#include <bit>
#include <cmath>
#include <string_view>
#include <type_traits>

namespace frazil {
namespace {

constexpr char kValue = 0, kNaN = 1, kNull = 2;

template <typename T>
void AppendUnsigned(T value, bool descending, std::string* bytes) {
  if (descending) value = static_cast<T>(~value);
  for (int shift = static_cast<int>(sizeof(T)) * 8 - 8; shift >= 0; shift -= 8) {
    bytes->push_back(static_cast<char>(value >> shift & 0xff));
  }
}

template <typename T>
void AppendSigned(T value, bool descending, std::string* bytes) {
  using Bits = std::make_unsigned_t<T>;
  const auto sign = static_cast<Bits>(Bits{1} << (sizeof(T) * 8 - 1));
  AppendUnsigned<Bits>(static_cast<Bits>(static_cast<Bits>(value) ^ sign), descending, bytes);
}

template <typename T, typename Bits>
void AppendFloat(T value, bool descending, std::string* bytes) {
  if (std::isnan(value)) {
    bytes->back() = kNaN;
    return;
  }
  const auto bits = std::bit_cast<Bits>(value == 0 ? T{0} : value);
  const auto sign = static_cast<Bits>(Bits{1} << (sizeof(T) * 8 - 1));
  AppendUnsigned<Bits>((bits & sign) != 0 ? static_cast<Bits>(~bits) : static_cast<Bits>(bits | sign),
                       descending, bytes);
}

// Zero bytes are followed by a one, and two zeros are the end.
void AppendText(std::string_view value, bool descending, std::string* bytes) {
  const auto from = bytes->size();
  for (const char byte : value) {
    bytes->push_back(byte);
    if (byte == 0) bytes->push_back(1);
  }
  bytes->append(2, 0);
  if (!descending) return;
  for (size_t i = from; i < bytes->size(); ++i) (*bytes)[i] = static_cast<char>(~(*bytes)[i]);
}

template <typename Array>
auto At(const arrow::Array& values, int64_t row) {
  return static_cast<const Array&>(values).GetView(row);
}

}  // namespace

bool Sortable(const arrow::DataType& type) {
  using arrow::Type;
  switch (type.id()) {
    case Type::BOOL:
    case Type::DECIMAL128:
    case Type::FLOAT:
    case Type::DOUBLE:
    case Type::STRING:
    case Type::BINARY:
    case Type::LARGE_STRING:
    case Type::LARGE_BINARY:
    case Type::DATE32:
    case Type::DATE64:
    case Type::TIME32:
    case Type::TIME64:
    case Type::TIMESTAMP:
    case Type::DURATION:
      return true;
    default:
      return arrow::is_integer(type.id());
  }
}

void AppendSortKey(const arrow::Array& values, int64_t row, bool descending, std::string* bytes) {
  using arrow::Type;
  bytes->push_back(values.IsNull(row) ? kNull : kValue);
  if (values.IsNull(row)) return;
  switch (values.type_id()) {
    case Type::BOOL:
      return AppendUnsigned<uint8_t>(At<arrow::BooleanArray>(values, row) ? 1 : 0, descending, bytes);
    case Type::INT8:
      return AppendSigned(At<arrow::Int8Array>(values, row), descending, bytes);
    case Type::INT16:
      return AppendSigned(At<arrow::Int16Array>(values, row), descending, bytes);
    case Type::INT32:
    case Type::DATE32:
    case Type::TIME32:
      return AppendSigned(values.data()->GetValues<int32_t>(1)[row], descending, bytes);
    case Type::UINT8:
      return AppendUnsigned(At<arrow::UInt8Array>(values, row), descending, bytes);
    case Type::UINT16:
      return AppendUnsigned(At<arrow::UInt16Array>(values, row), descending, bytes);
    case Type::UINT32:
      return AppendUnsigned(At<arrow::UInt32Array>(values, row), descending, bytes);
    case Type::UINT64:
      return AppendUnsigned(At<arrow::UInt64Array>(values, row), descending, bytes);
    case Type::FLOAT:
      return AppendFloat<float, uint32_t>(At<arrow::FloatArray>(values, row), descending, bytes);
    case Type::DOUBLE:
      return AppendFloat<double, uint64_t>(At<arrow::DoubleArray>(values, row), descending, bytes);
    case Type::DECIMAL128: {
      const arrow::Decimal128 value(static_cast<const arrow::Decimal128Array&>(values).GetValue(row));
      AppendSigned(value.high_bits(), descending, bytes);
      return AppendUnsigned(value.low_bits(), descending, bytes);
    }
    case Type::STRING:
    case Type::BINARY:
      return AppendText(At<arrow::BinaryArray>(values, row), descending, bytes);
    case Type::LARGE_STRING:
    case Type::LARGE_BINARY:
      return AppendText(At<arrow::LargeBinaryArray>(values, row), descending, bytes);
    default:  // 64 bits of time
      return AppendSigned(values.data()->GetValues<int64_t>(1)[row], descending, bytes);
  }
}

}  // namespace frazil
