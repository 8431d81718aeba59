#pragma once

#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "connector/sink.h"

namespace frazil::iceberg {

// Rows that wait for their tables to be made or opened, or to be given columns, in the order in which they
// came. A checkpoint has them: the rows of an epoch are in tokens or here, so a table that cannot be opened
// holds up nothing else.
//
// As a checkpoint it is rows of (hash, table, writer, waiting): a batch as an Arrow IPC stream, or null: what
// this writer had of the table before is not waiting any more. `hash` is null: every worker is told, and
// takes what is its own. One thread.
class WaitingRows {
 public:
  WaitingRows(int writer, arrow::MemoryPool* pool) : writer_(writer), pool_(pool) {}

  void add(const std::string& table, std::shared_ptr<arrow::RecordBatch> rows);
  // The rows of a table; they wait no more.
  arrow::RecordBatchVector take(const std::string& table);

  int64_t bytes() const { return bytes_; }
  int64_t bytes(const std::string& table) const;

  // As those of Sink.
  void freeze(bool full);
  Result<bool> save(int64_t rows_max, arrow::RecordBatchVector* rows);
  // True if rows of a state file are some of these.
  static bool IsSaved(const arrow::Schema& schema);
  // `mine` gives those of a table's rows that this worker takes; null: none.
  using Mine = std::function<Result<std::shared_ptr<arrow::RecordBatch>>(
      const std::string& table, const std::shared_ptr<arrow::RecordBatch>& rows)>;
  Status restore(const arrow::RecordBatch& saved, const Mine& mine);
  // True if a table has rows.
  bool waits(const std::string& table);
  // Tables with rows.
  std::set<std::string> tables() const;

 private:
  struct Held {
    arrow::RecordBatchVector rows;
    size_t saved = 0;  // of them are in checkpoints of this process
    int64_t bytes = 0;
  };
  void settle();

  const int writer_;
  arrow::MemoryPool* pool_;
  std::map<std::string, Held> held_;
  std::map<std::pair<std::string, int32_t>, arrow::RecordBatchVector> restored_;  // by table and writer
  std::set<std::string> gone_;  // tables that have rows in checkpoints of this process and none here
  int64_t bytes_ = 0;
  // What save() gives.
  std::deque<std::pair<std::string, std::shared_ptr<arrow::RecordBatch>>> frozen_;
};

// Those of a table's restored rows that are a worker's: by their key, or, without one, all rows of a table
// are one worker's. Null: none.
Result<std::shared_ptr<arrow::RecordBatch>> WaitingRowsOf(const SinkContext& worker, const std::string& table,
                                                          const std::vector<std::string>& key,
                                                          const std::shared_ptr<arrow::RecordBatch>& rows);

}  // namespace frazil::iceberg
