// Any bytes as a position or an end: an error or a value, and a value survives being written and read.
#include "connector/file/position.h"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using frazil::file::Position;
  const std::string text(reinterpret_cast<const char*>(data), size);
  (void)frazil::file::End::Parse(text);
  auto position = Position::Parse(text);
  if (!position.ok()) return 0;
  position->Lower({});
  for (const bool rows : {false, true}) {
    const auto again = Position::Parse(position->ToJson(rows));
    if (!again.ok() || again->file != position->file || again->offset != position->offset ||
        again->done != position->done || again->base != position->base || again->left != position->left ||
        again->floor != position->floor) {
      std::abort();
    }
  }
  return 0;
}
