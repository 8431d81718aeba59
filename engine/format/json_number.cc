#include "format/json_number.h"

#include <arrow/type.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <iterator>
#include <limits>
#include <type_traits>

namespace frazil {
namespace {

constexpr int kMantissaDigits = 19;  // always fit 64 bits

bool IsDigit(char c) { return static_cast<unsigned char>(c - '0') < 10; }

uint64_t EightDigits(uint64_t v) {
  v = (v & 0x0F0F0F0F0F0F0F0F) * 2561 >> 8;
  v = (v & 0x00FF00FF00FF00FF) * 6553601 >> 16;
  return (v & 0x0000FFFF0000FFFF) * 42949672960001 >> 32;
}

constexpr auto kWholePowers = [] {
  std::array<int64_t, 19> powers{1};
  for (size_t i = 1; i < powers.size(); ++i) powers[i] = 10 * powers[i - 1];
  return powers;
}();

// Adds the digits at p to the mantissa (wrapping if there are too many) and returns the place behind them. Up
// to eight at a time, so that their number makes no difference to the branches taken.
const char* TakeDigits(const char* p, const char* limit, uint64_t* mantissa) {
  static_assert(std::endian::native == std::endian::little, "the first digit is the lowest byte");
  for (;;) {
    uint64_t word;
    std::memcpy(&word, p, sizeof(word));
    const uint64_t digits = word ^ 0x3030303030303030;
    const uint64_t others = ((digits + 0x7676767676767676) | digits) & 0x8080808080808080;  // up to the first
    const auto count = std::min<int64_t>(others == 0 ? 8 : std::countr_zero(others) / 8, limit - p);
    if (count <= 0) return p;
    // What is shifted in counts as leading zeros.
    *mantissa = *mantissa * static_cast<uint64_t>(kWholePowers[static_cast<size_t>(count)]) +
                EightDigits(word << (64 - 8 * count));
    p += count;
    if (count < 8) return p;
  }
}

const char* TakeExponent(const char* p, const char* limit, int32_t* exponent) {
  ++p;
  bool negative = false;
  if (p < limit && (*p == '-' || *p == '+')) negative = *p++ == '-';
  if (p >= limit || !IsDigit(*p)) return nullptr;
  int32_t written = 0;
  for (; p < limit && IsDigit(*p); ++p) {
    if (written < kJsonExponentMax) written = written * 10 + (*p - '0');
  }
  written = std::min(written, kJsonExponentMax);
  *exponent = std::clamp(*exponent + (negative ? -written : written), -kJsonExponentMax, kJsonExponentMax);
  return p;
}

// Significant digits of the mantissa's text: leading zeros ("0.001") do not count.
int64_t SignificantDigits(const char* p, const char* end) {
  while (p < end && (*p == '0' || *p == '.')) ++p;
  int64_t digits = 0;
  for (; p < end; ++p) digits += IsDigit(*p) ? 1 : 0;
  return digits;
}

// Goes over the digits of a number scaled by 10^shift: `digit` for each one before the (moved) point, then
// whether something other than zero follows it.
struct ShiftedDigits {
  const char* p;
  const char* end;
  int64_t before;  // digits still before the point, of those at p; may be negative or more than there are

  ShiftedDigits(const JsonNumber& number, int32_t shift)
      : p(number.begin + (number.negative ? 1 : 0)), end(number.end) {
    int32_t written = 0;
    const char* mark = p;
    while (mark < end && IsDigit(*mark)) ++mark;
    before = mark - p;
    int64_t fraction = 0;
    if (mark < end && *mark == '.') {
      ++mark;
      while (mark < end && IsDigit(*mark)) ++mark, ++fraction;
    }
    // number.exponent counts the fraction's digits too; take them out again.
    written = number.exponent + static_cast<int32_t>(std::min<int64_t>(fraction, kJsonExponentMax));
    end = mark;
    before += written + static_cast<int64_t>(shift);
    while (p < end && (*p == '0' || *p == '.')) {
      if (*p == '0') --before;
      ++p;
    }
  }
  bool zero() const { return p == end; }
  // The next digit before the point, or -1.
  int take() {
    if (before <= 0) return -1;
    --before;
    if (p < end && *p == '.') ++p;
    return p < end ? *p++ - '0' : 0;
  }
  bool rest() const {
    for (const char* q = p; q < end; ++q) {
      if (*q != '0' && *q != '.') return true;
    }
    return false;
  }
};

constexpr double kPowers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                              1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

template <typename T>
bool FromChars(const JsonNumber& number, T* out) {
  const auto result = std::from_chars(number.begin, number.end, *out);
  if (result.ec == std::errc()) return std::isfinite(*out);
  // Out of range on one of both sides: which one, the place of the first digit says.
  const ShiftedDigits digits(number, 0);
  if (digits.before > 0 && !digits.zero()) return false;
  *out = number.negative ? -T{0} : T{0};
  return true;
}

}  // namespace

bool ScanJsonNumber(const char* begin, const char* limit, JsonNumber* number) {
  const char* p = begin;
  *number = {};
  number->begin = begin;
  number->negative = *p == '-';
  if (number->negative) ++p;
  const char* const digits = p;
  p = TakeDigits(p, limit, &number->mantissa);
  if (p == digits) return false;
  if (*digits == '0' && p - digits > 1) return false;
  number->integral = true;
  if (p < limit && *p == '.') {
    const char* const fraction = ++p;
    p = TakeDigits(p, limit, &number->mantissa);
    if (p == fraction) return false;
    number->integral = false;
    number->exponent = -static_cast<int32_t>(std::min<int64_t>(p - fraction, kJsonExponentMax));
  }
  number->exact = p - digits <= kMantissaDigits || SignificantDigits(digits, p) <= kMantissaDigits;
  if (p < limit && (*p == 'e' || *p == 'E')) {
    number->integral = false;
    p = TakeExponent(p, limit, &number->exponent);
    if (p == nullptr) return false;
  }
  number->end = p;
  while (p < limit && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r')) ++p;
  return p == limit;
}

NumberFit NumberToInt128(const JsonNumber& number, int32_t shift, __int128* out) {
  // Most numbers: all digits in 64 bits, and what follows them are zeros. The product fits: 2^64 * 10^18 <
  // 2^124.
  const int64_t zeros = int64_t{number.exponent} + shift;
  if (number.exact && zeros >= 0 && zeros < static_cast<int64_t>(std::size(kWholePowers))) [[likely]] {
    const __int128 value = static_cast<__int128>(number.mantissa) * kWholePowers[zeros];
    *out = number.negative ? -value : value;
    return NumberFit::kExact;
  }
  ShiftedDigits digits(number, shift);
  *out = 0;
  if (digits.zero()) return NumberFit::kExact;
  __int128 value = 0;
  for (int digit = digits.take(); digit >= 0; digit = digits.take()) {
    if (__builtin_mul_overflow(value, static_cast<__int128>(10), &value) ||
        __builtin_add_overflow(value, static_cast<__int128>(digit), &value)) {
      return NumberFit::kOverflow;
    }
  }
  const bool rest = digits.rest();
  *out = number.negative ? -value - (rest ? 1 : 0) : value;
  return rest ? NumberFit::kInexact : NumberFit::kExact;
}

NumberFit NumberToDecimal256(const JsonNumber& number, int32_t scale, arrow::Decimal256* out) {
  ShiftedDigits digits(number, scale);
  *out = arrow::Decimal256(0);
  if (digits.zero()) return NumberFit::kExact;
  if (digits.before > arrow::Decimal256Type::kMaxPrecision) return NumberFit::kOverflow;
  for (int digit = digits.take(); digit >= 0; digit = digits.take()) {
    *out *= arrow::Decimal256(10);
    *out += arrow::Decimal256(digit);
  }
  if (number.negative) out->Negate();
  return digits.rest() ? NumberFit::kInexact : NumberFit::kExact;
}

bool NumberToDouble(const JsonNumber& number, double* out) {
  // Both operands are exact doubles, so one operation rounds once and right.
  if (number.exact && number.mantissa <= (uint64_t{1} << 53) && number.exponent >= -22 &&
      number.exponent <= 22) {
    auto value = static_cast<double>(number.mantissa);
    value = number.exponent < 0 ? value / kPowers[-number.exponent] : value * kPowers[number.exponent];
    *out = number.negative ? -value : value;
    return true;
  }
  return FromChars(number, out);
}

bool NumberToFloat(const JsonNumber& number, float* out) {
  if (number.exact && number.mantissa <= (uint64_t{1} << 24) && number.exponent >= -10 &&
      number.exponent <= 10) {
    auto value = static_cast<float>(number.mantissa);
    const auto power = static_cast<float>(kPowers[std::abs(number.exponent)]);
    value = number.exponent < 0 ? value / power : value * power;
    *out = number.negative ? -value : value;
    return true;
  }
  return FromChars(number, out);
}

}  // namespace frazil
