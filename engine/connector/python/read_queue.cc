#include "connector/python/read_queue.h"

#include <chrono>
#include <utility>

#include "base/batch.h"

namespace frazil {
namespace {

// Bytes of a partition that may wait: a read is put if there are less, so there is at most one read more.
constexpr int64_t kReadAheadBytes = 1 << 20;

int64_t BytesOf(const ReadQueue::Read& read) { return BatchBytes(Batch{read.columns, {}, nullptr}); }

}  // namespace

void ReadQueue::wake() {
  std::lock_guard waking(waking_);
  {
    std::lock_guard lock(mutex_);
    if (closed_) return;
  }
  waker_();
}

bool ReadQueue::put(Read read) {
  const int64_t bytes = BytesOf(read);
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return closed_ || bytes_ < kReadAheadBytes; });
    if (closed_) return false;
    caught_up_ = false;
    bytes_ += bytes;
    reads_.push_back(std::move(read));
  }
  wake();
  return true;
}

bool ReadQueue::pause(double seconds) {
  std::unique_lock lock(mutex_);
  return !changed_.wait_for(lock, std::chrono::duration<double>(seconds), [this] { return closed_; });
}

void ReadQueue::catch_up() {
  std::lock_guard lock(mutex_);
  caught_up_ = true;
}

void ReadQueue::end() {
  {
    std::lock_guard lock(mutex_);
    end_ = caught_up_ = true;
  }
  wake();
}

void ReadQueue::fail(Status error) {
  {
    std::lock_guard lock(mutex_);
    if (error_.ok()) error_ = std::move(error);
  }
  wake();
}

void ReadQueue::note(std::string condition) {
  {
    std::lock_guard lock(mutex_);
    condition_ = std::move(condition);
  }
  wake();
}

std::optional<std::string> ReadQueue::take_committed() {
  std::lock_guard lock(mutex_);
  return std::exchange(committed_, std::nullopt);
}

Result<std::optional<ReadQueue::Read>> ReadQueue::take() {
  std::optional<Read> read;
  {
    std::lock_guard lock(mutex_);
    if (reads_.empty()) {
      FZ_TRY(error_);
      return read;
    }
    read = std::move(reads_.front());
    reads_.pop_front();
    bytes_ -= BytesOf(*read);
  }
  changed_.notify_all();
  return read;
}

bool ReadQueue::ended() const {
  std::lock_guard lock(mutex_);
  return end_ && reads_.empty() && error_.ok();
}

bool ReadQueue::behind() const {
  std::lock_guard lock(mutex_);
  return !reads_.empty() || !caught_up_;
}

std::string ReadQueue::condition() const {
  std::lock_guard lock(mutex_);
  return condition_;
}

void ReadQueue::committed(std::string position) {
  std::lock_guard lock(mutex_);
  committed_ = std::move(position);
}

void ReadQueue::close() {
  std::deque<Read> dropped;
  {
    std::lock_guard waking(waking_);
    std::lock_guard lock(mutex_);
    closed_ = true;
    dropped.swap(reads_);
    bytes_ = 0;
  }
  changed_.notify_all();
}

}  // namespace frazil
