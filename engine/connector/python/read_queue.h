#pragma once

#include <arrow/record_batch.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/status.h"

namespace frazil {

// What a thread outside the engine has read of one partition and no worker has taken yet. One thread puts,
// one worker takes, anybody closes. The worker never waits; whoever puts waits for room. Batches are let go
// outside the lock, as that may need the lock of an interpreter.
class ReadQueue {
 public:
  // What one read gave, whole: the rows, and the position to read next behind them.
  struct Read {
    std::shared_ptr<arrow::RecordBatch> columns;
    std::string position;
  };

  // `waker` is called when there is something new for the worker.
  explicit ReadQueue(std::function<void()> waker) : waker_(std::move(waker)) {}

  // -- for whoever reads; none of these is to be called with the lock of an interpreter but those that say so

  // Waits until less than kReadAheadBytes are waiting to be taken, then puts. False if the queue is closed.
  bool put(Read read);
  // Waits so long; false as soon as the queue is closed.
  bool pause(double seconds);
  // The last read gave nothing. Does not wait.
  void catch_up();
  // Nothing will come any more. Does not wait.
  void end();
  // Reading is over, by this error, which the worker gets behind what was put before. Does not wait.
  void fail(Status error);
  // What a person should know while nothing comes; empty if all is well. Does not wait.
  void note(std::string condition);
  // The newest position below which every table has all rows, once. Does not wait.
  std::optional<std::string> take_committed();

  // -- for the worker

  // The oldest read; none if there is none.
  Result<std::optional<Read>> take();
  // True if nothing is left and nothing will come.
  bool ended() const;
  // True if rows are waiting, or if the last read gave some, so that there may be more.
  bool behind() const;
  std::string condition() const;
  void committed(std::string position);

  // Whoever waits to put is sent away, and what was not taken is dropped. The waker is not called any more
  // when this has returned: a thread that is still reading may outlive the worker. Any thread.
  void close();

 private:
  void wake();

  const std::function<void()> waker_;
  std::mutex waking_;  // held while the waker is called, and by close(); before mutex_
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Read> reads_;
  int64_t bytes_ = 0;
  bool caught_up_ = false;
  bool end_ = false;
  bool closed_ = false;
  Status error_;
  std::string condition_;
  std::optional<std::string> committed_;
};

}  // namespace frazil
