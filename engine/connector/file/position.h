#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/status.h"
#include "connector/file/listing.h"

namespace frazil::file {

// How far a lane has been read: the file being read and those already read. JSON:
// {"v":1, "file": key of the file being read or "", "offset": bytes of it (uncompressed) or "row": rows of
// it,
//  "done": [[key, bytes], ...] files read to that size, "floor": files with keys up to it are read as well}.
// `done` lists at most kDoneFiles; above that the lowest ones go under the floor.
struct Position {
  static constexpr size_t kDoneFiles = 512;

  std::string file;
  int64_t offset = 0;  // bytes, rows for Parquet
  std::map<std::string, int64_t> done;
  std::string floor;

  static Result<Position> Parse(const std::string& json);
  std::string ToJson(bool rows) const;

  // Notes that the file being read has been read up to `size` bytes; no file is being read then.
  void Finish(int64_t size);
  // Moves what is above the bound under the floor, except past a key in `waiting` (files not yet read,
  // ascending).
  void Lower(const std::vector<std::string>& waiting);
};

// Where a bounded run stops: the lane's files with their sizes when it began. JSON: {"v":1,"files":[[key,
// bytes], ...]}.
struct End {
  std::map<std::string, int64_t> files;

  static Result<End> Parse(const std::string& json);
  static std::string Of(const Lane& lane);
};

}  // namespace frazil::file
