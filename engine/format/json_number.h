#pragma once

#include <arrow/util/decimal.h>

#include <cstdint>
#include <cstring>
#include <string_view>

namespace frazil {

// A number of JSON's grammar, scanned but not yet converted.
struct JsonNumber {
  const char* begin = nullptr;  // the sign or first digit
  const char* end = nullptr;    // behind the last character
  uint64_t mantissa = 0;        // all digits as one integer, if `exact`
  int32_t exponent = 0;         // value = mantissa * 10^exponent, clamped to +-kJsonExponentMax
  bool negative = false;
  bool exact = false;     // the digits fit the mantissa
  bool integral = false;  // written without point and exponent

  std::string_view text() const { return {begin, static_cast<size_t>(end - begin)}; }
};

// Exponents beyond it have the same meaning for every type here: zero or too large.
constexpr int32_t kJsonExponentMax = 1'000'000;

// Scans the number that begins at `begin` < `limit`; nothing but whitespace may follow it up to `limit`, and
// nothing behind that counts, but 8 bytes of it are readable. False if it is not a JSON number ("01", "1.",
// "+1", "1x").
bool ScanJsonNumber(const char* begin, const char* limit, JsonNumber* number);

enum class NumberFit {
  kExact,
  kInexact,   // digits other than zero had to be cut
  kOverflow,  // outside the range of the result
};

// value * 10^shift as an integer, from the text and without any rounding. With kInexact the result is cut
// towards minus infinity.
NumberFit NumberToInt128(const JsonNumber& number, int32_t shift, __int128* out);

// The same for a 76-digit decimal of the given scale; cut towards zero.
NumberFit NumberToDecimal256(const JsonNumber& number, int32_t scale, arrow::Decimal256* out);

// The nearest double or float (ties to even); false on overflow. Underflow gives zero or a subnormal.
bool NumberToDouble(const JsonNumber& number, double* out);
bool NumberToFloat(const JsonNumber& number, float* out);

}  // namespace frazil
