#include "connector/data_folder.h"

#include <filesystem>
#include <vector>

namespace frazil {

// Holds back a small head until more follows.
class DataFileOutput : public arrow::io::OutputStream {
 public:
  DataFileOutput(std::shared_ptr<DataFolder> folder, std::string path)
      : folder_(std::move(folder)), path_(std::move(path)) {}

  ~DataFileOutput() override { (void)Abort(); }

  Status Write(const void* data, int64_t bytes) override {
    position_ += bytes;
    if (file_ == nullptr) {
      head_.append(static_cast<const char*>(data), static_cast<size_t>(bytes));
      if (head_.size() <= kMagicBytes) return Status::OK();
      return Open();
    }
    return file_->Write(data, bytes);
  }
  Status Write(const std::shared_ptr<arrow::Buffer>& data) override {
    return Write(data->data(), data->size());
  }

  Status Flush() override { return file_ == nullptr ? Status::OK() : file_->Flush(); }

  Status Close() override {
    if (closed_) return Status::OK();
    if (file_ == nullptr) FZ_TRY(Open());
    closed_ = true;
    FZ_TRY(file_->Close());
    if (!folder_->local()) return Status::OK();
    FZ_TRY(SyncFile(path_));
    return SyncFolder(std::filesystem::path(path_).parent_path().string());
  }

  Status Abort() override {
    if (closed_) return Status::OK();
    closed_ = true;
    return file_ == nullptr ? Status::OK() : file_->Abort();
  }

  bool closed() const override { return closed_; }
  Result<int64_t> Tell() const override { return position_; }

 private:
  static constexpr size_t kMagicBytes = 4;

  Status Open() {
    if (folder_->local()) FZ_TRY(folder_->MakeParent(path_));
    FZ_ASSIGN(file_, folder_->place_.fs->OpenOutputStream(path_));
    FZ_TRY(file_->Write(head_.data(), static_cast<int64_t>(head_.size())));
    head_.clear();
    return Status::OK();
  }

  std::shared_ptr<DataFolder> folder_;
  std::string path_;
  std::string head_;
  std::shared_ptr<arrow::io::OutputStream> file_;
  int64_t position_ = 0;
  bool closed_ = false;
};

Result<std::shared_ptr<DataFolder>> DataFolder::Open(const std::string& uri, const nlohmann::json& s3) {
  FZ_ASSIGN(auto place, MakeFilePlace(uri, s3));
  // Python and Iceberg's readers want a URI with a scheme.
  const bool bare = place.local && uri.find("://") == std::string::npos;
  return std::shared_ptr<DataFolder>(new DataFolder(bare ? "file://" + place.path : uri, place));
}

std::shared_ptr<arrow::io::OutputStream> DataFolder::Create(const std::string& name) {
  return std::make_shared<DataFileOutput>(shared_from_this(), place_.path + "/" + name);
}

Status DataFolder::Remove(const std::string& name) {
  const std::string path = place_.path + "/" + name;
  FZ_ASSIGN(const auto info, place_.fs->GetFileInfo(path));
  if (info.type() == arrow::fs::FileType::NotFound) return Status::OK();
  return place_.fs->DeleteFile(path);
}

Status DataFolder::MakeParent(const std::string& path) {
  namespace stdfs = std::filesystem;
  const stdfs::path folder = stdfs::path(path).parent_path();
  const std::lock_guard lock(mutex_);
  if (made_.contains(folder.string())) return Status::OK();
  // Folders inside the place are synced even if they were there: another worker may have made them just now.
  std::vector<stdfs::path> unsynced;  // deepest first
  std::error_code error;
  const stdfs::path outside = stdfs::path(place_.path).parent_path();
  bool inside = true;
  for (stdfs::path at = folder; at != at.root_path(); at = at.parent_path()) {
    inside = inside && at != outside;
    if (!inside && stdfs::exists(at, error)) break;
    unsynced.push_back(at);
  }
  FZ_TRY(place_.fs->CreateDir(folder.string(), /*recursive=*/true));
  for (const auto& made : unsynced) FZ_TRY(SyncFolder(made.parent_path().string()));
  made_.insert(folder.string());
  return Status::OK();
}

}  // namespace frazil
