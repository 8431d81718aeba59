#pragma once

#include <arrow/api.h>
#include <arrow/type_traits.h>
#include <arrow/util/bit_util.h>
#include <arrow/util/decimal.h>

#include <type_traits>

#include "aggregate/function.h"
#include "aggregate/wide.h"

// Reading arguments and building results of values of fixed width.
namespace frazil {

template <typename State>
State& At(std::byte* acc, int32_t offset) {
  return *reinterpret_cast<State*>(acc + offset);
}

template <typename State>
const State& At(const std::byte* acc, int32_t offset) {
  return *reinterpret_cast<const State*>(acc + offset);
}

// Calls f(row) for the rows that have an accumulator and, if array is not null, a value.
template <typename F>
void ForEachRow(std::span<std::byte* const> accs, const arrow::Array* array, F f) {
  const auto rows = static_cast<int64_t>(accs.size());
  if (array == nullptr || array->null_count() == 0) {
    for (int64_t i = 0; i < rows; ++i) {
      if (accs[static_cast<size_t>(i)] != nullptr) f(i);
    }
    return;
  }
  for (int64_t i = 0; i < rows; ++i) {
    if (accs[static_cast<size_t>(i)] != nullptr && array->IsValid(i)) f(i);
  }
}

// The same where f gives a Status; stops at the first error and says at which row.
template <typename F>
Status TryEachRow(std::span<std::byte* const> accs, const arrow::Array* array, AggregateEffects* effects,
                  F f) {
  const auto rows = static_cast<int64_t>(accs.size());
  const bool all = array == nullptr || array->null_count() == 0;
  for (int64_t i = 0; i < rows; ++i) {
    if (accs[static_cast<size_t>(i)] == nullptr || !(all || array->IsValid(i))) continue;
    if (Status status = f(i); !status.ok()) [[unlikely]] {
      effects->failed = i;
      return status;
    }
  }
  return Status::OK();
}

// How the values of an array lie in memory: T one after the other, or a bit each.
template <typename T>
struct Reader {
  explicit Reader(const arrow::Array& array) : values(array.data()->GetValues<T>(1)) {}
  T operator[](int64_t row) const { return values[row]; }
  const T* values;
};

template <>
struct Reader<bool> {
  explicit Reader(const arrow::Array& array)
      : bits(array.data()->GetValues<uint8_t>(1, 0)), offset(array.offset()) {}
  bool operator[](int64_t row) const { return arrow::bit_util::GetBit(bits, offset + row); }
  const uint8_t* bits;
  int64_t offset;
};

// A tag for a type whose values lie as T.
template <typename T>
struct Lies {
  using Type = T;
};

// Calls f(Lies<T>()) for the way values of a type lie, or gives otherwise() for types of no fixed width.
// Decimals are Wide.
template <typename F, typename G>
auto DispatchFixed(const arrow::DataType& type, F f, G otherwise) -> decltype(otherwise()) {
  switch (type.id()) {
    case arrow::Type::BOOL:
      return f(Lies<bool>());
    case arrow::Type::INT8:
      return f(Lies<int8_t>());
    case arrow::Type::INT16:
      return f(Lies<int16_t>());
    case arrow::Type::INT32:
    case arrow::Type::DATE32:
    case arrow::Type::TIME32:
      return f(Lies<int32_t>());
    case arrow::Type::INT64:
    case arrow::Type::DATE64:
    case arrow::Type::TIME64:
    case arrow::Type::TIMESTAMP:
    case arrow::Type::DURATION:
      return f(Lies<int64_t>());
    case arrow::Type::UINT8:
      return f(Lies<uint8_t>());
    case arrow::Type::UINT16:
      return f(Lies<uint16_t>());
    case arrow::Type::UINT32:
      return f(Lies<uint32_t>());
    case arrow::Type::UINT64:
      return f(Lies<uint64_t>());
    case arrow::Type::FLOAT:
      return f(Lies<float>());
    case arrow::Type::DOUBLE:
      return f(Lies<double>());
    case arrow::Type::DECIMAL128:
      return f(Lies<Wide>());
    default:
      return otherwise();
  }
}

// False for what no value of the type is; a damaged state may have it.
template <typename T>
bool InRange(const arrow::DataType& type, const T& value) {
  if constexpr (std::is_same_v<T, Wide>) {
    const int32_t digits = static_cast<const arrow::Decimal128Type&>(type).precision();
    return arrow::Decimal128(value.high, value.low).FitsInPrecision(digits);
  } else if constexpr (std::is_same_v<T, int32_t> || std::is_same_v<T, int64_t>) {
    if (!arrow::is_time(type.id())) return true;
    constexpr int64_t kSecondsOfDay = 86'400;
    constexpr int64_t kPerSecond[] = {1, 1'000, 1'000'000, 1'000'000'000};
    const auto unit = static_cast<const arrow::TimeType&>(type).unit();
    return value >= 0 && value < kSecondsOfDay * kPerSecond[static_cast<size_t>(unit)];
  } else {
    return true;
  }
}

// Builds an array of a type whose values lie as T.
template <typename T>
class FixedColumn {
 public:
  FixedColumn(std::shared_ptr<arrow::DataType> type, arrow::MemoryPool* pool)
      : type_(std::move(type)), values_(pool), valid_(pool) {}
  Status reserve(int64_t rows) {
    FZ_TRY(values_.Reserve(rows));
    return valid_.Reserve(rows);
  }
  void append(T value) {
    values_.UnsafeAppend(value);
    valid_.UnsafeAppend(true);
  }
  void append_null() {
    values_.UnsafeAppend(T{});
    valid_.UnsafeAppend(false);
  }
  Result<std::shared_ptr<arrow::Array>> finish() {
    const int64_t rows = values_.length();
    const int64_t nulls = valid_.false_count();
    std::shared_ptr<arrow::Buffer> values, valid;
    FZ_TRY(values_.Finish(&values));
    FZ_TRY(valid_.Finish(&valid));
    if (nulls == 0) valid = nullptr;
    return arrow::MakeArray(arrow::ArrayData::Make(type_, rows, {valid, values}, nulls));
  }

 private:
  std::shared_ptr<arrow::DataType> type_;
  arrow::TypedBufferBuilder<T> values_;
  arrow::TypedBufferBuilder<bool> valid_;
};

}  // namespace frazil
