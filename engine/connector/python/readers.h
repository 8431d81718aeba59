#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "connector/python/read_queue.h"

namespace frazil {

// A source that is read outside the engine, by threads of its own: what it has to do for the engine.
class PartitionReaders {
 public:
  struct Listed {
    std::string name;
    std::string start;  // the source's own position, as JSON
    bool ends = false;  // it ends by itself
  };

  virtual ~PartitionReaders() = default;

  // The partitions there are now. May take long; called by the control thread or one of its own.
  virtual Result<std::vector<Listed>> partitions() = 0;

  // Begins to read a partition at a position of its own, in a thread of its own, into the queue, until that
  // is closed. `until_now`: the end is where the first read gives nothing. Returns at once: called by a
  // worker.
  virtual Status open(const std::string& partition, const std::string& position, bool until_now,
                      std::shared_ptr<ReadQueue> queue) = 0;
};

// Readers of this process by number, which is how a plan names them. Any thread.
int64_t AddReaders(std::shared_ptr<PartitionReaders> readers);
void RemoveReaders(int64_t number);
Result<std::shared_ptr<PartitionReaders>> FindReaders(int64_t number);

}  // namespace frazil
