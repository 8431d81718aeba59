#include "connector/file/options.h"

#include <map>

namespace frazil::file {
namespace {

using nlohmann::json;

Status Bad(const std::string& option, const std::string& expected, const json& got) {
  return Error(ErrorKind::kConfig,
               "files: option \"" + option + "\": expected " + expected + ", got " + got.dump());
}

template <typename T>
Result<T> Word(const json& options, const char* option, const std::map<std::string, T>& words, T otherwise) {
  const auto found = options.find(option);
  if (found == options.end() || found->is_null()) return otherwise;
  std::string known;
  for (const auto& [word, value] : words) {
    if (*found == word) return value;
    known += (known.empty() ? "" : ", ") + word;
  }
  return Bad(option, "one of " + known, *found);
}

Result<std::vector<std::string>> Paths(const char* option, const json& list) {
  std::vector<std::string> paths;
  if (!list.is_array() || list.empty()) return Bad(option, "a list of paths", list);
  for (const json& path : list) {
    if (!path.is_string() || path.get_ref<const std::string&>().empty())
      return Bad(option, "a list of paths", list);
    paths.push_back(path.get<std::string>());
  }
  return paths;
}

Status ParseLanes(const json& options, Options* parsed) {
  const auto lanes = options.find("lanes");
  if (lanes != options.end() && lanes->is_array()) {
    parsed->lanes = Lanes::kListed;
    if (lanes->empty()) return Bad("lanes", "lists of paths", *lanes);
    for (const json& list : *lanes) {
      FZ_ASSIGN(auto paths, Paths("lanes", list));
      parsed->lists.push_back(std::move(paths));
    }
    return Status::OK();
  }
  FZ_ASSIGN(parsed->lanes,
            Word<Lanes>(options, "lanes",
                        {{"one", Lanes::kOne}, {"by_folder", Lanes::kByFolder}, {"each", Lanes::kEach}},
                        Lanes::kOne));
  const auto ordered = options.find("ordered");
  if (ordered != options.end() && !ordered->is_null()) {
    if (!ordered->is_boolean()) return Bad("ordered", "true or false", *ordered);
    if (!ordered->get<bool>()) parsed->lanes = Lanes::kEach;
  }
  FZ_ASSIGN(auto paths, Paths("paths", options.value("paths", json::array())));
  parsed->lists.push_back(std::move(paths));
  return Status::OK();
}

Status ParseMetadata(const json& options, Options* parsed) {
  const auto names = options.find("metadata");
  if (names == options.end() || names->is_null()) return Status::OK();
  if (!names->is_array()) return Bad("metadata", "a list of \"path\" and \"offset\"", *names);
  for (const json& name : *names) {
    if (name == "path") {
      parsed->with_path = true;
    } else if (name == "offset") {
      parsed->with_offset = true;
    } else {
      return Bad("metadata", "\"path\" or \"offset\"", name);
    }
  }
  return Status::OK();
}

}  // namespace

Result<Options> ParseOptions(const json& options) {
  if (!options.is_object()) return Error(ErrorKind::kConfig, "files: expected an object of options");
  Options parsed;
  FZ_TRY(ParseLanes(options, &parsed));
  FZ_TRY(ParseMetadata(options, &parsed));
  FZ_ASSIGN(parsed.format,
            Word<Format>(options, "format", {{"json", Format::kJson}, {"parquet", Format::kParquet}},
                         Format::kJson));
  FZ_ASSIGN(parsed.compression, Word<Compression>(options, "compression",
                                                  {{"auto", Compression::kAuto},
                                                   {"none", Compression::kNone},
                                                   {"gzip", Compression::kGzip},
                                                   {"zstd", Compression::kZstd}},
                                                  Compression::kAuto));
  FZ_ASSIGN(parsed.on_removed,
            Word<OnRemoved>(options, "on_removed", {{"fail", OnRemoved::kFail}, {"skip", OnRemoved::kSkip}},
                            OnRemoved::kFail));
  FZ_ASSIGN([[maybe_unused]] const int order, Word<int>(options, "order_by", {{"name", 0}}, 0));
  const auto every = options.find("watch_every_ms");
  if (every != options.end() && !every->is_null()) {
    if (!every->is_number_integer() || every->get<int64_t>() < 1)
      return Bad("watch_every_ms", "milliseconds", *every);
    parsed.watch_every_ms = every->get<int64_t>();
  }
  parsed.s3 = options.value("s3", json());
  return parsed;
}

}  // namespace frazil::file
