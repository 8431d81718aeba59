#pragma once

#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>

#include <functional>
#include <memory>
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

// What an operator needs of the worker it runs in; everything pointed to outlives it.
struct OperatorContext {
  arrow::MemoryPool* pool = arrow::default_memory_pool();
  const FunctionTable* functions = nullptr;
};

}  // namespace frazil
