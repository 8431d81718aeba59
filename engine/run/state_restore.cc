#include "run/state_restore.h"

#include <utility>

#include "state/key.h"

namespace frazil {

Result<std::unique_ptr<StateRestore>> StateRestore::Make(int workers, Give give) {
  auto made = std::unique_ptr<StateRestore>(new StateRestore(workers, std::move(give)));
  FZ_ASSIGN(made->readers_, arrow::internal::ThreadPool::Make(kRestoreThreads));
  for (int worker = 0; worker < workers; ++worker) {
    made->threads_.emplace_back([restore = made.get(), worker] { restore->run(worker); });
  }
  return made;
}

StateRestore::~StateRestore() {
  {
    std::lock_guard lock(mutex_);
    ended_ = failed_ = true;  // whatever is left is for nobody
  }
  static_cast<void>(finish());
}

Status StateRestore::add(const std::string& node, std::shared_ptr<arrow::Buffer> file) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return failed_ || files_.size() < kRestoreFiles; });
  if (failed_) return status_;
  auto made = std::make_shared<File>();
  made->node = node;
  FZ_ASSIGN(made->read, readers_->Submit([name = "of " + node, bytes = std::move(file)] {
    return ReadStateFile(name, bytes, "", 0, kKeyGroups - 1, arrow::system_memory_pool());
  }));
  files_.push_back(std::move(made));
  changed_.notify_all();
  return Status::OK();
}

Status StateRestore::finish() {
  {
    std::lock_guard lock(mutex_);
    ended_ = true;
  }
  changed_.notify_all();
  for (auto& thread : threads_) thread.join();
  threads_.clear();
  if (readers_ != nullptr) FZ_TRY(readers_->Shutdown(/*wait=*/true));
  readers_ = nullptr;
  return status_;
}

// The error of a file ends all: what comes behind it is not given, and files before it have been taken by all
// or end with an error of their own.
void StateRestore::run(int worker) {
  for (size_t next = 0;; ++next) {
    std::shared_ptr<File> file;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return failed_ || ended_ || next < first_ + files_.size(); });
      if (failed_ || next >= first_ + files_.size()) return;
      file = files_[next - first_];
    }
    Status status = give(worker, *file);
    std::lock_guard lock(mutex_);
    if (!status.ok() && file->status.ok()) file->status = std::move(status);
    ++file->given;
    while (!failed_ && !files_.empty() && files_.front()->given == workers_) {
      failed_ = !files_.front()->status.ok();
      status_ = files_.front()->status;
      files_.pop_front();
      ++first_;
    }
    changed_.notify_all();
  }
}

Status StateRestore::give(int worker, const File& file) const {
  const Result<StateFile>& read = file.read.result();  // waits
  FZ_TRY(read);
  const auto [first, last] = GroupsOf(worker, workers_);
  for (const auto& batch : read->batches) {
    FZ_ASSIGN(const auto rows, RowsOfGroups(batch, first, last, arrow::system_memory_pool()));
    if (rows->num_rows() > 0) FZ_TRY(give_(worker, file.node, rows));
  }
  return Status::OK();
}

}  // namespace frazil
