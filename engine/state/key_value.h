#pragma once

#include <arrow/type.h>
#include <arrow/type_traits.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "base/status.h"

namespace frazil {

// The families of types a key may have, for the writing (key_codec.cc) and the reading (key_decode.cc) of
// keys.
template <typename T>
concept IsKeyInt = arrow::is_boolean_type<T>::value || arrow::is_integer_type<T>::value ||
    std::is_same_v<T, arrow::Date32Type>;
template <typename T>
concept IsKeyFloat = std::is_same_v<T, arrow::FloatType> || std::is_same_v<T, arrow::DoubleType>;
template <typename T>
concept IsKeyTime =
    arrow::is_timestamp_type<T>::value || arrow::is_time_type<T>::value || arrow::is_duration_type<T>::value;
template <typename T>
concept IsKeyBytes = arrow::is_base_binary_type<T>::value || std::is_same_v<T, arrow::FixedSizeBinaryType>;

constexpr bool IsKeyType(arrow::Type::type id) {
  switch (id) {
    case arrow::Type::BOOL:
    case arrow::Type::INT8:
    case arrow::Type::INT16:
    case arrow::Type::INT32:
    case arrow::Type::INT64:
    case arrow::Type::UINT8:
    case arrow::Type::UINT16:
    case arrow::Type::UINT32:
    case arrow::Type::UINT64:
    case arrow::Type::FLOAT:
    case arrow::Type::DOUBLE:
    case arrow::Type::DATE32:
    case arrow::Type::TIMESTAMP:
    case arrow::Type::TIME32:
    case arrow::Type::TIME64:
    case arrow::Type::DURATION:
    case arrow::Type::STRING:
    case arrow::Type::BINARY:
    case arrow::Type::LARGE_STRING:
    case arrow::Type::LARGE_BINARY:
    case arrow::Type::FIXED_SIZE_BINARY:
    case arrow::Type::DECIMAL128:
      return true;
    default:
      return false;
  }
}
inline bool IsKeyType(const arrow::DataType& type) { return IsKeyType(type.id()); }

// The error about a column that cannot be a key.
Status NoKeyType(const arrow::DataType& type);

// How a time of a unit becomes microseconds: value / divide * multiply.
struct TimeScale {
  int64_t multiply = 1;
  int64_t divide = 1;
};
constexpr TimeScale ScaleOf(arrow::TimeUnit::type unit) {
  switch (unit) {
    case arrow::TimeUnit::SECOND:
      return {1'000'000, 1};
    case arrow::TimeUnit::MILLI:
      return {1'000, 1};
    case arrow::TimeUnit::MICRO:
      return {};
    case arrow::TimeUnit::NANO:
      return {1, 1'000};
  }
  return {};
}

// True if a type has this time. Arrow calls arrays with times of day beyond the day invalid.
template <typename T>
bool IsTimeOf(int64_t us) {
  return !arrow::is_time_type<T>::value || (us >= 0 && us < 86'400'000'000);
}

// One zero and one NaN.
inline double NormalFloat(double value) {
  if (value == 0) return 0;
  return std::isnan(value) ? std::numeric_limits<double>::quiet_NaN() : value;
}

}  // namespace frazil
