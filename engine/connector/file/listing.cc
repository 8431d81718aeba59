#include "connector/file/listing.h"

#include <arrow/util/utf8.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <set>

#include "base/limits.h"

namespace frazil::file {
namespace {

// Matches one [...] at pattern[0]; sets the length of it. False also if it is not closed.
bool MatchesSet(std::string_view pattern, char c, size_t* length) {
  size_t i = 1;
  const bool negated = i < pattern.size() && (pattern[i] == '!' || pattern[i] == '^');
  if (negated) ++i;
  const size_t first = i;
  bool found = false;
  for (; i < pattern.size() && (pattern[i] != ']' || i == first); ++i) {
    if (i + 2 < pattern.size() && pattern[i + 1] == '-' && pattern[i + 2] != ']') {
      found = found || (pattern[i] <= c && c <= pattern[i + 2]);
      i += 2;
    } else {
      found = found || pattern[i] == c;
    }
  }
  *length = i + 1;
  return i < pattern.size() && found != negated;
}

// Files that other programs hide: temporary ones, markers.
bool IsHidden(std::string_view name) { return name.starts_with('.') || name.starts_with('_'); }

// True if a step of the path behind `folder` is hidden: a file in `_frazil/` or `_temporary/` is in the
// making too.
// `_day=3` is a partition's folder.
bool IsHiddenIn(std::string_view folder, std::string_view path) {
  path.remove_prefix(std::min(folder.size(), path.size()));
  while (path.starts_with('/')) path.remove_prefix(1);
  for (size_t cut = path.find('/'); cut != std::string_view::npos; cut = path.find('/')) {
    const std::string_view step = path.substr(0, cut);
    if (IsHidden(step) && (step[0] == '.' || step.find('=') == std::string_view::npos)) return true;
    path.remove_prefix(cut + 1);
  }
  return IsHidden(path);
}

std::string FolderOf(const std::string& path) {
  const size_t cut = path.rfind('/');
  return cut == std::string::npos ? "" : cut == 0 ? "/" : path.substr(0, cut);
}

// True if a step of the pattern asks for hidden names.
bool NamesHidden(std::string_view pattern) {
  for (size_t at = 0; at < pattern.size();) {
    const size_t cut = std::min(pattern.find('/', at), pattern.size());
    if (IsHidden(pattern.substr(at, cut - at))) return true;
    at = cut + 1;
  }
  return false;
}

// The part of a pattern before its first step with a sign in it.
std::string FixedFolder(const std::string& pattern) {
  return FolderOf(pattern.substr(0, pattern.find_first_of("*?[")));
}

// The key of a file in a listed lane: the pattern's place first.
std::string ListedKey(size_t pattern, const std::string& path) {
  char place[16];
  std::snprintf(place, sizeof(place), "%06zu:", pattern);
  return place + path;
}

Status NothingThere(const std::string& pattern) {
  const bool glob = IsGlob(pattern);
  return Error(ErrorKind::kConfig, std::string("listing files: ") +
                                       (glob ? "no file matches \"" : "there is no file or folder \"") +
                                       pattern + "\"\n  correct the path, or put the files there first");
}

}  // namespace

bool IsGlob(std::string_view text) { return text.find_first_of("*?[") != std::string_view::npos; }

bool MatchesGlob(std::string_view pattern, std::string_view path) {
  while (!pattern.empty()) {
    if (pattern.starts_with("**")) {
      std::string_view rest = pattern.substr(2);
      if (rest.starts_with('/') && MatchesGlob(rest.substr(1), path))
        return true;  // `**/` may be no step at all
      for (size_t i = 0; i <= path.size(); ++i) {
        if (MatchesGlob(rest, path.substr(i))) return true;
      }
      return false;
    }
    if (pattern[0] == '*') {
      for (size_t i = 0;; ++i) {
        if (MatchesGlob(pattern.substr(1), path.substr(i))) return true;
        if (i == path.size() || path[i] == '/') return false;
      }
    }
    if (path.empty()) return false;
    size_t length = 1;
    if (pattern[0] == '[') {
      if (path[0] == '/' || !MatchesSet(pattern, path[0], &length)) return false;
    } else if (pattern[0] == '?' ? path[0] == '/' : pattern[0] != path[0]) {
      return false;
    }
    pattern.remove_prefix(length);
    path.remove_prefix(1);
  }
  return path.empty();
}

Result<Listing> Listing::Make(Options options) {
  arrow::util::InitializeUTF8();
  Listing listing;
  listing.options_ = std::move(options);
  for (const auto& list : listing.options_.lists) {
    auto& patterns = listing.patterns_.emplace_back();
    for (const auto& path : list) {
      FZ_ASSIGN(auto place, MakeFilePlace(path, listing.options_.s3));
      if (listing.fs_ == nullptr) {
        listing.fs_ = place.fs;
        listing.local_ = place.local;
      } else if (listing.local_ != place.local) {
        return Error(
            ErrorKind::kConfig,
            "files: one source reads either local files or S3, got both\n  make two sources and unite them");
      }
      patterns.push_back(std::move(place.path));
    }
  }
  return listing;
}

Result<std::vector<arrow::fs::FileInfo>> Listing::Select(const std::string& folder, bool deep) const {
  arrow::fs::FileSelector selector;
  selector.base_dir = folder;
  selector.recursive = deep;
  selector.allow_not_found = true;
  auto found = fs_->GetFileInfo(selector);
  if (found.ok()) return found;
  return Error(ErrorKind::kConnect, "listing \"" + folder + "\": " + found.status().message(),
               /*retryable=*/true);
}

Result<std::vector<arrow::fs::FileInfo>> Listing::Match(const std::string& pattern, bool must_exist) const {
  std::vector<arrow::fs::FileInfo> matched;
  if (!IsGlob(pattern)) {
    auto info = fs_->GetFileInfo(pattern);
    if (!info.ok()) {
      return Error(ErrorKind::kConnect, "looking for \"" + pattern + "\": " + info.status().message(), true);
    }
    if (info->type() == arrow::fs::FileType::NotFound) return NothingThere(pattern);
    if (info->type() == arrow::fs::FileType::File) return std::vector{*info};
    FZ_ASSIGN(auto inside, Select(pattern, /*deep=*/true));
    for (auto& one : inside) {
      if (one.type() == arrow::fs::FileType::File && !IsHiddenIn(pattern, one.path()))
        matched.push_back(std::move(one));
    }
  } else {
    const std::string folder = FixedFolder(pattern);
    const std::string rest = pattern.substr(std::min(pattern.size(), folder.size()));
    const bool deep = std::count(rest.begin(), rest.end(), '/') > 1 || rest.find("**") != std::string::npos;
    FZ_ASSIGN(auto inside, Select(folder, deep));
    const bool wants_hidden = NamesHidden(rest);
    for (auto& one : inside) {
      if (one.type() != arrow::fs::FileType::File || (!wants_hidden && IsHiddenIn(folder, one.path())))
        continue;
      if (MatchesGlob(pattern, one.path())) matched.push_back(std::move(one));
    }
  }
  if (matched.empty() && must_exist) return NothingThere(pattern);
  return matched;
}

Result<std::vector<Lane>> Listing::Lanes(bool must_exist) const {
  std::map<std::string, std::map<std::string, Entry>> lanes;  // by name, then by key
  std::set<std::string> seen;
  const bool listed = options_.lanes == file::Lanes::kListed;
  for (size_t list = 0; list < patterns_.size(); ++list) {
    if (listed || options_.lanes == file::Lanes::kOne)
      lanes[listed ? "lane-" + std::to_string(list) : "files"];
    for (size_t at = 0; at < patterns_[list].size(); ++at) {
      FZ_ASSIGN(auto matched, Match(patterns_[list][at], must_exist));
      for (const auto& info : matched) {
        if (!arrow::util::ValidateUTF8(info.path())) {  // positions are JSON
          const std::string shown =
              nlohmann::json(info.path()).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
          return Error(ErrorKind::kConfig,
                       "listing files: the name " + shown + " is not UTF-8\n  rename the file");
        }
        if (!seen.insert((listed ? std::to_string(list) + ":" : "") + info.path()).second) continue;
        Entry entry{listed ? ListedKey(at, info.path()) : info.path(), info.path(), info.size()};
        std::string lane = "files";
        if (listed) lane = "lane-" + std::to_string(list);
        if (options_.lanes == file::Lanes::kByFolder) lane = FolderOf(info.path());
        if (options_.lanes == file::Lanes::kEach) lane = info.path();
        std::string key = entry.key;
        lanes[lane].emplace(std::move(key), std::move(entry));
      }
    }
  }
  if (static_cast<int64_t>(lanes.size()) > limits::kSourcePartitions) {
    return Error(ErrorKind::kConfig, "listing files: " + std::to_string(lanes.size()) + " lanes, at most " +
                                         std::to_string(limits::kSourcePartitions) +
                                         " are read\n  read fewer files, or read them as one lane");
  }
  std::vector<Lane> made;
  for (auto& [name, files] : lanes) {
    Lane& lane = made.emplace_back(Lane{name, {}});
    for (auto& [key, entry] : files) lane.files.push_back(std::move(entry));
  }
  return made;
}

}  // namespace frazil::file
