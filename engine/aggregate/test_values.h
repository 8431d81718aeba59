#pragma once

#include <arrow/api.h>

#include <cmath>
#include <limits>
#include <random>
#include <string>

#include "base/status.h"

// Random arrays of any type that aggregates take, for tests: small domains so that values repeat, ends of the
// range, NaN, infinities, zeros of both signs, nulls.
namespace frazil {

using Random = std::mt19937_64;

inline int64_t Between(Random& random, int64_t low, int64_t high) {
  return std::uniform_int_distribution<int64_t>(low, high)(random);
}

template <typename Builder, typename Draw>
std::shared_ptr<arrow::Array> Drawn(Builder& builder, Random& random, int64_t rows, int nulls_percent,
                                    Draw draw) {
  for (int64_t i = 0; i < rows; ++i) {
    const bool null = Between(random, 0, 99) < nulls_percent;
    if (!(null ? builder.AppendNull() : builder.Append(draw())).ok()) std::abort();
  }
  return *builder.Finish();
}

template <typename T>
T DrawInteger(Random& random) {
  switch (Between(random, 0, 9)) {
    case 0:
      return std::numeric_limits<T>::max();
    case 1:
      return std::numeric_limits<T>::min();
    default:
      return static_cast<T>(Between(random, 0, 40));
  }
}

// Of a number of bits that double-doubles add exactly; rarely not finite.
inline double DrawFloat(Random& random, bool special) {
  const int64_t kind = Between(random, 0, special ? 400 : 300);
  if (kind == 301) return std::numeric_limits<double>::quiet_NaN();
  if (kind == 302) return std::numeric_limits<double>::infinity();
  if (kind == 303) return -std::numeric_limits<double>::infinity();
  if (kind > 303 && kind < 320) return -0.0;
  if (kind >= 320) return static_cast<double>(Between(random, -3, 3));
  return std::ldexp(static_cast<double>(Between(random, -(int64_t{1} << 24), int64_t{1} << 24)),
                    static_cast<int>(Between(random, -30, 10)));
}

inline std::shared_ptr<arrow::Array> RandomArray(const std::shared_ptr<arrow::DataType>& type, Random& random,
                                                 int64_t rows, int nulls_percent = 10, bool special = true);

template <typename ArrowType>
std::shared_ptr<arrow::Array> RandomIntegers(const std::shared_ptr<arrow::DataType>& type, Random& random,
                                             int64_t rows, int nulls_percent) {
  typename arrow::TypeTraits<ArrowType>::BuilderType builder(type, arrow::default_memory_pool());
  return Drawn(builder, random, rows, nulls_percent,
               [&] { return DrawInteger<typename ArrowType::c_type>(random); });
}

template <typename Builder>
std::shared_ptr<arrow::Array> RandomStrings(Builder& builder, Random& random, int64_t rows, int nulls_percent,
                                            int64_t fixed) {
  return Drawn(builder, random, rows, nulls_percent, [&] {
    const std::string text = std::to_string(Between(random, 0, 30)) + "\xC3\xA9";
    if (fixed >= 0) return (text + std::string(16, ' ')).substr(0, static_cast<size_t>(fixed));
    return Between(random, 0, 9) == 0 ? std::string() : text + std::string(text.size() * 3, '~');
  });
}

inline std::shared_ptr<arrow::Array> RandomArray(const std::shared_ptr<arrow::DataType>& type, Random& random,
                                                 int64_t rows, int nulls_percent, bool special) {
  const auto strings = [&](auto builder, int64_t fixed = -1) {
    return RandomStrings(builder, random, rows, nulls_percent, fixed);
  };
  switch (type->id()) {
    case arrow::Type::BOOL: {
      arrow::BooleanBuilder builder;
      return Drawn(builder, random, rows, nulls_percent, [&] { return Between(random, 0, 1) == 1; });
    }
#define FZ_INTEGERS(ID, TYPE) \
  case arrow::Type::ID:       \
    return RandomIntegers<arrow::TYPE>(type, random, rows, nulls_percent)
      FZ_INTEGERS(INT8, Int8Type);
      FZ_INTEGERS(INT16, Int16Type);
      FZ_INTEGERS(INT32, Int32Type);
      FZ_INTEGERS(INT64, Int64Type);
      FZ_INTEGERS(UINT8, UInt8Type);
      FZ_INTEGERS(UINT16, UInt16Type);
      FZ_INTEGERS(UINT32, UInt32Type);
      FZ_INTEGERS(UINT64, UInt64Type);
      FZ_INTEGERS(DATE32, Date32Type);
      FZ_INTEGERS(TIMESTAMP, TimestampType);
      FZ_INTEGERS(DURATION, DurationType);
#undef FZ_INTEGERS
    case arrow::Type::FLOAT: {
      arrow::FloatBuilder builder;
      return Drawn(builder, random, rows, nulls_percent,
                   [&] { return static_cast<float>(DrawFloat(random, special)); });
    }
    case arrow::Type::DOUBLE: {
      arrow::DoubleBuilder builder;
      return Drawn(builder, random, rows, nulls_percent, [&] { return DrawFloat(random, special); });
    }
    case arrow::Type::TIME64: {
      arrow::Time64Builder builder(type, arrow::default_memory_pool());
      return Drawn(builder, random, rows, nulls_percent, [&] { return Between(random, 0, 40); });
    }
    case arrow::Type::DECIMAL128: {
      arrow::Decimal128Builder builder(type);
      return Drawn(builder, random, rows, nulls_percent,
                   [&] { return arrow::Decimal128(Between(random, -100'000'000, 100'000'000)); });
    }
    case arrow::Type::STRING:
      return strings(arrow::StringBuilder());
    case arrow::Type::LARGE_STRING:
      return strings(arrow::LargeStringBuilder());
    case arrow::Type::BINARY:
      return strings(arrow::BinaryBuilder());
    case arrow::Type::LARGE_BINARY:
      return strings(arrow::LargeBinaryBuilder());
    case arrow::Type::FIXED_SIZE_BINARY:
      return strings(arrow::FixedSizeBinaryBuilder(type),
                     static_cast<const arrow::FixedSizeBinaryType&>(*type).byte_width());
    default:
      std::abort();
  }
}

}  // namespace frazil
