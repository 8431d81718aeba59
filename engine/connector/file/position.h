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
//  "done": [[key, bytes], ...] files read to that size, "floor": files with keys up to it are read as well,
//  "below": [how many these are, digest of their keys and sizes],
//  "base": bytes or rows, "left": bytes}.
// `done` lists at most kDoneFiles and kDoneBytes; above that the lowest ones go under the floor.
struct Position {
  static constexpr size_t kDoneFiles = 512;
  static constexpr size_t kDoneBytes = 32
                                       << 10;  // bytes of keys in `done`; a manifest takes 64 KiB a position

  // The files under the floor, so that one that comes or changes there is noticed.
  struct Below {
    int64_t files = 0;
    uint64_t digest = 0;  // sum over the files
    void Add(const std::string& key, int64_t size);
    bool operator==(const Below&) const = default;
  };

  std::string file;
  int64_t offset = 0;  // bytes, rows for Parquet
  std::map<std::string, int64_t> done;
  std::string floor;
  Below below;
  bool below_known = true;  // false: of a position that was written without
  // base + a row's place in `file` rises over all files of the lane, in reading order. base + offset is what
  // was read of the lane so far: (uncompressed) bytes, rows for Parquet.
  int64_t base = 0;
  int64_t left = 0;  // bytes of files known to be there, and neither read nor being read

  // True if rows are known that were not read.
  bool unfinished() const { return !file.empty() || left > 0; }

  static Result<Position> Parse(const std::string& json);
  std::string ToJson(bool rows) const;

  // Begins to read a file, where it was left if it has been read before.
  void Begin(const std::string& key);
  // Notes that the file being read has been read up to `size` bytes; no file is being read then.
  void Finish(int64_t size);
  // Moves what is above the bound under the floor, except past a key in `waiting` (files not yet read,
  // ascending).
  void Lower(const std::vector<std::string>& waiting);
  // True if `done` is above its bound.
  bool Crowded() const;
};

// Where a bounded run stops: the lane's files with their sizes when it began. JSON: {"v":1,"files":[[key,
// bytes], ...]}.
struct End {
  std::map<std::string, int64_t> files;

  static Result<End> Parse(const std::string& json);
  static std::string Of(const Lane& lane);
};

}  // namespace frazil::file
