#include "base/uuid.h"

#include <cstdint>
#include <random>

namespace frazil {

std::string RandomUuid() {
  std::random_device device;
  std::string bytes;
  while (bytes.size() < 16) {
    const uint32_t word = device();
    for (int shift = 0; shift < 32; shift += 8) bytes.push_back(static_cast<char>(word >> shift));
  }
  bytes[6] = static_cast<char>((bytes[6] & 0x0F) | 0x40);
  bytes[8] = static_cast<char>((bytes[8] & 0x3F) | 0x80);
  return UuidText(bytes);
}

std::string UuidText(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text.push_back('-');
    text.push_back(kDigits[static_cast<uint8_t>(bytes[i]) >> 4]);
    text.push_back(kDigits[static_cast<uint8_t>(bytes[i]) & 0x0F]);
  }
  return text;
}

}  // namespace frazil
