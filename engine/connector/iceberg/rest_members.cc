#include "connector/iceberg/rest_members.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

namespace frazil::iceberg {
namespace {

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

// Goes over a text; past its end there is nothing.
class Walk {
 public:
  explicit Walk(std::string_view text) : text_(text) {}

  size_t at() const { return at_; }
  char here() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool end() const { return at_ >= text_.size(); }
  void spaces() {
    while (!end() && IsSpace(text_[at_])) ++at_;
  }
  bool take(char c) {
    if (here() != c || end()) return false;
    ++at_;
    return true;
  }
  // A string with its quotes.
  bool string() {
    if (!take('"')) return false;
    while (!end()) {
      const char c = text_[at_++];
      if (c == '\\') ++at_;
      if (c == '"') return true;
    }
    return false;
  }
  // A value, up to what ends it: a comma or a bracket of the object around it.
  bool value() {
    const size_t begin = at_;
    int64_t depth = 0;
    while (!end()) {
      const char c = here();
      if (c == '"') {
        if (!string()) return false;
        continue;
      }
      if (c == '{' || c == '[') ++depth;
      if (c == '}' || c == ']') {
        if (depth == 0) break;
        --depth;
      }
      if (c == ',' && depth == 0) break;
      ++at_;
    }
    return depth == 0 && at_ > begin;
  }

 private:
  std::string_view text_;
  size_t at_ = 0;
};

// The inside of a string that is written as it is; nullopt if it has to be parsed.
std::optional<std::string_view> Plain(std::string_view quoted) {
  if (quoted.size() < 2 || quoted.front() != '"' || quoted.back() != '"') return std::nullopt;
  const auto inside = quoted.substr(1, quoted.size() - 2);
  const bool plain = std::all_of(inside.begin(), inside.end(),
                                 [](char c) { return c >= 0x20 && c < 0x7f && c != '"' && c != '\\'; });
  return plain ? std::optional(inside) : std::nullopt;
}

}  // namespace

bool MembersOf(std::string_view text, std::vector<RestMember>* members) {
  members->clear();
  Walk walk(text);
  walk.spaces();
  if (!walk.take('{')) return false;
  walk.spaces();
  if (walk.take('}')) {
    walk.spaces();
    return walk.end();
  }
  while (true) {
    walk.spaces();
    const size_t begin = walk.at();
    if (!walk.string()) return false;
    const std::string_view key = text.substr(begin, walk.at() - begin);
    walk.spaces();
    if (!walk.take(':')) return false;
    walk.spaces();
    const size_t from = walk.at();
    if (!walk.value()) return false;
    size_t to = walk.at();
    while (to > from && IsSpace(text[to - 1])) --to;
    if (to == from) return false;
    members->push_back({key, text.substr(from, to - from), text.substr(begin, to - begin)});
    if (walk.take(',')) continue;
    if (!walk.take('}')) return false;
    walk.spaces();
    return walk.end();
  }
}

std::optional<std::string> TextOf(std::string_view quoted) {
  if (const auto plain = Plain(quoted)) return std::string(*plain);
  const auto parsed =
      nlohmann::json::parse(quoted.begin(), quoted.end(), nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_string()) return std::nullopt;
  return parsed.get<std::string>();
}

RestValue ValueOf(std::string_view value) {
  using Kind = RestValue::Kind;
  RestValue found;
  if (const auto plain = Plain(value)) {
    found.kind = Kind::kString;
    found.text = *plain;
    return found;
  }
  const auto parsed = nlohmann::json::parse(value.begin(), value.end(), nullptr, /*allow_exceptions=*/false);
  switch (parsed.type()) {
    case nlohmann::json::value_t::null:
      found.kind = Kind::kNull;
      break;
    case nlohmann::json::value_t::boolean:
      found.kind = Kind::kBool;
      found.boolean = parsed.get<bool>();
      break;
    case nlohmann::json::value_t::string:
      found.kind = Kind::kString;
      found.text = parsed.get<std::string>();
      break;
    case nlohmann::json::value_t::object:
    case nlohmann::json::value_t::array:
      found.kind = Kind::kJson;
      found.text = value;
      break;
    case nlohmann::json::value_t::number_float:
      found.number = parsed.get<double>();
      // An integer is one as it is written: the parser makes a double of one that is too large.
      if (value.find_first_of(".eE") != std::string_view::npos && std::isfinite(found.number)) {
        found.kind = Kind::kDouble;
      }
      break;
    case nlohmann::json::value_t::number_integer:
    case nlohmann::json::value_t::number_unsigned: {
      const char* last = value.data() + value.size();
      const auto [end, error] = std::from_chars(value.data(), last, found.integer);
      if (error == std::errc() && end == last) found.kind = Kind::kLong;
      break;
    }
    default:
      break;
  }
  return found;
}

}  // namespace frazil::iceberg
