#pragma once

#include <arrow/record_batch.h>
#include <arrow/util/future.h>

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/status.h"
#include "connector/sink.h"

namespace frazil {

// What a worker has written to a sink outside the engine and that sink's thread has not taken yet. One worker
// puts, one thread takes and answers, anybody closes. The worker never waits: it asks full() before it puts.
class WriteQueue {
 public:
  // Rows, or (null) the end of an epoch, which answer() is about.
  struct Item {
    std::shared_ptr<arrow::RecordBatch> rows;
    Epoch epoch = 0;
  };

  // -- for the worker

  // Errors of the thread come back here.
  Status put(Item item);
  arrow::Future<Token> end(Epoch epoch);
  // True while kWriteAheadBytes or more wait.
  bool full() const;
  int64_t bytes() const;

  // -- for the thread; none of these is to be called with the lock of an interpreter

  // The oldest item; waits for one. None if the queue is closed.
  std::optional<Item> take();
  // The token of the oldest epoch whose end was taken.
  void answer(Token token);
  // The sink is unusable, by this error.
  void fail(const Status& error);

  // Nothing is taken or answered any more when this has returned. Any thread.
  void close();

 private:
  mutable std::mutex mutex_;
  std::mutex answering_;  // held while futures are finished, which calls back; before mutex_
  std::condition_variable changed_;
  std::deque<Item> items_;
  std::deque<arrow::Future<Token>> ends_;
  int64_t bytes_ = 0;
  bool closed_ = false;
  Status error_;
};

}  // namespace frazil
