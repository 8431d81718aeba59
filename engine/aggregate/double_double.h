#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

namespace frazil {

// A sum of doubles as the unevaluated sum hi + lo, |lo| <= ulp(hi) / 2: 106 bits. Sums are exact, and so do
// not depend on order and splits, while (largest partial sum) / (smallest ulp of an addend) < 2^105; beyond
// that their relative error is below n * 2^-104. Once hi is not finite lo is 0; NaN wins, +inf and -inf give
// NaN. Without values, lo is NaN. Two-sum: Knuth, TAOCP 2, 4.2.2; sums of pairs: Hida, Li, Bailey, "Library
// for double-double and quad-double arithmetic" (2000), 3.2 (the accurate variant).
struct DoubleDouble {
  double hi = 0;
  double lo = std::numeric_limits<double>::quiet_NaN();

  bool empty() const { return std::isnan(lo); }

  void add(double x) {
    double error;
    const double high = TwoSum(hi, x, &error);
    double low;
    const double sum = FastTwoSum(high, error + lo, &low);
    if (std::isfinite(sum) && !std::isnan(low)) [[likely]] {
      hi = sum;
      lo = low;
    } else {
      add_special(x, 0);
    }
  }

  // Adds another sum that is not empty.
  void add(const DoubleDouble& other) { add_pair(other.hi, other.lo); }

  // Adds x + y, |y| <= ulp(x) / 2.
  void add_pair(double x, double y) {
    double high_error, low_error;
    const double high = TwoSum(hi, x, &high_error);
    double low = TwoSum(lo, y, &low_error);
    double sum = FastTwoSum(high, high_error + low, &low);
    sum = FastTwoSum(sum, low + low_error, &low);
    if (std::isfinite(sum) && !std::isnan(low)) [[likely]] {
      hi = sum;
      lo = low;
    } else {
      add_special(x, y);
    }
  }

  // (hi + lo) / n, rounded once.
  double divided_by(double n) const {
    const double quotient = hi / n;
    if (!std::isfinite(quotient)) return value() / n;
    return quotient + (std::fma(-quotient, n, hi) + lo) / n;
  }

  double value() const {
    const double sum = hi + lo;
    return std::isnan(sum) ? std::numeric_limits<double>::quiet_NaN() : sum + 0.0;  // -0.0 is 0.0
  }

  // True for what add can have made; false for damaged bytes.
  bool valid() const {
    if (std::isnan(lo)) return hi == 0 && !std::signbit(hi);
    if (!std::isfinite(hi)) return lo == 0;
    return std::isfinite(lo) && hi + lo == hi;
  }

  static double TwoSum(double a, double b, double* error) {
    const double sum = a + b;
    const double part = sum - a;
    *error = (a - (sum - part)) + (b - part);
    return sum;
  }

 private:
  // |a| >= |b|
  static double FastTwoSum(double a, double b, double* error) {
    const double sum = a + b;
    *error = b - (sum - a);
    return sum;
  }

  // The first value, and whatever is not finite.
  void add_special(double x, double y) {
    const bool first = empty();
    hi = first ? x + 0.0 : hi + x;
    lo = first && std::isfinite(hi) ? y : 0;
    if (std::isnan(hi)) hi = std::numeric_limits<double>::quiet_NaN();  // one NaN, whatever came in
  }
};
static_assert(sizeof(DoubleDouble) == 16);

}  // namespace frazil
