#pragma once

#include <cstdint>
#include <cstring>

namespace frazil {

using Int128 = __int128;

constexpr Int128 kInt128Max = static_cast<Int128>(~static_cast<unsigned __int128>(0) >> 1);
constexpr Int128 kInt128Min = -kInt128Max - 1;

// 128 bits as two words: what lies in accumulators (aligned to 8) and in decimal arrays.
struct Wide {
  uint64_t low;
  int64_t high;

  static Wide Of(Int128 value) { return {static_cast<uint64_t>(value), static_cast<int64_t>(value >> 64)}; }
  Int128 value() const {
    return static_cast<Int128>(static_cast<unsigned __int128>(static_cast<uint64_t>(high)) << 64 | low);
  }
};
static_assert(sizeof(Wide) == 16 && alignof(Wide) == 8);

// 10^38 - 1: the largest unscaled value of a decimal128(38, s).
constexpr Int128 kDecimalMax = [] {
  Int128 power = 1;
  for (int i = 0; i < 38; ++i) power *= 10;
  return power - 1;
}();

// The quotient rounded to the nearest integer, a half to the even one; divisor > 0, and not within one of the
// ends of the type.
constexpr Int128 RoundedQuotient(Int128 dividend, Int128 divisor) {
  Int128 quotient = dividend / divisor;
  Int128 rest = dividend % divisor;
  const bool negative = rest < 0;
  if (negative) rest = -rest;
  const Int128 other = divisor - rest;
  if (rest > other || (rest == other && quotient % 2 != 0)) quotient += negative ? -1 : 1;
  return quotient;
}

}  // namespace frazil
