#pragma once

#include <cmath>
#include <limits>
#include <type_traits>

#include "aggregate/wide.h"

// The order of values: NaN comes last, and there is one zero and one NaN.
namespace frazil {

// The value with -0.0 as 0.0 and any NaN as one.
template <typename T, typename From>
T Canonical(From value) {
  if constexpr (std::is_floating_point_v<T>) {
    return std::isnan(value) ? std::numeric_limits<T>::quiet_NaN() : static_cast<T>(value + T{0});
  } else {
    return static_cast<T>(value);
  }
}

template <typename T>
bool Before(const T& a, const T& b) {
  if constexpr (std::is_floating_point_v<T>) {
    return a < b || (std::isnan(b) && !std::isnan(a));
  } else if constexpr (std::is_same_v<T, Wide>) {
    return a.value() < b.value();
  } else {
    return a < b;
  }
}

}  // namespace frazil
