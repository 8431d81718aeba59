#pragma once

#include <arrow/filesystem/filesystem.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "connector/file/options.h"

namespace frazil::file {

struct Entry {
  std::string key;   // its place in the lane's order; unique in the lane
  std::string path;  // as the file system takes it
  int64_t size = 0;  // bytes
};

// Files read as one sequence, by key.
struct Lane {
  std::string name;  // of the partition
  std::vector<Entry> files;
};

// Finds the files that the options name. Not thread-safe; a listing costs one request a folder.
class Listing {
 public:
  static Result<Listing> Make(Options options);

  // All lanes there are now, by name. Files whose name, or that of a folder below the path, begins with
  // '.' or '_' are left out unless a pattern asks for them. With `must_exist`, a path without a file there is
  // an error, and so is a pattern that nothing matches; else only a path or folder that is not there.
  Result<std::vector<Lane>> Lanes(bool must_exist) const;

  const std::shared_ptr<arrow::fs::FileSystem>& fs() const { return fs_; }
  const Options& options() const { return options_; }
  bool local() const { return local_; }

 private:
  Result<std::vector<arrow::fs::FileInfo>> Match(const std::string& pattern, bool must_exist) const;
  Result<std::vector<arrow::fs::FileInfo>> Select(const std::string& folder, bool deep) const;

  Options options_;
  std::vector<std::vector<std::string>> patterns_;  // as options_.lists, without scheme
  std::shared_ptr<arrow::fs::FileSystem> fs_;
  bool local_ = false;
};

// True if the path matches the pattern: `*` and `?` within a step, `[abc]`, `[a-z]`, `[!a]`, `**` over any
// steps.
bool MatchesGlob(std::string_view pattern, std::string_view path);

// True if the text holds one of the signs of a pattern.
bool IsGlob(std::string_view text);

}  // namespace frazil::file
