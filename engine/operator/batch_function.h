#pragma once

#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "base/status.h"

namespace frazil {

// Calls a user's function with a batch and gives what it returned, its schema checked. Any thread. Errors are
// kind kUser and name the function.
using BatchFunction =
    std::function<Result<std::shared_ptr<arrow::RecordBatch>>(const std::shared_ptr<arrow::RecordBatch>&)>;

// The functions of a plan by the reference that stands in it.
using FunctionTable = std::unordered_map<std::string, BatchFunction>;

// Names of the partitions of every source, by node of the plan and ordinal. Any thread.
class PartitionNames {
 public:
  void add(int source, int ordinal, const std::string& name) {
    std::lock_guard lock(mutex_);
    names_[{source, ordinal}] = name;
  }
  std::string name(int source, int ordinal) const {
    std::lock_guard lock(mutex_);
    const auto found = names_.find({source, ordinal});
    return found == names_.end() ? std::string() : found->second;
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::pair<int, int>, std::string> names_;
};

class Clock;

// What an operator needs of the worker it runs in; everything pointed to outlives it.
struct OperatorContext {
  arrow::MemoryPool* pool = arrow::default_memory_pool();
  const FunctionTable* functions = nullptr;
  const PartitionNames* partitions = nullptr;
  arrow::MemoryPool* state_pool = nullptr;
  const Clock* clock = nullptr;  // null: the machine's

  // Where what it keeps between batches lies (state/state_pool.h).
  arrow::MemoryPool* kept() const { return state_pool != nullptr ? state_pool : pool; }
};

}  // namespace frazil
