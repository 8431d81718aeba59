#include "format/quoted_text.h"

#include <simdjson.h>

namespace frazil {
namespace {

constexpr size_t kShownBytes = 60;

}  // namespace

std::string QuotedText(std::string_view text) {
  size_t size = std::min(text.size(), kShownBytes);
  while (size > 0 && size < text.size() && (static_cast<uint8_t>(text[size]) & 0xc0) == 0x80) --size;
  text = text.substr(0, size);
  std::string made(1, '"');
  if (simdjson::validate_utf8(text.data(), text.size())) {
    made += text;
  } else {
    static constexpr char kHex[] = "0123456789abcdef";
    for (const char each : text) {
      if (each >= ' ' && each <= '~') {
        made += each;
        continue;
      }
      made += "\\x";
      made += kHex[static_cast<uint8_t>(each) >> 4];
      made += kHex[static_cast<uint8_t>(each) & 15];
    }
  }
  made += '"';
  return made;
}

std::string Bracketed(const std::string& text) {
  std::string made(1, '[');
  made += text;
  made += ']';
  return made;
}

}  // namespace frazil
