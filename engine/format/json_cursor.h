#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "base/limits.h"
#include "base/status.h"

namespace frazil {

// Why a value could not be read. Filled only on failure; containers put their part of the path in front.
struct JsonFailure {
  std::string reason;
  std::string path;    // of the value inside its column: ".price", "[2].price"
  std::string column;  // top-level column, empty if the row as a whole is bad
  Status fatal;        // not OK: memory could not be had, the decoder is unusable

  // Sets the reason; false, so that readers can `return failure.Because(...)`.
  [[gnu::cold]] bool Because(std::string text);
  [[gnu::cold]] bool Fatal(Status status);
  // True if a step on the way returned OK.
  bool Ok(const Status& status) { return status.ok() || Fatal(status); }
  [[gnu::cold]] void Within(const std::string& step);
};

// Walks the tokens of one row by the index that simdjson's first stage made: the offsets of brackets, colons,
// commas and of the first byte of each string and scalar, all of them outside of strings. A plain value:
// copying it remembers a place. Text and index belong to the JsonIndex and live as long as its row.
class JsonCursor {
 public:
  JsonCursor() = default;
  JsonCursor(const char* text, const uint32_t* begin, const uint32_t* end, uint32_t size)
      : text_(text), next_(begin), end_(end), size_(size) {
    FindBackslash(0);
  }

  // First byte of the token here, 0 behind the last one.
  char Peek() const { return next_ < end_ ? text_[*next_] : '\0'; }
  bool AtEnd() const { return next_ >= end_; }
  void Advance() { ++next_; }
  // Goes over the token if it is `c`.
  bool Take(char c) {
    if (Peek() != c) return false;
    ++next_;
    return true;
  }

  // The token here up to the next token: trailing whitespace included. Not behind the last token.
  const char* TokenBegin() const { return text_ + *next_; }
  const char* TokenEnd() const { return text_ + (next_ + 1 < end_ ? next_[1] : size_); }

  // Gives the text between the quotes of the string here, escapes as they are, and goes over it. The token
  // has to begin with a quote.
  std::string_view TakeRawString() {
    const char* begin = TokenBegin() + 1;
    const char* end = TokenEnd();
    while (end > begin && end[-1] != '"') --end;  // only whitespace follows the closing quote
    ++next_;
    return {begin, static_cast<size_t>(end > begin ? end - 1 - begin : 0)};
  }

  // True if the text has an escape. To be asked in increasing order, or from a copy.
  bool HasEscape(std::string_view raw) {
    const auto end = static_cast<uint32_t>(raw.data() + raw.size() - text_);
    if (end <= backslash_) return false;
    const auto begin = static_cast<uint32_t>(raw.data() - text_);
    if (begin > backslash_) FindBackslash(begin);
    return end > backslash_;
  }

  // Goes over the value here without looking into it beyond its brackets.
  bool Skip(JsonFailure& failure) {
    if (!BeginsScalar(Peek())) return SkipBrackets(failure);
    ++next_;
    return true;
  }
  // True for the first byte of a token that is neither a bracket nor a comma or colon.
  static bool BeginsScalar(char c) { return kScalars[static_cast<uint8_t>(c)]; }

  // For walks that keep the place in a register: where the tokens here begin in text(), up to tokens_end().
  const char* text() const { return text_; }
  const uint32_t* tokens() const { return next_; }
  const uint32_t* tokens_end() const { return end_; }
  void GoTo(const uint32_t* tokens) { next_ = tokens; }

  // Of an index over many rows: goes on to the first token at or behind a place in the text.
  void GoOnTo(uint32_t place) {
    while (next_ < end_ && *next_ < place) ++next_;
  }
  // The same from tokens where it stood before.
  void GoBackTo(const uint32_t* tokens) {
    next_ = tokens;
    depth_ = 0;
    if (next_ < end_) FindBackslash(*next_);
  }
  // True if the token before this one, which there has to be, is before a place, and this one is not.
  bool IsBetween(uint32_t place) const { return next_[-1] < place && (next_ >= end_ || *next_ >= place); }

  // Enters and leaves a bracket; false when kJsonDepth is passed.
  bool Enter(JsonFailure& failure) {
    if (depth_ >= limits::kJsonDepth) [[unlikely]]
      return TooDeep(failure);
    ++depth_;
    ++next_;
    return true;
  }
  void Leave() {
    --depth_;
    ++next_;
  }

  // Goes over `null` here; false with a reason for any other token.
  bool TakeNull(JsonFailure& failure);

  // Fails with `expected <what>, got <the value here, cut>`.
  bool Expected(std::string_view what, JsonFailure& failure) const;

 private:
  void FindBackslash(uint32_t from) {
    const auto* found = static_cast<const char*>(std::memchr(text_ + from, '\\', size_ - from));
    backslash_ = found == nullptr ? size_ : static_cast<uint32_t>(found - text_);
  }
  static bool TooDeep(JsonFailure& failure);
  bool SkipBrackets(JsonFailure& failure);

  static constexpr std::array<bool, 256> kScalars = [] {
    std::array<bool, 256> scalars{};
    for (bool& each : scalars) each = true;
    for (const char c : {'{', '}', '[', ']', ',', ':', '\0'}) scalars[static_cast<uint8_t>(c)] = false;
    return scalars;
  }();

  const char* text_ = nullptr;
  const uint32_t* next_ = nullptr;
  const uint32_t* end_ = nullptr;
  uint32_t size_ = 0;
  uint32_t backslash_ = 0;  // first one at or behind the last place asked for, size_ if there is none
  int32_t depth_ = 0;
};

// Resolves the escapes of `raw` into `out`, which has room for raw.size() bytes, and sets the size written. A
// bad escape or half of a surrogate pair fails.
bool UnescapeJson(std::string_view raw, char* out, size_t* size, JsonFailure& failure);

// The value as shown in errors: at most 60 bytes of it, cut at a character, control characters escaped.
std::string ShownJson(std::string_view text);

}  // namespace frazil
