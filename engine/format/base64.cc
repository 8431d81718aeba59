#include "format/base64.h"

#include <array>

namespace frazil {
namespace {

constexpr std::array<int8_t, 256> MakeBase64Digits() {
  std::array<int8_t, 256> digits{};
  for (auto& digit : digits) digit = -1;
  constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (size_t i = 0; i < kAlphabet.size(); ++i)
    digits[static_cast<uint8_t>(kAlphabet[i])] = static_cast<int8_t>(i);
  return digits;
}
constexpr std::array<int8_t, 256> kBase64Digits = MakeBase64Digits();

}  // namespace

bool DecodeBase64(std::string_view text, uint8_t* out, size_t* size) {
  if (text.size() % 4 != 0) return false;
  uint8_t* const begin = out;
  for (size_t i = 0; i < text.size(); i += 4) {
    const bool last = i + 4 == text.size();
    const int padding = !last || text[i + 3] != '=' ? 0 : text[i + 2] != '=' ? 1 : 2;
    uint32_t word = 0;
    for (int k = 0; k < 4; ++k) {
      const int digit =
          k >= 4 - padding ? 0 : kBase64Digits[static_cast<uint8_t>(text[i + static_cast<size_t>(k)])];
      if (digit < 0) return false;
      word = word << 6 | static_cast<uint32_t>(digit);
    }
    *out++ = static_cast<uint8_t>(word >> 16);
    if (padding < 2) *out++ = static_cast<uint8_t>(word >> 8);
    if (padding < 1) *out++ = static_cast<uint8_t>(word);
  }
  *size = static_cast<size_t>(out - begin);
  return true;
}

}  // namespace frazil
