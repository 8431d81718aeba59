#include <arrow/builder.h>
#include <arrow/type.h>
#include <arrow/util/decimal.h>
#include <arrow/util/utf8.h>
#include <arrow/visit_type_inline.h>

#include <bit>
#include <cstring>
#include <string>
#include <vector>

#include "state/key_codec.h"
#include "state/key_value.h"

namespace frazil {
namespace {

// Reads one column of all keys and moves each key's view past it.
struct ReadColumn {
  std::vector<std::string_view>& rest;
  arrow::MemoryPool* pool;
  const std::shared_ptr<arrow::DataType>& type;
  std::shared_ptr<arrow::Array> result;

  static Status Bad(size_t key, const std::string& what) {
    return Error(ErrorKind::kState, "decoding key " + std::to_string(key) + ": " + what +
                                        "; it is damaged or was written for other key columns");
  }
  Status bad_value(size_t key) const { return Bad(key, "the value is no " + type->ToString()); }

  // append(view of `width` bytes, key) for each value.
  template <typename Builder, typename Append>
  Status fixed(Builder& builder, size_t width, Append append) {
    FZ_TRY(builder.Reserve(static_cast<int64_t>(rest.size())));
    for (size_t i = 0; i < rest.size(); ++i) {
      std::string_view& key = rest[i];
      if (key.empty()) return Bad(i, "it ends before its last column");
      const char tag = key[0];
      key.remove_prefix(1);
      if (tag == 0) {
        builder.UnsafeAppendNull();
        continue;
      }
      if (tag != 1) return Bad(i, "tag byte " + std::to_string(static_cast<unsigned char>(tag)));
      if (key.size() < width) return Bad(i, "it ends inside a value");
      FZ_TRY(append(key.substr(0, width), i));
      key.remove_prefix(width);
    }
    return builder.Finish(&result);
  }

  // append(value, key); the length before it is read and taken away here.
  template <typename Builder, typename Append>
  Status counted(Builder& builder, Append append) {
    return fixed(builder, 4, [&](std::string_view bytes, size_t i) {
      uint32_t length = 0;
      std::memcpy(&length, bytes.data(), sizeof length);
      std::string_view& key = rest[i];
      if (key.size() - 4 < length) return Bad(i, "it ends inside a value");
      FZ_TRY(append(key.substr(4, length), i));
      key.remove_prefix(length);
      return Status::OK();
    });
  }

  // convert(value, out) is false if this type has no such value.
  template <typename T, typename Value, typename Convert>
  Status numbers(Convert convert) {
    typename arrow::TypeTraits<T>::BuilderType builder(type, pool);
    return fixed(builder, sizeof(Value), [&](std::string_view bytes, size_t i) {
      Value value;
      std::memcpy(&value, bytes.data(), sizeof value);
      typename arrow::TypeTraits<T>::CType out{};
      if (!convert(value, &out)) return bad_value(i);
      builder.UnsafeAppend(out);
      return Status::OK();
    });
  }

  template <typename T>
  requires IsKeyInt<T> Status Visit(const T&) {
    using Out = typename arrow::TypeTraits<T>::CType;
    return numbers<T, int64_t>([](int64_t value, Out* out) {
      *out = static_cast<Out>(value);
      return static_cast<int64_t>(*out) == value;
    });
  }
  template <typename T>
  requires IsKeyFloat<T> Status Visit(const T&) {
    using Out = typename T::c_type;
    return numbers<T, double>([](double value, Out* out) {
      *out = static_cast<Out>(value);
      // The bits, so that a second zero or NaN is none.
      return std::bit_cast<uint64_t>(NormalFloat(static_cast<double>(*out))) ==
             std::bit_cast<uint64_t>(value);
    });
  }
  template <typename T>
  requires IsKeyTime<T> Status Visit(const T& time) {
    using Out = typename T::c_type;
    const TimeScale scale = ScaleOf(time.unit());
    return numbers<T, int64_t>([=](int64_t value, Out* out) {
      if (!IsTimeOf<T>(value) || value % scale.multiply != 0 ||
          __builtin_mul_overflow(value / scale.multiply, scale.divide, &value)) {
        return false;
      }
      *out = static_cast<Out>(value);
      return static_cast<int64_t>(*out) == value;
    });
  }
  template <typename T>
  requires IsKeyBytes<T> Status Visit(const T& bytes) {
    typename arrow::TypeTraits<T>::BuilderType builder(type, pool);
    return counted(builder, [&](std::string_view value, size_t i) -> Status {
      if constexpr (arrow::is_string_type<T>::value || std::is_same_v<T, arrow::LargeStringType>) {
        if (!arrow::util::ValidateUTF8(value)) return Bad(i, "a string is not UTF-8");
      }
      if constexpr (std::is_same_v<T, arrow::FixedSizeBinaryType>) {
        if (static_cast<int64_t>(value.size()) != bytes.byte_width()) return bad_value(i);
        return builder.Append(value.data());
      } else {
        return builder.Append(value);
      }
    });
  }
  Status Visit(const arrow::Decimal128Type& decimal) {
    arrow::Decimal128Builder builder(type, pool);
    return fixed(builder, 16, [&](std::string_view bytes, size_t i) {
      const arrow::Decimal128 value(reinterpret_cast<const uint8_t*>(bytes.data()));
      if (!value.FitsInPrecision(decimal.precision())) return bad_value(i);
      builder.UnsafeAppend(value);
      return Status::OK();
    });
  }
  Status Visit(const arrow::DataType& other) { return NoKeyType(other); }
};

}  // namespace

Result<arrow::ArrayVector> KeyCodec::decode(std::span<const std::string_view> keys,
                                            arrow::MemoryPool* pool) const {
  std::vector<std::string_view> rest(keys.begin(), keys.end());
  arrow::ArrayVector columns;
  for (const auto& type : types_) {
    ReadColumn read{rest, pool, type, nullptr};
    FZ_TRY(arrow::VisitTypeInline(*type, &read));
    columns.push_back(std::move(read.result));
  }
  for (size_t i = 0; i < rest.size(); ++i) {
    if (!rest[i].empty()) {
      return ReadColumn::Bad(i, std::to_string(rest[i].size()) + " bytes too many");
    }
  }
  return columns;
}

}  // namespace frazil
