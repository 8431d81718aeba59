#pragma once

#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>
#include <arrow/util/future.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/batch.h"
#include "base/status.h"
#include "connector/epoch_deletes.h"

namespace arrow::internal {
class Executor;
}

namespace frazil {

// What a sink needs of the worker it runs in. Everything pointed to outlives the sink and its pending tokens.
struct SinkContext {
  int worker = 0;  // number of the worker, in file names and final names
  arrow::MemoryPool* pool = arrow::default_memory_pool();   // for buffers of open writers
  arrow::internal::Executor* io = nullptr;                  // closes files; nullptr = in the calling thread
  arrow::MemoryPool* state = arrow::default_memory_pool();  // for what it keeps over checkpoints
  int workers = 1;
  // Asks for a table that rows have come for, with further columns that they need: {"name":"type"}, null:
  // none. Answered by open_table() or fail_table(). Any thread.
  std::function<void(const std::string& table, const nlohmann::json& columns)> want_table;
  EpochDeletes* deletes = nullptr;  // to be told of rows that are taken away; null: nobody asks
};

// What a sink prepared in an epoch, as JSON with "v": the files it wrote, their statistics. Empty = no rows.
using Token = std::string;

// Writes the rows of one sink in one worker. Nothing is visible before the token's commit, which is done by
// the sink's committer in Python after the epoch's manifest is accepted. Called by the worker's thread only.
class Sink {
 public:
  virtual ~Sink() = default;

  // Says which epoch the rows that follow belong to: called once before the first write and again after each
  // prepare(). Names of files hold the epoch, and a file never holds rows of two. Epochs only grow.
  virtual void begin(Epoch epoch) = 0;

  // Takes rows of the current epoch. May block for local encoding and for writing what is full.
  virtual Status write(const Batch& batch) = 0;

  // Ends the epoch that begin() named: closes what is open on the I/O pool and completes with the token.
  // begin() and write() may be called for the next epoch at once; at most two epochs are in flight. When the
  // token is given, its files are durable. An error names the file; the sink is unusable after it and the run
  // has to end.
  virtual arrow::Future<Token> prepare(Epoch epoch) = 0;

  // Bytes held in open writers.
  virtual int64_t bytes() const { return 0; }

  // What a checkpoint has to hold of it, as of an operator (operator/operator.h). freeze() is called at the
  // barrier, after the last write() and before prepare().
  virtual bool stateful() const { return false; }
  virtual Status freeze(bool /*full*/) { return Status::OK(); }
  virtual Result<bool> save(int64_t /*rows_max*/, arrow::RecordBatchVector* /*rows*/) { return true; }
  // Before the first write().
  virtual Status restore(const std::shared_ptr<arrow::RecordBatch>& /*rows*/) { return Status::OK(); }
  // Any thread.
  virtual int64_t state_bytes() const { return 0; }

  // Of a sink with many tables, or with one ("") whose columns may become more. True while it can take no
  // more rows: the worker gives its stage none.
  virtual bool full() const { return false; }
  // A table is there, with these columns; `options` are what its writer has to know. May be told again.
  virtual Status open_table(const std::string& /*table*/, const nlohmann::json& /*options*/) {
    return Status::OK();
  }
  // It cannot be opened for now: its rows wait.
  virtual Status fail_table(const std::string& /*table*/, const std::string& /*reason*/) {
    return Status::OK();
  }
};

}  // namespace frazil
