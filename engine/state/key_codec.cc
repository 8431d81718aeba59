#include "state/key_codec.h"

#include <arrow/scalar.h>
#include <arrow/type.h>
#include <arrow/visit_array_inline.h>
#include <arrow/visit_type_inline.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include "base/check.h"
#include "state/key_value.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace frazil {
namespace {

static_assert(std::endian::native == std::endian::little, "keys are written as they lie in memory");

constexpr uint64_t kKeyBytesMax = std::numeric_limits<uint32_t>::max();

// Adds the length of a column's part of each key.
struct Measure {
  uint32_t* lengths;
  uint64_t* total;  // an upper bound that cannot wrap, unlike the lengths

  template <typename Length>
  Status each(const arrow::Array& array, Length length) {
    const int64_t rows = array.length();
    if (array.null_count() == 0) {
      for (int64_t i = 0; i < rows; ++i) lengths[i] += static_cast<uint32_t>(1 + length(i));
    } else {
      for (int64_t i = 0; i < rows; ++i) {
        lengths[i] += array.IsNull(i) ? 1 : static_cast<uint32_t>(1 + length(i));
      }
    }
    return Status::OK();
  }

  template <typename ArrayType>
  requires IsKeyBytes<typename ArrayType::TypeClass> Status Visit(const ArrayType& array) {
    if constexpr (std::is_same_v<typename ArrayType::TypeClass, arrow::FixedSizeBinaryType>) {
      *total += static_cast<uint64_t>(array.length()) * static_cast<uint64_t>(5 + array.byte_width());
      return each(array, [&](int64_t) { return 4 + array.byte_width(); });
    } else {
      *total +=
          static_cast<uint64_t>(array.length()) * 5 + static_cast<uint64_t>(array.total_values_length());
      return each(array, [&](int64_t i) { return 4 + array.value_length(i); });
    }
  }
  Status Visit(const arrow::Array& array) {
    const uint64_t width = array.type_id() == arrow::Type::DECIMAL128 ? 16 : 8;
    *total += static_cast<uint64_t>(array.length()) * (1 + width);
    return each(array, [=](int64_t) { return width; });
  }
};

// Writes a column's part of each key at its end so far.
struct Write {
  uint8_t* bytes;
  uint32_t* ends;
  int64_t bad = -1;  // first row whose value cannot be written

  // put(at, i) writes value i and returns its length, or 0 if it cannot be written.
  template <typename Put>
  Status each(const arrow::Array& array, Put put) {
    const bool nulls = array.null_count() != 0;
    for (int64_t i = 0; i < array.length(); ++i) {
      uint8_t* at = bytes + ends[i];
      if (nulls && array.IsNull(i)) {
        *at = 0;
        ends[i] += 1;
        continue;
      }
      *at = 1;
      const uint32_t length = put(at + 1, i);
      if (length == 0) [[unlikely]] {
        bad = i;
        return Status::OK();
      }
      ends[i] += 1 + length;
    }
    return Status::OK();
  }

  template <typename T>
  static uint32_t Fixed(uint8_t* at, T value) {
    std::memcpy(at, &value, sizeof value);
    return sizeof value;
  }

  template <typename ArrayType>
  requires IsKeyBytes<typename ArrayType::TypeClass> Status Visit(const ArrayType& array) {
    return each(array, [&](uint8_t* at, int64_t i) {
      const std::string_view value = array.GetView(i);
      const auto length = static_cast<uint32_t>(value.size());
      std::memcpy(at, &length, sizeof length);
      std::memcpy(at + sizeof length, value.data(), length);
      return static_cast<uint32_t>(sizeof length) + length;
    });
  }
  template <typename ArrayType>
  requires IsKeyInt<typename ArrayType::TypeClass> Status Visit(const ArrayType& array) {
    return each(array,
                [&](uint8_t* at, int64_t i) { return Fixed(at, static_cast<int64_t>(array.Value(i))); });
  }
  template <typename ArrayType>
  requires IsKeyFloat<typename ArrayType::TypeClass> Status Visit(const ArrayType& array) {
    return each(array, [&](uint8_t* at, int64_t i) {
      return Fixed(at, NormalFloat(static_cast<double>(array.Value(i))));
    });
  }
  template <typename ArrayType>
  requires IsKeyTime<typename ArrayType::TypeClass> Status Visit(const ArrayType& array) {
    using Type = typename ArrayType::TypeClass;
    const TimeScale scale = ScaleOf(static_cast<const Type&>(*array.type()).unit());
    if (scale.multiply == 1 && scale.divide == 1) {
      return each(array, [&](uint8_t* at, int64_t i) -> uint32_t {
        const int64_t us = array.Value(i);
        return IsTimeOf<Type>(us) ? Fixed(at, us) : 0;
      });
    }
    return each(array, [&](uint8_t* at, int64_t i) -> uint32_t {
      int64_t us = array.Value(i);
      if (us % scale.divide != 0 || __builtin_mul_overflow(us / scale.divide, scale.multiply, &us)) return 0;
      return IsTimeOf<Type>(us) ? Fixed(at, us) : 0;
    });
  }
  Status Visit(const arrow::Decimal128Array& array) {
    return each(array, [&](uint8_t* at, int64_t i) {
      std::memcpy(at, array.GetValue(i), 16);
      return 16u;
    });
  }
  Status Visit(const arrow::Array& array) { return NoKeyType(*array.type()); }
};

Status BadTime(const arrow::Array& column, size_t number, int64_t row) {
  std::string value = "a value";
  if (auto scalar = column.GetScalar(row); scalar.ok()) value = (*scalar)->ToString();
  return Error(ErrorKind::kUser, "encoding a key: key column " + std::to_string(number + 1) + ": " + value +
                                     " (" + column.type()->ToString() +
                                     ") cannot be part of a key, which has whole microseconds in 64 bits and "
                                     "times within a day; round the column or cast it to microseconds first");
}

}  // namespace

uint64_t HashKey(std::string_view key) { return XXH3_64bits(key.data(), key.size()); }

Status NoKeyType(const arrow::DataType& type) {
  return Error(ErrorKind::kUser, "hashing a key: a column of type " + type.ToString() +
                                     " cannot be a key; cast it to a string or a number");
}

Status EncodedKeys::resize_rows(int64_t rows) {
  if (offsets_ == nullptr) {
    FZ_ASSIGN(offsets_, arrow::AllocateResizableBuffer(0, pool_));
    FZ_ASSIGN(bytes_, arrow::AllocateResizableBuffer(0, pool_));
    FZ_ASSIGN(hashes_, arrow::AllocateResizableBuffer(0, pool_));
  }
  rows_ = 0;
  FZ_TRY(offsets_->Resize((rows + 1) * static_cast<int64_t>(sizeof(uint32_t)), false));
  FZ_TRY(hashes_->Resize(rows * static_cast<int64_t>(sizeof(uint64_t)), false));
  offset_ = reinterpret_cast<uint32_t*>(offsets_->mutable_data());
  hash_ = reinterpret_cast<uint64_t*>(hashes_->mutable_data());
  return Status::OK();
}

Status EncodedKeys::resize_bytes(uint64_t bytes) {
  if (bytes > kKeyBytesMax) {
    return Error(ErrorKind::kUser, "encoding the keys of a batch: " + std::to_string(bytes) +
                                       " bytes, at most 4 GiB are possible; use shorter keys");
  }
  FZ_TRY(bytes_->Resize(static_cast<int64_t>(bytes), false));
  starts_ = reinterpret_cast<const char*>(bytes_->data());
  return Status::OK();
}

void EncodedKeys::finish(int64_t rows, const uint64_t* hashes) {
  rows_ = rows;
  if (hashes != nullptr) {
    std::memcpy(hash_, hashes, static_cast<size_t>(rows) * sizeof(uint64_t));
    return;
  }
  for (int64_t i = 0; i < rows; ++i) {
    hash_[i] = XXH3_64bits(starts_ + offset_[i], offset_[i + 1] - offset_[i]);
  }
}

Status EncodedKeys::assign(std::span<const std::string_view> keys) {
  FZ_TRY(resize_rows(static_cast<int64_t>(keys.size())));
  uint64_t total = 0;
  for (const auto& key : keys) total += key.size();
  FZ_TRY(resize_bytes(total));
  offset_[0] = 0;
  for (size_t i = 0; i < keys.size(); ++i) {
    if (!keys[i].empty()) std::memcpy(bytes_->mutable_data() + offset_[i], keys[i].data(), keys[i].size());
    offset_[i + 1] = offset_[i] + static_cast<uint32_t>(keys[i].size());
  }
  finish(static_cast<int64_t>(keys.size()), nullptr);
  return Status::OK();
}

Result<KeyCodec> KeyCodec::Make(arrow::DataTypeVector types) {
  for (const auto& type : types) {
    if (!IsKeyType(*type)) return NoKeyType(*type);
  }
  return KeyCodec(std::move(types));
}

Status KeyCodec::encode(const arrow::ArrayVector& columns, int64_t rows, EncodedKeys* keys,
                        std::span<const uint64_t> hashes) const {
  FZ_CHECK(columns.size() == types_.size());
  FZ_CHECK(hashes.empty() || hashes.size() == static_cast<size_t>(rows));
  for (size_t i = 0; i < columns.size(); ++i) {
    FZ_CHECK(columns[i]->length() == rows);
    FZ_CHECK(columns[i]->type() == types_[i] || columns[i]->type()->Equals(*types_[i]));
  }
  FZ_TRY(keys->resize_rows(rows));
  uint32_t* lengths = keys->offset_ + 1;
  std::memset(lengths - 1, 0, static_cast<size_t>(rows + 1) * sizeof(uint32_t));
  uint64_t most = 0;
  Measure measure{lengths, &most};
  for (const auto& column : columns) FZ_TRY(arrow::VisitArrayInline(*column, &measure));
  FZ_TRY(keys->resize_bytes(most));
  uint32_t start = 0;  // lengths become starts, and the writing moves them to the ends
  for (int64_t i = 0; i < rows; ++i) {
    const uint32_t length = lengths[i];
    lengths[i] = start;
    start += length;
  }
  Write write{keys->bytes_->mutable_data(), lengths};
  for (size_t i = 0; i < columns.size(); ++i) {
    FZ_TRY(arrow::VisitArrayInline(*columns[i], &write));
    if (write.bad >= 0) return BadTime(*columns[i], i, write.bad);
  }
  keys->finish(rows, hashes.empty() ? nullptr : hashes.data());
  return Status::OK();
}

}  // namespace frazil
