#pragma once

#include <arrow/type.h>
#include <arrow/util/decimal.h>

#include <string>
#include <string_view>
#include <type_traits>

#include "format/json_column.h"
#include "format/json_number.h"

namespace frazil {

inline bool JsonNumberBegins(char c) { return c == '-' || static_cast<unsigned char>(c - '0') < 10; }

// Scans the number at the cursor without going over it.
inline bool ScanJsonNumberAt(const JsonCursor& cursor, JsonNumber* number) {
  return JsonNumberBegins(cursor.Peek()) && ScanJsonNumber(cursor.TokenBegin(), cursor.TokenEnd(), number);
}

// Decimals from numbers or their texts. T is Decimal128 or Decimal256, whose memory is the Arrow layout on
// little-endian machines.
template <typename T>
class JsonDecimalColumn : public JsonFixedColumn<T> {
 public:
  JsonDecimalColumn(const arrow::Field& field, arrow::MemoryPool* pool)
      : JsonFixedColumn<T>(field.type(), field.nullable(), "number", pool),
        precision_(static_cast<const arrow::DecimalType&>(*field.type()).precision()),
        scale_(static_cast<const arrow::DecimalType&>(*field.type()).scale()) {}

  bool Append(JsonCursor& cursor, JsonFailure& failure) override {
    JsonNumber number;
    JsonCursor behind = cursor;
    if (cursor.Peek() == '"') {
      const std::string_view raw = behind.TakeRawString();
      if (raw.empty() || !JsonNumberBegins(raw[0]) ||
          !ScanJsonNumber(raw.data(), raw.data() + raw.size(), &number) ||
          number.text().size() != raw.size()) {
        return this->Expected(cursor, failure);
      }
    } else {
      if (!ScanJsonNumberAt(cursor, &number)) return this->Expected(cursor, failure);
      behind.Advance();
    }
    T value;
    const NumberFit fit = Convert(number, &value);
    if (!PutIf(fit, value, number.text(), failure)) return false;
    cursor = behind;
    return true;
  }

 protected:
  // Appends the value if it is what `text` says and the type holds it.
  bool PutIf(NumberFit fit, const T& value, std::string_view text, JsonFailure& failure) {
    if (fit == NumberFit::kInexact) {
      return failure.Because(ShownJson(text) + " has more digits after the point than " +
                             this->type_->ToString() + " holds");
    }
    if (fit == NumberFit::kOverflow || !value.FitsInPrecision(precision_)) {
      return failure.Because(ShownJson(text) + " is outside the range of " + this->type_->ToString());
    }
    return this->Put(value, failure);
  }
  int32_t scale() const { return scale_; }

 private:
  NumberFit Convert(const JsonNumber& number, T* value) const {
    if constexpr (std::is_same_v<T, arrow::Decimal128>) {
      __int128 wide;
      const NumberFit fit = NumberToInt128(number, scale_, &wide);
      *value = arrow::Decimal128(static_cast<int64_t>(wide >> 64), static_cast<uint64_t>(wide));
      return fit;
    } else {
      return NumberToDecimal256(number, scale_, value);
    }
  }

  int32_t precision_;
  int32_t scale_;
};

}  // namespace frazil
