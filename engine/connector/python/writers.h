#pragma once

#include <cstdint>
#include <memory>

#include "base/status.h"
#include "connector/python/write_queue.h"

namespace frazil {

// A sink that is written outside the engine, by threads of its own: what it has to do for the engine.
class WorkerWriters {
 public:
  virtual ~WorkerWriters() = default;
  // Begins to take what a worker writes, in a thread of its own, until the queue is closed. Returns at once.
  virtual Status open(int worker, std::shared_ptr<WriteQueue> queue) = 0;
};

// Writers of this process by number, which is how a plan names them. Any thread.
int64_t AddWriters(std::shared_ptr<WorkerWriters> writers);
void RemoveWriters(int64_t number);
Result<std::shared_ptr<WorkerWriters>> FindWriters(int64_t number);

}  // namespace frazil
