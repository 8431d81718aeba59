#pragma once

#include <arrow/io/interfaces.h>

#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "base/filesystem.h"

namespace frazil {

// The folder a sink writes its data files into, shared by all of them; thread-safe.
// Rule of durability: a file is written under its final name, which nobody looks for before a token names it.
// Close() of a local file syncs the file, then its folder; folders are synced into their parents when they
// are made. On S3 the upload is complete. Only then may a token name the file.
class DataFolder : public std::enable_shared_from_this<DataFolder> {
 public:
  // `uri` as in MakeFilePlace.
  static Result<std::shared_ptr<DataFolder>> Open(const std::string& uri, const nlohmann::json& s3);

  // A stream to a new file. The file, and its folder, come into being with the first bytes after the magic
  // number, so that open writers without a full row group hold no descriptor and no upload buffers. `name` is
  // relative to the folder and may hold slashes.
  std::shared_ptr<arrow::io::OutputStream> Create(const std::string& name);

  // Removes a file if it is there; for files that no token names.
  Status Remove(const std::string& name);

  std::string Uri(const std::string& name) const { return uri_ + "/" + name; }
  bool local() const { return place_.local; }

 private:
  friend class DataFileOutput;
  DataFolder(std::string uri, FilePlace place) : uri_(std::move(uri)), place_(std::move(place)) {}
  Status MakeParent(const std::string& path);

  std::string uri_;
  FilePlace place_;
  std::mutex mutex_;
  std::set<std::string> made_;  // folders that exist and are durable
};

}  // namespace frazil
