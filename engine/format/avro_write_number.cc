#include <arrow/array.h>
#include <arrow/util/decimal.h>

#include <algorithm>
#include <array>
#include <bit>
#include <limits>

#include "base/calendar.h"
#include "format/avro_write.h"

namespace frazil {
namespace {

using Kind = AvroType::Kind;
using Made = std::unique_ptr<AvroWrite>;
using Means = AvroMeaning::Means;

constexpr int64_t kDayMillis = 86'400'000;

// A number of one unit in another one, if it has no part that this one lacks.
struct PutTime {
  int64_t times;
  int64_t through;
  bool narrow;  // an int

  Status operator()(int64_t value, std::string* out) const {
    if (value % through != 0) [[unlikely]] {
      return Error(ErrorKind::kUser, "time " + std::to_string(value) +
                                         " has more digits than the type in the schema holds\n  round it "
                                         "before, or use a schema with a finer unit");
    }
    int64_t scaled = 0;
    const bool over = __builtin_mul_overflow(value / through, times, &scaled);
    if (over || (narrow && scaled != static_cast<int32_t>(scaled))) [[unlikely]] {
      return Error(ErrorKind::kUser,
                   "time " + std::to_string(value) + " is outside the range of the type in the schema");
    }
    AppendAvroLong(scaled, out);
    return Status::OK();
  }
};

bool IsOf(const arrow::DataType& column, Means means) {
  switch (means) {
    case Means::kDate:
      return false;  // looked at before
    case Means::kTime:
      return column.id() == arrow::Type::TIME32 || column.id() == arrow::Type::TIME64;
    case Means::kSpan:
      return column.id() == arrow::Type::DURATION;
    case Means::kInstant:
    case Means::kLocal:
    case Means::kStamp:
      break;
  }
  if (column.id() != arrow::Type::TIMESTAMP) return false;
  const bool zone = !static_cast<const arrow::TimestampType&>(column).timezone().empty();
  return means == Means::kStamp || zone == (means == Means::kInstant);
}

arrow::TimeUnit::type UnitOf(const arrow::DataType& column) {
  switch (column.id()) {
    case arrow::Type::TIMESTAMP:
      return static_cast<const arrow::TimestampType&>(column).unit();
    case arrow::Type::DURATION:
      return static_cast<const arrow::DurationType&>(column).unit();
    default:
      return static_cast<const arrow::TimeType&>(column).unit();
  }
}

// Little-endian bytes of a number in two's complement as Avro has them: big-endian, as few as hold it, or
// `fixed` of them.
Status PutUnscaled(const uint8_t* bytes, size_t width, int32_t fixed, std::string* out) {
  const uint8_t sign = (bytes[width - 1] & 0x80) != 0 ? 0xff : 0;
  size_t size = width;
  while (size > 1 && bytes[size - 1] == sign && (bytes[size - 2] & 0x80) == (sign & 0x80)) --size;
  if (fixed < 0) {
    AppendAvroLong(static_cast<int64_t>(size), out);
  } else {
    const auto room = static_cast<size_t>(fixed);
    if (size > room) {
      return Error(ErrorKind::kUser, "a decimal of " + std::to_string(size) + " bytes, and the schema has " +
                                         std::to_string(fixed));
    }
    out->append(room - size, static_cast<char>(sign));
  }
  for (size_t i = size; i-- > 0;) out->push_back(static_cast<char>(bytes[i]));
  return Status::OK();
}

static_assert(std::endian::native == std::endian::little, "decimals of Arrow are in the machine's order");

struct PutDecimal {
  int32_t more;  // digits behind the point that the schema has beyond the column's
  int32_t fixed;

  Status operator()(std::string_view bytes, std::string* out) const {
    const auto* begin = reinterpret_cast<const uint8_t*>(bytes.data());
    if (more == 0) return PutUnscaled(begin, bytes.size(), fixed, out);
    std::array<uint8_t, 32> wide;
    wide.fill((begin[bytes.size() - 1] & 0x80) != 0 ? 0xff : 0);
    std::copy(begin, begin + bytes.size(), wide.begin());
    return Scaled(arrow::Decimal256(wide.data()), out);
  }
  Status Scaled(const arrow::Decimal256& value, std::string* out) const {
    const arrow::Decimal256 scaled = more == 0 ? value : arrow::Decimal256(value.IncreaseScaleBy(more));
    const auto bytes = scaled.ToBytes();
    return PutUnscaled(bytes.data(), bytes.size(), fixed, out);
  }
};

template <typename ArrayType>
Made WholeDecimal(PutDecimal put) {
  return AvroScalar<ArrayType>(
      [put](auto value, std::string* out) { return put.Scaled(arrow::Decimal256(value), out); });
}

// Decimal digits that hold all values of a type of whole numbers; 0 for others.
int32_t DigitsOf(arrow::Type::type id) {
  switch (id) {
    case arrow::Type::INT8:
    case arrow::Type::UINT8:
      return 3;
    case arrow::Type::INT16:
    case arrow::Type::UINT16:
      return 5;
    case arrow::Type::INT32:
    case arrow::Type::UINT32:
      return 10;
    case arrow::Type::INT64:
      return 19;
    case arrow::Type::UINT64:
      return 20;
    default:
      return 0;
  }
}

Made MakeWholeDecimal(arrow::Type::type id, PutDecimal put) {
  switch (id) {
    case arrow::Type::INT8:
      return WholeDecimal<arrow::Int8Array>(put);
    case arrow::Type::UINT8:
      return WholeDecimal<arrow::UInt8Array>(put);
    case arrow::Type::INT16:
      return WholeDecimal<arrow::Int16Array>(put);
    case arrow::Type::UINT16:
      return WholeDecimal<arrow::UInt16Array>(put);
    case arrow::Type::INT32:
      return WholeDecimal<arrow::Int32Array>(put);
    case arrow::Type::UINT32:
      return WholeDecimal<arrow::UInt32Array>(put);
    case arrow::Type::INT64:
      return WholeDecimal<arrow::Int64Array>(put);
    default:
      return WholeDecimal<arrow::UInt64Array>(put);
  }
}

}  // namespace

Result<std::unique_ptr<AvroWrite>> MakeAvroTimeWrite(const AvroType& type, const AvroMeaning& meaning,
                                                     const arrow::DataType& column) {
  PutTime put{1, 1, type.kind == Kind::kInt};
  if (meaning.means == Means::kDate) {
    if (column.id() == arrow::Type::DATE32) {
      return AvroScalar<arrow::Date32Array>([put](int32_t day, std::string* out) { return put(day, out); });
    }
    if (column.id() != arrow::Type::DATE64) return nullptr;
    return AvroScalar<arrow::Date64Array>(
        [put](int64_t ms, std::string* out) { return put(FloorDivide(ms, kDayMillis), out); });
  }
  if (!IsOf(column, meaning.means)) return nullptr;
  const int64_t have = PerSecond(UnitOf(column)), want = PerSecond(meaning.unit);
  (have > want ? put.through : put.times) = have > want ? have / want : want / have;
  switch (column.id()) {
    case arrow::Type::TIME32:
      return AvroScalar<arrow::Time32Array>([put](int32_t time, std::string* out) { return put(time, out); });
    case arrow::Type::TIME64:
      return AvroScalar<arrow::Time64Array>(put);
    case arrow::Type::TIMESTAMP:
      return AvroScalar<arrow::TimestampArray>(put);
    default:
      return AvroScalar<arrow::DurationArray>(put);
  }
}

Result<std::unique_ptr<AvroWrite>> MakeAvroDecimalWrite(const AvroType& type, const arrow::DataType& column) {
  const auto id = column.id();
  const bool decimal = arrow::is_decimal(id);
  int32_t digits = DigitsOf(id), scale = 0;
  if (decimal) {
    digits = static_cast<const arrow::DecimalType&>(column).precision();
    scale = static_cast<const arrow::DecimalType&>(column).scale();
  }
  const PutDecimal put{type.scale - scale, type.kind == Kind::kFixed ? type.size : -1};
  const bool fits = digits > 0 && put.more >= 0 && type.precision - type.scale >= digits - scale;
  // What is scaled has to be within the digits that 256 bits have.
  if (!fits || (put.more > 0 && digits + put.more > arrow::Decimal256Type::kMaxPrecision)) return nullptr;
  switch (id) {
    case arrow::Type::DECIMAL32:
      return AvroScalar<arrow::Decimal32Array>(put);
    case arrow::Type::DECIMAL64:
      return AvroScalar<arrow::Decimal64Array>(put);
    case arrow::Type::DECIMAL128:
      return AvroScalar<arrow::Decimal128Array>(put);
    case arrow::Type::DECIMAL256:
      return AvroScalar<arrow::Decimal256Array>(put);
    default:
      return MakeWholeDecimal(id, put);
  }
}

}  // namespace frazil
