#include "aggregate/log_bins.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace frazil {
namespace {

// Interpolates log2(1 + s), 0 <= s < 1: 0 at 0 and 1 at 1, with equal slopes by ln x there.
double Cubic(double s) { return ((6.0 / 35 * s - 3.0 / 5) * s + 10.0 / 7) * s; }
double CubicSlope(double s) { return (18.0 / 35 * s - 6.0 / 5) * s + 10.0 / 7; }

}  // namespace

LogBins::LogBins(double accuracy) : per_unit_(0.7 / (std::log1p(accuracy) - std::log1p(-accuracy))) {
  first_ = bin(std::numeric_limits<double>::min());
  last_ = bin(std::numeric_limits<double>::max());
}

int32_t LogBins::bin(double value) const {
  const auto bits = std::bit_cast<uint64_t>(value);
  const auto exponent = static_cast<int>(bits >> 52) - 1023;
  const double s = std::bit_cast<double>((bits & ((uint64_t{1} << 52) - 1)) | uint64_t{1023} << 52) - 1;
  return static_cast<int32_t>(std::floor((exponent + Cubic(s)) * per_unit_));
}

double LogBins::value(double logarithm) const {
  const double exponent = std::floor(logarithm);
  const double target = logarithm - exponent;
  double s = target;
  for (int i = 0; i < 8; ++i)
    s -= (Cubic(s) - target) / CubicSlope(s);  // Newton; the cubic is nearly straight
  return std::ldexp(1 + std::clamp(s, 0.0, 1.0), static_cast<int>(exponent));
}

double LogBins::middle(int32_t bin) const {
  const double low = value(bin / per_unit_);
  const double high = value((bin + 1) / per_unit_);
  return low / (0.5 + 0.5 * (low / high));  // the harmonic mean; no product, which might overflow
}

}  // namespace frazil
