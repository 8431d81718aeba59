#include "connector/file/position.h"

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>

namespace frazil::file {
namespace {

using nlohmann::json;

Status Broken(const std::string& text) {
  return Error(ErrorKind::kState,
               "reading a position of files: expected {\"v\":1,...}, got " + text.substr(0, 200));
}

constexpr int64_t kPlaceMax = int64_t{1} << 61;  // bytes or rows; sums of two stay in an int64

// [[key, bytes], ...]
bool ReadSizes(const json& list, std::map<std::string, int64_t>* sizes) {
  if (!list.is_array()) return false;
  for (const json& pair : list) {
    if (!pair.is_array() || pair.size() != 2 || !pair[0].is_string() || !pair[1].is_number_integer())
      return false;
    (*sizes)[pair[0].get<std::string>()] = pair[1].get<int64_t>();
  }
  return true;
}

}  // namespace

Result<Position> Position::Parse(const std::string& text) {
  const json parsed = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_object() || parsed.value("v", json()) != 1) return Broken(text);
  Position position;
  const json file = parsed.value("file", json(""));
  const json floor = parsed.value("floor", json(""));
  const json offset = parsed.contains("row") ? parsed["row"] : parsed.value("offset", json(0));
  if (!file.is_string() || !floor.is_string() || !offset.is_number_integer()) return Broken(text);
  if (!ReadSizes(parsed.value("done", json::array()), &position.done)) return Broken(text);
  position.file = file.get<std::string>();
  position.floor = floor.get<std::string>();
  position.offset = offset.get<int64_t>();
  const json base = parsed.value("base", json(0));
  const json left = parsed.value("left", json(0));
  if (!base.is_number_integer() || !left.is_number_integer()) return Broken(text);
  position.base = base.get<int64_t>();
  position.left = left.get<int64_t>();
  if (position.offset < 0 || position.offset > kPlaceMax || std::abs(position.base) > kPlaceMax) {
    return Broken(text);
  }
  const json below = parsed.value("below", json());
  if (below.is_array() && below.size() == 2 && below[0].is_number_integer() && below[1].is_number_integer()) {
    position.below = {below[0].get<int64_t>(), below[1].get<uint64_t>()};
  } else if (below.is_null()) {
    position.below_known = position.floor.empty();
  } else {
    return Broken(text);
  }
  return position;
}

std::string Position::ToJson(bool rows) const {
  json made = {{"v", 1}, {"file", file}, {rows ? "row" : "offset", offset}};
  if (!floor.empty()) made["floor"] = floor;
  if (!floor.empty() && below_known) made["below"] = {below.files, below.digest};
  if (base != 0) made["base"] = base;
  if (left != 0) made["left"] = left;
  json& list = made["done"] = json::array();
  for (const auto& [key, size] : done) list.push_back({key, size});
  return made.dump();
}

void Position::Begin(const std::string& key) {
  file = key;
  offset = 0;
  if (const auto found = done.find(key); found != done.end()) {
    offset = found->second;
    done.erase(found);
  }
  base -= offset;
}

void Position::Finish(int64_t size) {
  done[file] = size;
  file.clear();
  base += offset;
  offset = 0;
}

void Position::Below::Add(const std::string& key, int64_t size) {
  // FNV-1a: the same in every build and on every machine.
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : key + ":" + std::to_string(size))
    hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3u;
  ++files;
  digest += hash;
}

bool Position::Crowded() const {
  if (done.size() > kDoneFiles) return true;
  size_t bytes = 0;
  for (const auto& [key, size] : done) bytes += key.size();
  return bytes > kDoneBytes;
}

void Position::Lower(const std::vector<std::string>& waiting) {
  while (Crowded()) {
    const std::string& lowest = done.begin()->first;
    if (!waiting.empty() && waiting.front() < lowest) return;
    if (!file.empty() && file < lowest) return;
    below.Add(lowest, done.begin()->second);
    floor = lowest;
    done.erase(done.begin());
  }
}

Result<End> End::Parse(const std::string& text) {
  const json parsed = json::parse(text, nullptr, /*allow_exceptions=*/false);
  End end;
  if (!parsed.is_object() || parsed.value("v", json()) != 1 ||
      !ReadSizes(parsed.value("files", json()), &end.files)) {
    return Broken(text);
  }
  return end;
}

std::string End::Of(const Lane& lane) {
  json list = json::array();
  for (const Entry& file : lane.files) list.push_back({file.key, file.size});
  return json{{"v", 1}, {"files", std::move(list)}}.dump();
}

}  // namespace frazil::file
