#include <algorithm>
#include <nlohmann/json.hpp>

#include "format/json_object.h"

namespace frazil {
namespace {

constexpr size_t kKeysMax = 1024;     // keys remembered of one object; more are looked up each time
constexpr size_t kKeyBytesMax = 256;  // bytes of an unread key worth remembering

Result<std::string> UnescapePointer(std::string_view step) {
  std::string key;
  for (size_t i = 0; i < step.size(); ++i) {
    if (step[i] != '~') {
      key += step[i];
      continue;
    }
    const char code = i + 1 < step.size() ? step[++i] : '\0';
    if (code != '0' && code != '1') {
      return Error(ErrorKind::kConfig,
                   "bad JSON pointer step \"" + std::string(step) + "\"\n  write ~ as ~0 and / as ~1");
    }
    key += code == '0' ? '~' : '/';
  }
  return key;
}

}  // namespace

JsonKeys::JsonKeys() {
  unknown_.plain = false;
  first_.plain = false;
}

JsonKeys::Key* JsonKeys::Insert(std::string_view name) {
  auto key = std::make_unique<Key>();
  key->name.assign(name);
  key->size = name.size();
  std::memcpy(&key->head, name.data(), std::min(name.size(), sizeof(key->head)));
  std::memset(&key->head_mask, 0xff, std::min(name.size(), sizeof(key->head)));
  key->plain = name.find_first_of("\"\\") == std::string_view::npos;
  Key* made = key.get();
  keys_.push_back(std::move(key));
  by_name_.emplace(made->text(), made);
  return made;
}

JsonKeys::Key* JsonKeys::Add(std::string_view name) {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? Insert(name) : found->second;
}

JsonKeys::Key* JsonKeys::Find(std::string_view name) {
  const auto found = by_name_.find(name);
  if (found != by_name_.end()) return found->second;
  if (keys_.size() >= kKeysMax || name.size() > kKeyBytesMax) return &unknown_;
  return Insert(name);
}

JsonKeys::Key* JsonKeys::Look(JsonCursor& cursor, Key* before, JsonFailure& failure) {
  if (cursor.Peek() != '"') [[unlikely]] {
    cursor.Expected("a key", failure);
    return nullptr;
  }
  std::string_view name = cursor.TakeRawString();
  if (cursor.HasEscape(name)) {
    scratch_.resize(name.size());
    size_t size = 0;
    if (!UnescapeJson(name, scratch_.data(), &size, failure)) return nullptr;
    name = std::string_view(scratch_).substr(0, size);
  }
  Key* const key = Find(name);
  if (before != &unknown_) before->next = key;
  return key;
}

Result<std::vector<std::string>> ParseJsonSource(const std::string& source) {
  std::vector<std::string> keys;
  if (source.front() == '[') {
    const auto list = nlohmann::json::parse(source, nullptr, /*allow_exceptions=*/false);
    bool good = list.is_array() && !list.empty();
    if (good) {
      for (const auto& key : list) good = good && key.is_string();
    }
    if (!good) return Error(ErrorKind::kConfig, "expected a JSON list of keys as source, got " + source);
    for (const auto& key : list) keys.push_back(key.get<std::string>());
    return keys;
  }
  const bool pointer = source.front() == '/';
  std::string_view rest(source);
  if (pointer) rest.remove_prefix(1);
  for (;;) {
    const size_t cut = rest.find(pointer ? '/' : '.');
    const std::string_view step = rest.substr(0, cut);
    if (step.empty() && !pointer) {
      return Error(ErrorKind::kConfig, "empty key in source \"" + source +
                                           "\"\n  write keys that hold dots as a JSON pointer: /a.b");
    }
    if (pointer) {
      FZ_ASSIGN(auto key, UnescapePointer(step));
      keys.push_back(std::move(key));
    } else {
      keys.emplace_back(step);
    }
    if (cut == std::string_view::npos) return keys;
    rest.remove_prefix(cut + 1);
  }
}

}  // namespace frazil
