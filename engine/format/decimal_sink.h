#pragma once

#include <arrow/builder.h>
#include <arrow/util/decimal.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

#include "format/json_cursor.h"
#include "format/json_number.h"
#include "format/quoted_text.h"

namespace frazil {

constexpr int32_t kDecimalScaleMax = 16'383;  // the largest of PostgreSQL's numeric
constexpr size_t kDecimalDigitsMax = 20'000;  // characters of a decimal as text

// A column of decimals: puts values exactly, or says why not. T is Decimal128 or Decimal256.
template <typename T>
class DecimalSink {
 public:
  using Builder = std::conditional_t<std::is_same_v<T, arrow::Decimal128>, arrow::Decimal128Builder,
                                     arrow::Decimal256Builder>;

  explicit DecimalSink(arrow::ArrayBuilder* builder)
      : builder_(static_cast<Builder*>(builder)),
        precision_(static_cast<const arrow::DecimalType&>(*builder->type()).precision()),
        scale_(static_cast<const arrow::DecimalType&>(*builder->type()).scale()) {}

  // Two's complement, big endian, of a scale.
  bool PutBytes(std::string_view bytes, int32_t scale, JsonFailure& failure) {
    if (bytes.empty()) return failure.Because("a decimal without bytes");
    // Leading bytes that only repeat the sign say nothing.
    const auto* digits = reinterpret_cast<const uint8_t*>(bytes.data());
    const uint8_t sign = (digits[0] & 0x80) != 0 ? 0xff : 0;
    size_t first = 0;
    while (first + 1 < bytes.size() && digits[first] == sign && (digits[first + 1] & 0x80) == (sign & 0x80)) {
      ++first;
    }
    auto parsed =
        T::FromBigEndian(digits + first, static_cast<int32_t>(std::min<size_t>(bytes.size() - first, 64)));
    if (!parsed.ok()) return Outside("a decimal of " + std::to_string(bytes.size()) + " bytes", failure);
    return Put(*parsed, scale, failure);
  }

  bool Put(const T& value, int32_t from, JsonFailure& failure) {
    T out = value;
    if (from != scale_ && value != T(0)) {
      const int32_t more = scale_ - from;
      const auto scaled = more > T::kMaxScale || more < -T::kMaxScale ? Result<T>(Status::Invalid("scale"))
                                                                      : value.Rescale(from, scale_);
      if (!scaled.ok()) {
        const std::string shown = value.ToIntegerString() + "e" + std::to_string(-from);
        return more < 0 ? TooFine(shown, failure) : Outside(shown, failure);
      }
      out = *scaled;
    }
    if (!out.FitsInPrecision(precision_))
      return Outside(value.ToIntegerString() + "e" + std::to_string(-from), failure);
    return failure.Ok(builder_->Append(out));
  }

  bool PutText(std::string_view text, JsonFailure& failure) {
    const std::string shown = QuotedText(text);
    JsonNumber number;
    padded_.assign(text.substr(0, kDecimalDigitsMax));
    padded_.append(8, '\0');
    const char* const end = padded_.data() + padded_.size() - 8;
    const bool begins = !text.empty() && (text[0] == '-' || (text[0] >= '0' && text[0] <= '9'));
    if (!begins || text.size() > kDecimalDigitsMax || !ScanJsonNumber(padded_.data(), end, &number) ||
        number.end != end) {
      return failure.Because("expected a decimal, got " + shown);
    }
    T value;
    NumberFit fit;
    if constexpr (std::is_same_v<T, arrow::Decimal128>) {
      __int128 wide;
      fit = NumberToInt128(number, scale_, &wide);
      value = arrow::Decimal128(static_cast<int64_t>(wide >> 64), static_cast<uint64_t>(wide));
    } else {
      fit = NumberToDecimal256(number, scale_, &value);
    }
    if (fit == NumberFit::kInexact) return TooFine(shown, failure);
    if (fit == NumberFit::kOverflow || !value.FitsInPrecision(precision_)) return Outside(shown, failure);
    return failure.Ok(builder_->Append(value));
  }

 private:
  bool Outside(const std::string& shown, JsonFailure& failure) const {
    return failure.Because(shown + " is outside the range of " + builder_->type()->ToString());
  }
  bool TooFine(const std::string& shown, JsonFailure& failure) const {
    return failure.Because(shown + " has more digits after the point than " + builder_->type()->ToString() +
                           " holds");
  }

  Builder* builder_;
  int32_t precision_, scale_;
  std::string padded_;
};

}  // namespace frazil
