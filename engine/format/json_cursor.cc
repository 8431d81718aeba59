#include "format/json_cursor.h"

#include <cstdio>

namespace frazil {
namespace {

constexpr size_t kShownBytes = 60;  // bytes of a value in an error text

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Reads the four hex digits of \uXXXX; -1 if they are not.
int32_t HexUnit(const char* p, const char* end) {
  if (end - p < 4) return -1;
  int32_t unit = 0;
  for (int i = 0; i < 4; ++i) {
    const int digit = HexDigit(p[i]);
    if (digit < 0) return -1;
    unit = unit * 16 + digit;
  }
  return unit;
}

char* PutUtf8(uint32_t code, char* out) {
  if (code < 0x80) {
    *out++ = static_cast<char>(code);
  } else if (code < 0x800) {
    *out++ = static_cast<char>(0xC0 | (code >> 6));
    *out++ = static_cast<char>(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    *out++ = static_cast<char>(0xE0 | (code >> 12));
    *out++ = static_cast<char>(0x80 | ((code >> 6) & 0x3F));
    *out++ = static_cast<char>(0x80 | (code & 0x3F));
  } else {
    *out++ = static_cast<char>(0xF0 | (code >> 18));
    *out++ = static_cast<char>(0x80 | ((code >> 12) & 0x3F));
    *out++ = static_cast<char>(0x80 | ((code >> 6) & 0x3F));
    *out++ = static_cast<char>(0x80 | (code & 0x3F));
  }
  return out;
}

// Reads what follows `\u`, moves `p` behind it. False for bad digits and lone surrogates.
bool UnescapeUnicode(const char*& p, const char* end, char*& out, JsonFailure& failure) {
  int32_t code = HexUnit(p, end);
  if (code < 0) return failure.Because("expected four hex digits after \\u in a string");
  p += 4;
  if (code >= 0xD800 && code < 0xE000) {
    int32_t low = -1;
    if (code < 0xDC00 && end - p >= 6 && p[0] == '\\' && p[1] == 'u') low = HexUnit(p + 2, end);
    if (low < 0xDC00 || low >= 0xE000) {
      char text[64];
      std::snprintf(text, sizeof(text), "half of a surrogate pair (\\u%04x) in a string",
                    static_cast<unsigned>(code));
      return failure.Because(text);
    }
    p += 6;
    code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
  }
  out = PutUtf8(static_cast<uint32_t>(code), out);
  return true;
}

char SimpleEscape(char c) {
  switch (c) {
    case '"':
      return '"';
    case '\\':
      return '\\';
    case '/':
      return '/';
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    default:
      return '\0';
  }
}

}  // namespace

bool JsonFailure::Because(std::string text) {
  reason = std::move(text);
  return false;
}

bool JsonFailure::Fatal(Status status) {
  fatal = std::move(status);
  return false;
}

void JsonFailure::Within(const std::string& step) { path.insert(0, step); }

bool UnescapeJson(std::string_view raw, char* out, size_t* size, JsonFailure& failure) {
  const char* p = raw.data();
  const char* const end = p + raw.size();
  char* const begin = out;
  while (p < end) {
    const auto* escape = static_cast<const char*>(std::memchr(p, '\\', static_cast<size_t>(end - p)));
    const char* plain_end = escape == nullptr ? end : escape;
    std::memmove(out, p, static_cast<size_t>(plain_end - p));
    out += plain_end - p;
    if (escape == nullptr) break;
    p = escape + 2;  // a backslash is never the last byte: it would have escaped the closing quote
    if (escape[1] == 'u') {
      if (!UnescapeUnicode(p, end, out, failure)) return false;
      continue;
    }
    const char plain = SimpleEscape(escape[1]);
    if (plain == '\0') return failure.Because("unknown escape " + ShownJson({escape, 2}) + " in a string");
    *out++ = plain;
  }
  *size = static_cast<size_t>(out - begin);
  return true;
}

std::string ShownJson(std::string_view text) {
  size_t cut = text.size();
  if (cut > kShownBytes) {
    cut = kShownBytes;
    while (cut > 0 && (static_cast<unsigned char>(text[cut]) & 0xC0) == 0x80) --cut;
  }
  std::string shown;
  for (const char c : text.substr(0, cut)) {
    if (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f) {
      shown += c;
      continue;
    }
    char code[8];
    std::snprintf(code, sizeof(code), "\\x%02x", static_cast<unsigned>(static_cast<unsigned char>(c)));
    shown += code;
  }
  if (cut < text.size()) shown += "...";
  return shown;
}

bool JsonCursor::TooDeep(JsonFailure& failure) {
  return failure.Because("nested deeper than " + std::to_string(limits::kJsonDepth) + " levels");
}

bool JsonCursor::SkipBrackets(JsonFailure& failure) {
  if (Peek() != '{' && Peek() != '[') return Expected("a value", failure);
  static_assert(limits::kJsonDepth <= 64, "the kinds of open brackets are kept in the bits of one word");
  uint64_t objects = 0;  // bit 0: the innermost open bracket is `{`
  int32_t open = 0;
  for (; next_ < end_; ++next_) {
    const char c = text_[*next_];
    if (c == '{' || c == '[') {
      if (depth_ + open >= limits::kJsonDepth) return TooDeep(failure);
      ++open;
      objects = objects << 1 | static_cast<uint64_t>(c == '{');
    } else if (c == '}' || c == ']') {
      if ((c == '}') != ((objects & 1) != 0)) return failure.Because("brackets do not match");
      objects >>= 1;
      if (--open == 0) {
        ++next_;
        return true;
      }
    }
  }
  return failure.Because("a bracket is not closed");
}

bool JsonCursor::TakeNull(JsonFailure& failure) {
  if (next_ >= end_) return Expected("a value", failure);
  std::string_view token(TokenBegin(), static_cast<size_t>(TokenEnd() - TokenBegin()));
  token = token.substr(0, token.find_last_not_of(" \t\r\n") + 1);
  if (token != "null") return Expected("a value", failure);
  ++next_;
  return true;
}

bool JsonCursor::Expected(std::string_view what, JsonFailure& failure) const {
  std::string reason = "expected ";
  reason += what;
  reason += ", got ";
  if (next_ >= end_) {
    reason += "the end of the row";
  } else {
    const char* begin = TokenBegin();
    const char* end = TokenEnd();
    if (*begin == '{' || *begin == '[') {
      JsonCursor behind = *this;
      JsonFailure broken;
      const bool whole = behind.Skip(broken);
      end = whole && !behind.AtEnd() ? behind.TokenBegin() : text_ + size_;
    }
    while (end > begin && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\n' || end[-1] == '\r')) --end;
    reason += ShownJson({begin, static_cast<size_t>(end - begin)});
  }
  return failure.Because(std::move(reason));
}

}  // namespace frazil
