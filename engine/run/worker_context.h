#pragma once

#include <arrow/memory_pool.h>
#include <arrow/util/thread_pool.h>

#include <cstdint>
#include <functional>
#include <string>

#include "base/batch.h"
#include "base/clock.h"
#include "base/limits.h"
#include "connector/epoch_deletes.h"
#include "format/schema_board.h"
#include "operator/batch_function.h"
#include "run/epoch_part.h"
#include "run/untaken_state.h"
#include "run/waker.h"

namespace frazil {

// What the parts of one worker share. Owned by the Job and outlives them all.
struct WorkerContext {
  int worker = 0;
  int workers = 1;
  int32_t attempt = 0;
  Epoch first_epoch = 0;
  bool close_windows = false;             // the end of the sources is the end of their event time
  bool bounded = false;                   // a source without partitions is at its end, not waiting for some
  int64_t save_rows = limits::kSaveRows;  // of state that are saved between two batches
  arrow::MemoryPool* decode_pool = nullptr;
  arrow::MemoryPool* operator_pool = nullptr;
  arrow::MemoryPool* sink_pool = nullptr;
  arrow::MemoryPool* state_pool = nullptr;  // null: that of the operators
  arrow::internal::Executor* io = nullptr;  // null: in the worker's thread
  UntakenState* untaken = nullptr;          // null: there is no bound
  StateFileMade state_made;
  std::function<void(const std::string& sink, const std::string& table, const nlohmann::json& columns)>
      want_table;
  EpochDeletes* deletes = nullptr;  // null: there is no bound
  const FunctionTable* functions = nullptr;
  const PartitionNames* partitions = nullptr;
  Waker* waker = nullptr;
  const Clock* clock = nullptr;    // null: the machine's
  SchemaBoard* schemas = nullptr;  // of registries

  arrow::MemoryPool* kept() const { return state_pool != nullptr ? state_pool : operator_pool; }
};

}  // namespace frazil
