#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/filesystem.h"
#include "base/status.h"

namespace frazil::file {

enum class Format { kJson, kParquet };
enum class Compression { kAuto, kNone, kGzip, kZstd };
// What to do if the file being read, or all files left of a lane, are gone when a run starts.
enum class OnRemoved { kFail, kSkip };
enum class Lanes {
  kOne,       // all files in one sequence, by name
  kByFolder,  // one sequence a folder
  kEach,      // every file its own partition: their order means nothing
  kListed,    // one sequence a given list of paths, in the order of the list
};

// What a source of files reads, from its node of the plan:
// {"paths": [path, folder or pattern, ...], "format": "json" | "parquet", "compression": "auto" | "none" |
// "gzip" | "zstd", "lanes": "one" | "by_folder" | "each" | [[path, ...], ...], "ordered": false is the same
// as lanes "each", "watch_every_ms": n, "on_removed": "fail" | "skip", "metadata": ["path", "offset"],
// "order_by": "name", "s3": see MakeFilePlace}.
struct Options {
  std::vector<std::vector<std::string>> lists;  // of patterns; one list unless lanes are listed
  Format format = Format::kJson;
  Compression compression = Compression::kAuto;
  Lanes lanes = Lanes::kOne;
  int64_t watch_every_ms = 10'000;
  OnRemoved on_removed = OnRemoved::kFail;
  bool with_path = false;    // metadata column _path, string
  bool with_offset = false;  // metadata column _offset, int64
  nlohmann::json s3;
};

// kConfig errors name the option.
Result<Options> ParseOptions(const nlohmann::json& json);

}  // namespace frazil::file
