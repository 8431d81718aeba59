#pragma once

#include <arrow/buffer.h>
#include <arrow/record_batch.h>
#include <arrow/util/future.h>
#include <arrow/util/thread_pool.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/status.h"
#include "state/snapshot_file.h"

namespace frazil {

constexpr int kRestoreThreads = 2;   // that read state files, beside one for each worker
constexpr size_t kRestoreFiles = 8;  // state files that are being restored at a time

// Gives the operators of a job the rows of state files. Files are decompressed and checked on
// kRestoreThreads threads, each once for all workers; each worker's operators take their own rows in a
// thread of theirs, file by file in the order of add(). So what is restored is what one thread would restore.
//
// One thread calls it.
class StateRestore {
 public:
  // Gives rows to an operator in a worker. Called by one thread for each worker, not before or after the
  // life of this.
  using Give = std::function<Status(int worker, const std::string& node,
                                    const std::shared_ptr<arrow::RecordBatch>& rows)>;
  static Result<std::unique_ptr<StateRestore>> Make(int workers, Give give);
  ~StateRestore();

  // Adds a file of a node; waits while kRestoreFiles are under way. Errors are those of any file
  // before; there is nothing more to add then.
  Status add(const std::string& node, std::shared_ptr<arrow::Buffer> file);
  // Waits until all is given. The error is that of the oldest file that has one.
  Status finish();

 private:
  struct File {
    std::string node;
    arrow::Future<StateFile> read;
    int given = 0;  // to so many workers
    Status status;
  };

  StateRestore(int workers, Give give) : workers_(workers), give_(std::move(give)) {}
  void run(int worker);
  Status give(int worker, const File& file) const;

  const int workers_;
  const Give give_;
  std::shared_ptr<arrow::internal::ThreadPool> readers_;
  std::vector<std::thread> threads_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::shared_ptr<File>> files_;  // from `first_` on; those before are given to all
  size_t first_ = 0;
  bool ended_ = false;
  bool failed_ = false;
  Status status_;
};

}  // namespace frazil
