#include "base/filesystem.h"

#include <arrow/filesystem/localfs.h>
#include <arrow/filesystem/s3fs.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <utility>

namespace frazil {
namespace {

Status BadS3(const std::string& what) { return Error(ErrorKind::kConfig, "reading the S3 options: " + what); }

Result<std::string> Text(const nlohmann::json& json, const char* key) {
  const auto found = json.find(key);
  if (found == json.end() || found->is_null()) return std::string();
  if (!found->is_string()) return BadS3("\"" + std::string(key) + "\" is not a string");
  return found->get<std::string>();
}

Result<bool> Flag(const nlohmann::json& json, const char* key) {
  const auto found = json.find(key);
  if (found == json.end() || found->is_null()) return false;
  if (!found->is_boolean()) return BadS3("\"" + std::string(key) + "\" is not true or false");
  return found->get<bool>();
}

Status SetCredentials(const nlohmann::json& json, arrow::fs::S3Options* options) {
  FZ_ASSIGN(const std::string key, Text(json, "access_key_id"));
  FZ_ASSIGN(const std::string secret, Text(json, "secret_access_key"));
  FZ_ASSIGN(const std::string token, Text(json, "session_token"));
  FZ_ASSIGN(const std::string role, Text(json, "role_arn"));
  FZ_ASSIGN(const bool anonymous, Flag(json, "anonymous"));
  if (key.empty() != secret.empty())
    return BadS3("give both of \"access_key_id\" and \"secret_access_key\", or none");
  if (anonymous) {
    options->ConfigureAnonymousCredentials();
  } else if (!key.empty()) {
    options->ConfigureAccessKey(key, secret, token);
  } else if (!role.empty()) {
    options->ConfigureAssumeRoleCredentials(role);
  } else {
    options->ConfigureDefaultCredentials();
  }
  return Status::OK();
}

Result<std::shared_ptr<arrow::fs::FileSystem>> NewS3(const nlohmann::json& given) {
  const nlohmann::json json = given.is_null() ? nlohmann::json::object() : given;
  if (!json.is_object()) return BadS3("expected an object");
  static const std::set<std::string> kKeys = {"endpoint",
                                              "region",
                                              "access_key_id",
                                              "secret_access_key",
                                              "session_token",
                                              "role_arn",
                                              "force_virtual_addressing",
                                              "anonymous"};
  for (const auto& [key, value] : json.items()) {
    if (!kKeys.contains(key)) return BadS3("unknown option \"" + key + "\"");
  }
  FZ_TRY(arrow::fs::EnsureS3Initialized());
  auto options = arrow::fs::S3Options::Defaults();
  FZ_TRY(SetCredentials(json, &options));
  FZ_ASSIGN(options.region, Text(json, "region"));
  FZ_ASSIGN(std::string endpoint, Text(json, "endpoint"));
  if (const size_t scheme = endpoint.find("://"); scheme != std::string::npos) {
    options.scheme = endpoint.substr(0, scheme);
    endpoint = endpoint.substr(scheme + 3);
  }
  while (endpoint.ends_with('/')) endpoint.pop_back();
  options.endpoint_override = endpoint;
  FZ_ASSIGN(options.force_virtual_addressing, Flag(json, "force_virtual_addressing"));
  options.allow_delayed_open = true;  // one request for a small file
  FZ_ASSIGN(auto fs, arrow::fs::S3FileSystem::Make(options));
  return fs;
}

// One for all places that are reached alike, as long as any of them is in use: each has connections of its
// own.
Result<std::shared_ptr<arrow::fs::FileSystem>> MakeS3(const nlohmann::json& given) {
  static std::mutex mutex;
  static std::map<nlohmann::json, std::weak_ptr<arrow::fs::FileSystem>> made;
  std::lock_guard lock(mutex);
  std::erase_if(made, [](const auto& each) { return each.second.expired(); });
  if (auto known = made[given].lock()) return known;
  FZ_ASSIGN(auto fs, NewS3(given));
  made[given] = fs;
  return fs;
}

Status SyncPath(const std::string& path, int flags) {
  const int file = ::open(path.c_str(), flags | O_CLOEXEC);
  if (file < 0) return Error(ErrorKind::kSink, "opening " + path + " to sync it: " + std::strerror(errno));
  const int failed = ::fsync(file) == 0 ? 0 : errno;
  ::close(file);
  if (failed != 0) return Error(ErrorKind::kSink, "syncing " + path + ": " + std::strerror(failed));
  return Status::OK();
}

}  // namespace

Result<FilePlace> MakeFilePlace(const std::string& uri, const nlohmann::json& s3) {
  FilePlace place;
  const size_t scheme_end = uri.find("://");
  const std::string scheme = scheme_end == std::string::npos ? "" : uri.substr(0, scheme_end);
  place.path = scheme_end == std::string::npos ? uri : uri.substr(scheme_end + 3);
  while (place.path.size() > 1 && place.path.ends_with('/')) place.path.pop_back();
  if (scheme == "s3" || scheme == "s3a" || scheme == "s3n") {
    FZ_ASSIGN(place.fs, MakeS3(s3));
    return place;
  }
  if (uri.starts_with("file:/") && scheme.empty()) place.path = uri.substr(5);
  if (scheme == "file" && place.path.starts_with("localhost/")) place.path = place.path.substr(9);
  if ((!scheme.empty() && scheme != "file") || !place.path.starts_with('/')) {
    return Error(ErrorKind::kConfig,
                 "opening \"" + uri + "\": expected file:///folder, /folder or s3://bucket/folder");
  }
  place.fs = std::make_shared<arrow::fs::LocalFileSystem>();
  place.local = true;
  return place;
}

Status SyncFile(const std::string& path) { return SyncPath(path, O_RDONLY); }
Status SyncFolder(const std::string& path) { return SyncPath(path, O_RDONLY | O_DIRECTORY); }

}  // namespace frazil
