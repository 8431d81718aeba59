#include "aggregate/value.h"

#include <arrow/type_traits.h>
#include <arrow/util/bit_util.h>
#include <arrow/util/utf8.h>

#include <cstring>

#include "aggregate/column.h"
#include "aggregate/value_order.h"
#include "expr/types.h"

namespace frazil {
namespace {

template <typename T>
T Load(std::string_view bytes) {
  T value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

template <typename T>
int Compared(const T& a, const T& b) {
  return Before(a, b) ? -1 : Before(b, a) ? 1 : 0;
}

template <typename T>
int ComparedAs(std::string_view a, std::string_view b) {
  return Compared(Load<T>(a), Load<T>(b));
}

bool IsLarge(const arrow::DataType& type) {
  return type.id() == arrow::Type::LARGE_STRING || type.id() == arrow::Type::LARGE_BINARY;
}

}  // namespace

std::optional<ValueType> ValueType::Of(std::shared_ptr<arrow::DataType> type) {
  const auto bytes = [&](int32_t width) { return ValueType(type, width, Order::kBytes); };
  switch (type->id()) {
    case arrow::Type::STRING:
    case arrow::Type::LARGE_STRING:
    case arrow::Type::BINARY:
    case arrow::Type::LARGE_BINARY:
      return bytes(-1);
    case arrow::Type::FIXED_SIZE_BINARY:
      if (static_cast<const arrow::FixedSizeBinaryType&>(*type).byte_width() == 0) return std::nullopt;
      return bytes(static_cast<const arrow::FixedSizeBinaryType&>(*type).byte_width());
    default:
      break;
  }
  return DispatchFixed(
      *type,
      [&]<typename T>(Lies<T>) -> std::optional<ValueType> {
        Order order = std::is_signed_v<T> ? Order::kSigned : Order::kUnsigned;
        if constexpr (std::is_same_v<T, float>) order = Order::kFloat;
        if constexpr (std::is_same_v<T, double>) order = Order::kDouble;
        if constexpr (std::is_same_v<T, Wide>) order = Order::kDecimal;
        return ValueType(type, sizeof(T), order);
      },
      []() -> std::optional<ValueType> { return std::nullopt; });
}

int ValueType::compare(std::string_view a, std::string_view b) const {
  switch (order_) {
    case Order::kSigned:
      if (width_ == 8) return ComparedAs<int64_t>(a, b);
      if (width_ == 4) return ComparedAs<int32_t>(a, b);
      return width_ == 2 ? ComparedAs<int16_t>(a, b) : ComparedAs<int8_t>(a, b);
    case Order::kUnsigned:
      if (width_ == 8) return ComparedAs<uint64_t>(a, b);
      if (width_ == 4) return ComparedAs<uint32_t>(a, b);
      return width_ == 2 ? ComparedAs<uint16_t>(a, b) : ComparedAs<uint8_t>(a, b);
    case Order::kFloat:
      return ComparedAs<float>(a, b);
    case Order::kDouble:
      return ComparedAs<double>(a, b);
    case Order::kDecimal:
      return ComparedAs<Wide>(a, b);
    case Order::kBytes:
      break;
  }
  const int order = a.compare(b);
  return order < 0 ? -1 : order > 0 ? 1 : 0;
}

bool ValueType::valid(std::string_view bytes) const {
  if (width_ >= 0 && bytes.size() != static_cast<size_t>(width_)) return false;
  if (type_->id() == arrow::Type::BOOL) return static_cast<uint8_t>(bytes[0]) <= 1;
  if (type_->id() == arrow::Type::DECIMAL128) return InRange(*type_, Load<Wide>(bytes));
  if (arrow::is_time(type_->id())) {
    return width_ == 4 ? InRange(*type_, Load<int32_t>(bytes)) : InRange(*type_, Load<int64_t>(bytes));
  }
  if (!expr::IsString(*type_)) return true;
  return arrow::util::ValidateUTF8(reinterpret_cast<const uint8_t*>(bytes.data()),
                                   static_cast<int64_t>(bytes.size()));
}

ValueReader::ValueReader(const ValueType& type, const arrow::Array& array, bool canonical)
    : array_(array),
      nulls_(array.null_count() != 0),
      width_(type.width()),
      canonical_(canonical && type.is_float()) {
  const arrow::ArrayData& data = *array.data();
  if (array.type_id() == arrow::Type::BOOL) return;
  if (width_ >= 0) {
    fixed_ = data.GetValues<char>(1, data.offset * width_);
    // An array of no rows may have no buffer.
    if (fixed_ == nullptr) fixed_ = scratch_;
    return;
  }
  if (IsLarge(*type.type())) {
    large_offsets_ = data.GetValues<int64_t>(1);
  } else {
    offsets_ = data.GetValues<int32_t>(1);
  }
  bytes_ = data.GetValues<char>(2, 0);
}

std::string_view ValueReader::canonical(const char* value) {
  if (width_ == 4) {
    const auto plain = Canonical<float>(Load<float>({value, 4}));
    std::memcpy(scratch_, &plain, sizeof plain);
  } else {
    const auto plain = Canonical<double>(Load<double>({value, 8}));
    std::memcpy(scratch_, &plain, sizeof plain);
  }
  return {scratch_, static_cast<size_t>(width_)};
}

std::string_view ValueReader::other(int64_t row) {
  const auto view = [&](int64_t from, int64_t to) {
    return from == to ? std::string_view() : std::string_view(bytes_ + from, static_cast<size_t>(to - from));
  };
  if (offsets_ != nullptr) return view(offsets_[row], offsets_[row + 1]);
  if (large_offsets_ != nullptr) return view(large_offsets_[row], large_offsets_[row + 1]);
  scratch_[0] = static_cast<const arrow::BooleanArray&>(array_).Value(row) ? 1 : 0;
  return {scratch_, 1};
}

ValueBuilder::ValueBuilder(const ValueType& type, arrow::MemoryPool* pool)
    : type_(type), large_(IsLarge(*type.type())), bytes_(pool), offsets_(pool), bits_(pool), valid_(pool) {}

Status ValueBuilder::append_offset() {
  if (large_) {
    const int64_t offset = bytes_.length();
    return offsets_.Append(&offset, sizeof offset);
  }
  if (bytes_.length() > INT32_MAX) {
    return Error(ErrorKind::kState,
                 "building a column of " + expr::TypeName(*type_.type()) +
                     ": its values have more than 2 GiB; cast the argument to a large type");
  }
  const auto offset = static_cast<int32_t>(bytes_.length());
  return offsets_.Append(&offset, sizeof offset);
}

Status ValueBuilder::append(std::string_view value) {
  FZ_TRY(valid_.Append(true));
  if (type_.type()->id() == arrow::Type::BOOL) return bits_.Append(value[0] != 0);
  if (type_.width() < 0) FZ_TRY(append_offset());
  return value.empty() ? Status::OK() : bytes_.Append(value.data(), static_cast<int64_t>(value.size()));
}

Status ValueBuilder::append_null() {
  FZ_TRY(valid_.Append(false));
  if (type_.type()->id() == arrow::Type::BOOL) return bits_.Append(false);
  if (type_.width() < 0) return append_offset();
  return bytes_.Append(type_.width(), '\0');
}

Result<std::shared_ptr<arrow::Array>> ValueBuilder::finish() {
  const int64_t rows = valid_.length();
  const int64_t nulls = valid_.false_count();
  std::shared_ptr<arrow::Buffer> valid, offsets, bytes;
  if (type_.width() < 0) FZ_TRY(append_offset());
  FZ_TRY(valid_.Finish(&valid));
  FZ_TRY(offsets_.Finish(&offsets));
  FZ_TRY(type_.type()->id() == arrow::Type::BOOL ? bits_.Finish(&bytes) : bytes_.Finish(&bytes));
  if (nulls == 0) valid = nullptr;
  std::vector<std::shared_ptr<arrow::Buffer>> buffers = {valid, bytes};
  if (type_.width() < 0) buffers = {valid, offsets, bytes};
  return arrow::MakeArray(arrow::ArrayData::Make(type_.type(), rows, std::move(buffers), nulls));
}

}  // namespace frazil
