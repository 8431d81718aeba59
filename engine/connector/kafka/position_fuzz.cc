// Any bytes as a position or a partition's name: an error or a value, and a value survives being written and
// read.
#include "connector/kafka/position.h"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace frazil::kafka;
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto offset = OffsetOf(text);
  if (offset.ok() && (*offset < 0 || OffsetOf(PositionOf(*offset)).ValueOrDie() != *offset)) std::abort();
  const auto name = ParsePartitionName(text);
  if (name.ok() && ParsePartitionName(PartitionName(name->first, name->second)).ValueOrDie() != *name)
    std::abort();
  return 0;
}
