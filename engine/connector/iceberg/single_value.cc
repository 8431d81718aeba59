#include "connector/iceberg/single_value.h"

#include <arrow/extension_type.h>
#include <arrow/util/decimal.h>

#include <array>
#include <bit>
#include <cstring>

namespace frazil::iceberg {
namespace {

static_assert(std::endian::native == std::endian::little, "single values are written from native integers");

template <typename T>
std::string Native(T value) {
  std::string out(sizeof(T), '\0');
  std::memcpy(out.data(), &value, sizeof(T));
  return out;
}

template <typename ScalarType>
auto Value(const arrow::Scalar& scalar) {
  return static_cast<const ScalarType&>(scalar).value;
}

// Start of the code point that ends before `end`.
size_t PointStart(std::string_view text, size_t end) {
  size_t at = end - 1;
  while (at > 0 && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80) --at;
  return at;
}

uint32_t ReadPoint(std::string_view bytes) {
  const auto lead = static_cast<uint8_t>(bytes[0]);
  if (bytes.size() == 1) return lead;
  uint32_t point = lead & (0xFFu >> (bytes.size() + 1));
  for (size_t i = 1; i < bytes.size(); ++i) point = (point << 6) | (static_cast<uint8_t>(bytes[i]) & 0x3F);
  return point;
}

void AppendPoint(uint32_t point, std::string* out) {
  const auto tail = [&](int shift) { out->push_back(static_cast<char>(0x80 | ((point >> shift) & 0x3F))); };
  if (point < 0x80) {
    out->push_back(static_cast<char>(point));
  } else if (point < 0x800) {
    out->push_back(static_cast<char>(0xC0 | (point >> 6)));
    tail(0);
  } else if (point < 0x10000) {
    out->push_back(static_cast<char>(0xE0 | (point >> 12)));
    tail(6);
    tail(0);
  } else {
    out->push_back(static_cast<char>(0xF0 | (point >> 18)));
    tail(12);
    tail(6);
    tail(0);
  }
}

}  // namespace

std::string DecimalBytes(std::string_view big_endian) {
  size_t skip = 0;
  while (skip + 1 < big_endian.size()) {
    const auto head = static_cast<uint8_t>(big_endian[skip]);
    const bool next_negative = (static_cast<uint8_t>(big_endian[skip + 1]) & 0x80) != 0;
    if (!(head == 0x00 && !next_negative) && !(head == 0xFF && next_negative)) break;
    ++skip;
  }
  return std::string(big_endian.substr(skip));
}

std::string DecimalBytes(int64_t unscaled) {
  std::array<char, 8> bytes;
  for (int i = 0; i < 8; ++i) {
    bytes[static_cast<size_t>(i)] = static_cast<char>(static_cast<uint64_t>(unscaled) >> (8 * (7 - i)));
  }
  return DecimalBytes(std::string_view(bytes.data(), bytes.size()));
}

Result<std::string> SingleValue(const arrow::Scalar& scalar) {
  switch (scalar.type->id()) {
    case arrow::Type::BOOL:
      return std::string(1, Value<arrow::BooleanScalar>(scalar) ? '\1' : '\0');
    case arrow::Type::INT32:
      return Native(Value<arrow::Int32Scalar>(scalar));
    case arrow::Type::INT64:
      return Native(Value<arrow::Int64Scalar>(scalar));
    case arrow::Type::FLOAT:
      return Native(Value<arrow::FloatScalar>(scalar));
    case arrow::Type::DOUBLE:
      return Native(Value<arrow::DoubleScalar>(scalar));
    case arrow::Type::DATE32:
      return Native(Value<arrow::Date32Scalar>(scalar));
    case arrow::Type::TIME64:
      return Native(Value<arrow::Time64Scalar>(scalar));
    case arrow::Type::TIMESTAMP:
      return Native(Value<arrow::TimestampScalar>(scalar));
    case arrow::Type::STRING:
    case arrow::Type::BINARY:
    case arrow::Type::LARGE_STRING:
    case arrow::Type::LARGE_BINARY:
    case arrow::Type::FIXED_SIZE_BINARY:
      return static_cast<const arrow::BaseBinaryScalar&>(scalar).value->ToString();
    case arrow::Type::DECIMAL128: {
      const auto little = Value<arrow::Decimal128Scalar>(scalar).ToBytes();
      return DecimalBytes(std::string(little.rbegin(), little.rend()));
    }
    case arrow::Type::EXTENSION:
      return SingleValue(*static_cast<const arrow::ExtensionScalar&>(scalar).value);
    default:
      return Error(ErrorKind::kUser, "serializing a value of type " + scalar.type->ToString() +
                                         ": Iceberg has no such primitive");
  }
}

std::string_view TruncateText(std::string_view text, int64_t width) {
  int64_t points = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if ((static_cast<uint8_t>(text[i]) & 0xC0) == 0x80) continue;
    if (points == width) return text.substr(0, i);
    ++points;
  }
  return text;
}

std::optional<std::string> TruncateTextUp(std::string_view text, int64_t width) {
  std::string_view kept = TruncateText(text, width);
  if (kept.size() == text.size()) return std::string(text);
  while (!kept.empty()) {
    const size_t start = PointStart(kept, kept.size());
    uint32_t point = ReadPoint(kept.substr(start)) + 1;
    if (point >= 0xD800 && point <= 0xDFFF) point = 0xE000;  // surrogates are no characters
    kept = kept.substr(0, start);
    if (point > 0x10FFFF) continue;
    std::string up(kept);
    AppendPoint(point, &up);
    return up;
  }
  return std::nullopt;
}

std::optional<std::string> TruncateBytesUp(std::string_view bytes, int64_t width) {
  if (static_cast<int64_t>(bytes.size()) <= width) return std::string(bytes);
  std::string up(bytes.substr(0, static_cast<size_t>(width)));
  while (!up.empty()) {
    const auto last = static_cast<uint8_t>(up.back());
    if (last != 0xFF) {
      up.back() = static_cast<char>(last + 1);
      return up;
    }
    up.pop_back();
  }
  return std::nullopt;
}

std::string Hex(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const char byte : bytes) {
    out.push_back(kDigits[static_cast<uint8_t>(byte) >> 4]);
    out.push_back(kDigits[static_cast<uint8_t>(byte) & 0x0F]);
  }
  return out;
}

}  // namespace frazil::iceberg
