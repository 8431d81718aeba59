#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "base/status.h"

namespace frazil::kafka {

// "orders-3".
std::string PartitionName(const std::string& topic, int32_t partition);

// Topic and number of "orders-3"; kState if it is not such a name.
Result<std::pair<std::string, int32_t>> ParsePartitionName(const std::string& name);

// {"v":1,"offset":n}, n = the offset to read next.
std::string PositionOf(int64_t offset);

// The offset of a position; kState if it is not one this version can read.
Result<int64_t> OffsetOf(const std::string& position);

}  // namespace frazil::kafka
