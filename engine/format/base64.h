#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace frazil {

// Decodes standard base64 with padding; `out` has room for 3/4 of the text. False if it is not base64.
bool DecodeBase64(std::string_view text, uint8_t* out, size_t* size);

}  // namespace frazil
