#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "aggregate/double_double.h"

namespace frazil {

// A sum of doubles that may be taken away again. Finite values are added up as double-doubles, and taken away
// by adding what they are not: the sum of those that are left is exact while all sums on the way there were
// in the range of double_double.h, and else off by up to n * 2^-104 of the largest of them. Without finite
// values left it is 0 again, whatever there was. What is not finite is only counted. Large values stand in a
// sum of their own, 2^-128 times, so that no sum on the way overflows: only what is left may.
struct FloatChanges {
  DoubleDouble small{0, 0};
  DoubleDouble large{0, 0};
  int64_t finite = 0;
  int64_t nans = 0;
  int64_t plus = 0;  // infinities
  int64_t minus = 0;

  bool empty() const { return count() == 0; }
  int64_t count() const { return finite + nans + plus + minus; }

  void add(double x) {
    ++counter(x);
    if (std::isfinite(x)) add_finite(x);
  }
  // Takes a value away again; false if there is none of its kind.
  bool take(double x) {
    if (counter(x) <= 0) return false;
    --counter(x);
    if (!std::isfinite(x)) return true;
    add_finite(-x);
    if (finite == 0) small = large = {0, 0};
    return true;
  }
  // False if there would be too many.
  bool add(const FloatChanges& other) {
    small.add(other.small);
    large.add(other.large);
    finite += other.finite;
    nans += other.nans;
    plus += other.plus;
    minus += other.minus;
    return valid();
  }

  // The sum, as it would be without what was taken away.
  DoubleDouble total() const {
    if (nans > 0 || (plus > 0 && minus > 0)) return {std::numeric_limits<double>::quiet_NaN(), 0};
    if (plus > 0 || minus > 0) return {(plus > 0 ? 1 : -1) * std::numeric_limits<double>::infinity(), 0};
    if (large.hi == 0) return small;
    const DoubleDouble sum = scaled();
    const double hi = std::ldexp(sum.hi, kScaleBits);
    return {hi, std::isfinite(hi) ? std::ldexp(sum.lo, kScaleBits) : 0};
  }
  double value() const { return divided_by(1); }
  double divided_by(double n) const {
    if (large.hi == 0 || finite != count()) return total().divided_by(n);
    return std::ldexp(scaled().divided_by(n), kScaleBits) + 0.0;
  }

  // False for what add and take cannot have made.
  bool valid() const {
    for (const int64_t values : {finite, nans, plus, minus}) {
      if (values < 0 || values > kValuesMax) return false;
    }
    for (const DoubleDouble& sum : {small, large}) {
      if (sum.empty() || !sum.valid() || !std::isfinite(sum.hi)) return false;
      if (finite == 0 && (sum.hi != 0 || sum.lo != 0)) return false;
    }
    return true;
  }

 private:
  static constexpr int64_t kValuesMax = int64_t{1} << 56;
  static constexpr int kScaleBits = 128;
  static constexpr double kLarge = 0x1p900;  // 2^56 smaller ones do not overflow, nor do these, scaled

  int64_t& counter(double x) {
    if (std::isnan(x)) return nans;
    if (std::isinf(x)) return x > 0 ? plus : minus;
    return finite;
  }
  void add_finite(double x) {
    if (std::fabs(x) < kLarge) {
      small.add(x);
    } else {
      large.add(std::ldexp(x, -kScaleBits));
    }
  }
  DoubleDouble scaled() const {
    DoubleDouble sum = large;
    sum.add_pair(std::ldexp(small.hi, -kScaleBits), std::ldexp(small.lo, -kScaleBits));
    return sum;
  }
};
static_assert(sizeof(FloatChanges) == 64);

}  // namespace frazil
