#pragma once

#include <cstdint>

namespace frazil {

// Bins of positive doubles in which the largest value is at most (1 + a) / (1 - a) times the smallest, so
// that middle() is within the relative accuracy a of all of them. The logarithm is interpolated cubically
// between powers of two, by arithmetic alone: the bins are the same on every machine. The cubic's slope by ln
// x is at least 10/7, which gives the number of bins per unit; about 1 % more of them than with the exact
// logarithm. Source: Masson, Rim, Lee, "DDSketch" (2019), and the cubic mapping of its authors' library
// sketches-java.
class LogBins {
 public:
  explicit LogBins(double accuracy);
  int32_t bin(double value) const;  // of a positive, normal, finite value
  double middle(int32_t bin) const;
  int32_t first() const { return first_; }  // bins of the smallest and the largest double
  int32_t last() const { return last_; }

 private:
  double value(double logarithm) const;

  double per_unit_;  // bins per unit of the interpolated logarithm
  int32_t first_;
  int32_t last_;
};

}  // namespace frazil
