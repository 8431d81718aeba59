#pragma once

#include <arrow/api.h>

#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"

namespace frazil {

// A type whose values aggregates keep as bytes: of a fixed width as they lie in Arrow's arrays (a bool is a
// byte), else the bytes of the string. It knows their order: NaN comes last, -0.0 is 0.0, false before true,
// strings by bytes.
class ValueType {
 public:
  // Nothing for types that are not taken: nested ones, dictionaries, views, float16, decimals of more than 38
  // digits, binaries of no bytes.
  static std::optional<ValueType> Of(std::shared_ptr<arrow::DataType> type);

  const std::shared_ptr<arrow::DataType>& type() const { return type_; }
  int32_t width() const { return width_; }  // bytes, or -1 if values have various lengths
  // -1, 0 or 1; 0 also for the zeros of both signs, and for any two NaNs.
  int compare(std::string_view a, std::string_view b) const;
  // False for bytes that are no value of the type; a damaged state may have them.
  bool valid(std::string_view bytes) const;
  bool is_float() const { return order_ == Order::kFloat || order_ == Order::kDouble; }
  bool is_integer() const { return order_ == Order::kSigned || order_ == Order::kUnsigned; }

 private:
  enum class Order { kSigned, kUnsigned, kFloat, kDouble, kDecimal, kBytes };
  ValueType(std::shared_ptr<arrow::DataType> type, int32_t width, Order order)
      : type_(std::move(type)), width_(width), order_(order) {}

  std::shared_ptr<arrow::DataType> type_;
  int32_t width_;
  Order order_;
};

// The values of an array as bytes.
class ValueReader {
 public:
  // canonical: -0.0 is given as 0.0 and every NaN as the same one. The array outlives the reader.
  ValueReader(const ValueType& type, const arrow::Array& array, bool canonical = false);
  bool is_null(int64_t row) const { return nulls_ && array_.IsNull(row); }
  // Valid until the next call.
  std::string_view operator[](int64_t row) {
    if (fixed_ != nullptr) {
      const char* value = fixed_ + row * width_;
      return canonical_ ? canonical(value) : std::string_view(value, static_cast<size_t>(width_));
    }
    return other(row);
  }

 private:
  std::string_view canonical(const char* value);
  std::string_view other(int64_t row);

  const arrow::Array& array_;
  const bool nulls_;
  const int32_t width_;
  const bool canonical_;
  const char* fixed_ = nullptr;       // width_ bytes a row
  const int32_t* offsets_ = nullptr;  // of strings
  const int64_t* large_offsets_ = nullptr;
  const char* bytes_ = nullptr;
  char scratch_[8] = {};
};

// Builds an array of values given as bytes.
class ValueBuilder {
 public:
  ValueBuilder(const ValueType& type, arrow::MemoryPool* pool);
  // Errors: more than 2 GiB of strings in one array of 32-bit offsets.
  Status append(std::string_view value);
  Status append_null();
  int64_t length() const { return valid_.length(); }
  Result<std::shared_ptr<arrow::Array>> finish();

 private:
  Status append_offset();

  const ValueType type_;
  const bool large_;  // 64-bit offsets
  arrow::BufferBuilder bytes_;
  arrow::BufferBuilder offsets_;
  arrow::TypedBufferBuilder<bool> bits_;  // of bools
  arrow::TypedBufferBuilder<bool> valid_;
};

}  // namespace frazil
