#pragma once

#include <arrow/util/decimal.h>

#include <array>
#include <concepts>
#include <type_traits>

#include "aggregate/wide.h"

// Sums of integers that cannot overflow while they are added up, so that the order does not matter: whether
// the result fits is asked at the end.
namespace frazil {

// Of integers up to 64 bits: 128 bits hold 2^63 of them.
struct IntegerSum {
  Wide sum = Wide::Of(kInt128Min);  // which stands for no values

  bool empty() const { return sum.high == INT64_MIN && sum.low == 0; }
  void add(Int128 value) { sum = Wide::Of(empty() ? value : sum.value() + value); }
  // False if it would overflow: no 2^63 values made these.
  bool add(const IntegerSum& other) {
    if (other.empty()) return true;
    Int128 total = empty() ? 0 : sum.value();
    if (__builtin_add_overflow(total, other.sum.value(), &total) || total == kInt128Min) return false;
    sum = Wide::Of(total);
    return true;
  }
  // Takes a value away again; the sum is not empty.
  void subtract(Int128 value) { sum = Wide::Of(sum.value() - value); }
  Int128 value() const { return sum.value(); }
};
static_assert(sizeof(IntegerSum) == 16);

// Of decimals of 128 bits: 192 bits hold 2^64 of them.
struct DecimalSum {
  uint64_t low = 0;
  uint64_t middle = 0;
  int64_t high = INT64_MIN;  // which stands for no values

  bool empty() const { return high == INT64_MIN; }
  void add(Wide value) { add_bits(value.low, static_cast<uint64_t>(value.high), value.high < 0 ? -1 : 0); }
  // Takes a value away again; the sum is not empty.
  void subtract(Wide value) {
    add_bits(~value.low, ~static_cast<uint64_t>(value.high), value.high < 0 ? 0 : -1);  // -value - 1
    add_bits(1, 0, 0);
  }
  // False if it would overflow.
  bool add(const DecimalSum& other) { return other.empty() || add_bits(other.low, other.middle, other.high); }
  arrow::Decimal256 value() const {
    const uint64_t sign = high < 0 ? ~uint64_t{0} : 0;
    return arrow::Decimal256(arrow::BasicDecimal256::LittleEndianArray,
                             std::array<uint64_t, 4>{low, middle, static_cast<uint64_t>(high), sign});
  }

 private:
  bool add_bits(uint64_t other_low, uint64_t other_middle, int64_t other_high) {
    const auto join = [](uint64_t upper, uint64_t lower) {
      return static_cast<unsigned __int128>(upper) << 64 | lower;
    };
    const unsigned __int128 other = join(other_middle, other_low);
    const unsigned __int128 total = join(middle, low) + other;
    const int64_t carry = total < other ? 1 : 0;
    int64_t upper = empty() ? 0 : high;
    if (__builtin_add_overflow(upper, other_high, &upper) || __builtin_add_overflow(upper, carry, &upper) ||
        upper == INT64_MIN) {
      return false;
    }
    low = static_cast<uint64_t>(total);
    middle = static_cast<uint64_t>(total >> 64);
    high = upper;
    return true;
  }
};
static_assert(sizeof(DecimalSum) == 24);

// A sum and of how many values, so that it is known when none is left.
template <typename Sum>
struct Counted {
  static constexpr int64_t kValuesMax = int64_t{1} << 56;  // no more can come; damaged states may say so

  Sum sum;
  int64_t values = 0;

  bool empty() const { return values == 0; }
  int64_t count() const { return values; }
  template <typename T>
  void add(T value) {
    sum.add(value);
    ++values;
  }
  // Takes a value away again; false if there is none.
  template <typename T>
  requires requires(Sum& sum, T value) { sum.subtract(value); }
  bool take(T value) {
    if (values <= 0) return false;
    sum.subtract(value);
    if (--values == 0) sum = Sum();
    return true;
  }
  // False if it would overflow.
  bool add(const Counted& other) {
    if (other.empty()) return true;
    values += other.values;
    if constexpr (requires {
                    { sum.add(other.sum) } -> std::same_as<bool>;
                  }) {
      if (!sum.add(other.sum)) return false;
    } else {
      sum.add(other.sum);
    }
    return values <= kValuesMax;
  }
  // False for what add and take cannot have made.
  bool valid() const {
    if (values < 0 || values > kValuesMax || sum.empty() != (values == 0)) return false;
    if constexpr (requires { sum.valid(); }) return sum.valid();
    if constexpr (std::is_same_v<Sum, IntegerSum>) {
      const Int128 most = static_cast<Int128>(values) << 64;
      return values == 0 || (sum.value() >= -most && sum.value() <= most);
    }
    return true;
  }
};

}  // namespace frazil
