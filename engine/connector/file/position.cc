#include "connector/file/position.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace frazil::file {
namespace {

using nlohmann::json;

Status Broken(const std::string& text) {
  return Error(ErrorKind::kState,
               "reading a position of files: expected {\"v\":1,...}, got " + text.substr(0, 200));
}

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
  if (position.offset < 0) return Broken(text);
  return position;
}

std::string Position::ToJson(bool rows) const {
  json made = {{"v", 1}, {"file", file}, {rows ? "row" : "offset", offset}};
  if (!floor.empty()) made["floor"] = floor;
  json& list = made["done"] = json::array();
  for (const auto& [key, size] : done) list.push_back({key, size});
  return made.dump();
}

void Position::Finish(int64_t size) {
  done[file] = size;
  file.clear();
  offset = 0;
}

void Position::Lower(const std::vector<std::string>& waiting) {
  while (done.size() > kDoneFiles) {
    const std::string& lowest = done.begin()->first;
    if (!waiting.empty() && waiting.front() < lowest) return;
    if (!file.empty() && file < lowest) return;
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
