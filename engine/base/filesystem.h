#pragma once

#include <arrow/filesystem/filesystem.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "base/status.h"

namespace frazil {

// A place for files: a file system, and the path of the place in it.
struct FilePlace {
  std::shared_ptr<arrow::fs::FileSystem> fs;
  std::string path;  // without a slash at the end
  bool local = false;
};

// Opens the place a URI names: "file:///a/b", "/a/b", or "s3://bucket/a/b" (s3a and s3n too). What follows
// the scheme is taken as it is, without percent-decoding, as Iceberg's readers do. `s3` (may be null):
// {"endpoint": "http://host:port", "region", "access_key_id", "secret_access_key", "session_token",
// "role_arn", "force_virtual_addressing", "anonymous"}; without keys the usual chain (environment, profile,
// instance) is asked. kConfig errors; no secret is in them. May be called by any thread.
Result<FilePlace> MakeFilePlace(const std::string& uri, const nlohmann::json& s3);

// Makes what was written to a local file, or the names in a local folder, survive a power loss.
Status SyncFile(const std::string& path);
Status SyncFolder(const std::string& path);

}  // namespace frazil
