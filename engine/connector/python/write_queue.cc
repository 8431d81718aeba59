#include "connector/python/write_queue.h"

#include <utility>
#include <vector>

#include "base/batch.h"

namespace frazil {
namespace {

// Bytes of rows that may wait for the thread of a sink in one worker, and one batch more.
constexpr int64_t kWriteAheadBytes = 4 << 20;

int64_t BytesOf(const WriteQueue::Item& item) {
  return item.rows == nullptr ? 0 : BatchBytes(Batch{item.rows, {}, nullptr});
}

}  // namespace

Status WriteQueue::put(Item item) {
  {
    std::lock_guard lock(mutex_);
    FZ_TRY(error_);
    bytes_ += BytesOf(item);
    items_.push_back(std::move(item));
  }
  changed_.notify_all();
  return Status::OK();
}

arrow::Future<Token> WriteQueue::end(Epoch epoch) {
  auto token = arrow::Future<Token>::Make();
  {
    std::lock_guard lock(mutex_);
    if (!error_.ok()) return arrow::Future<Token>::MakeFinished(error_);
    items_.push_back({nullptr, epoch});
    ends_.push_back(token);
  }
  changed_.notify_all();
  return token;
}

bool WriteQueue::full() const {
  std::lock_guard lock(mutex_);
  return bytes_ >= kWriteAheadBytes && error_.ok();
}

int64_t WriteQueue::bytes() const {
  std::lock_guard lock(mutex_);
  return bytes_;
}

std::optional<WriteQueue::Item> WriteQueue::take() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return closed_ || !items_.empty(); });
  if (closed_) return std::nullopt;
  Item item = std::move(items_.front());
  items_.pop_front();
  bytes_ -= BytesOf(item);
  return item;
}

void WriteQueue::answer(Token token) {
  std::lock_guard answering(answering_);
  arrow::Future<Token> end;
  {
    std::lock_guard lock(mutex_);
    if (closed_ || ends_.empty()) return;
    end = std::move(ends_.front());
    ends_.pop_front();
  }
  end.MarkFinished(std::move(token));
}

void WriteQueue::fail(const Status& error) {
  std::lock_guard answering(answering_);
  std::deque<arrow::Future<Token>> ends;
  {
    std::lock_guard lock(mutex_);
    if (closed_) return;
    if (error_.ok()) error_ = error;
    ends.swap(ends_);
  }
  for (auto& end : ends) end.MarkFinished(error);
}

void WriteQueue::close() {
  std::deque<Item> dropped;  // let go outside the locks, which may need an interpreter's
  std::deque<arrow::Future<Token>> unanswered;
  {
    std::lock_guard answering(answering_);
    std::lock_guard lock(mutex_);
    closed_ = true;
    dropped.swap(items_);
    unanswered.swap(ends_);
    bytes_ = 0;
  }
  changed_.notify_all();
}

}  // namespace frazil
