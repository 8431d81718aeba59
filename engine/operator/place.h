#pragma once

#include <string>

#include "base/batch.h"

namespace frazil {

// " of positions 100 to 199 in partition 3": where the rows of a batch stand in their source; "" behind an
// exchange.
inline std::string PlaceOf(const Origin& origin) {
  if (origin.partition < 0 || origin.position_end <= origin.position_begin) return "";
  return " of positions " + std::to_string(origin.position_begin) + " to " +
         std::to_string(origin.position_end - 1) + " in partition " + std::to_string(origin.partition);
}

}  // namespace frazil
