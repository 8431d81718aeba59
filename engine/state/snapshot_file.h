#pragma once

#include <arrow/buffer.h>
#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/batch.h"
#include "base/status.h"
#include "state/key.h"

namespace frazil {

// State files hold what an operator has in memory in one worker at one epoch, as record batches. The format
// is docs/formats/state.md; its version is raised by changes that old readers must not ignore.
constexpr uint32_t kStateFileVersion = 1;

// First column of every state file: uint64, the hash of the row's key, or null for a row that every worker
// gets.
constexpr std::string_view kStateHashColumn = "hash";

struct StateFileHeader {
  std::string operator_id;
  int32_t worker = 0;
  Epoch epoch = 0;
  bool full = true;  // all state; else a delta: what changed since the operator's file before
  // Set by the writer, checked by the reader.
  int64_t rows = 0;
  int32_t first_group = -1;  // of the rows with a hash; -1 if there are none
  int32_t last_group = -1;
};

struct WrittenStateFile {
  std::shared_ptr<arrow::Buffer> bytes;  // from the pool, which outlives it
  std::string digest;  // XXH3-128 of the bytes before the last 16, which are it; 32 hex digits
  StateFileHeader header;
};

// Makes a state file of batches of one schema. The same batches make the same bytes. Compresses with zstd;
// callable from any thread. Errors: no memory; operator ids over 4 KiB; batches of another schema or a first
// column that is not kStateHashColumn are defects (kInternal).
Result<WrittenStateFile> WriteStateFile(const StateFileHeader& header,
                                        const std::shared_ptr<arrow::Schema>& schema,
                                        const arrow::RecordBatchVector& batches, arrow::MemoryPool* pool);

struct StateFile {
  StateFileHeader header;
  std::shared_ptr<arrow::Schema> schema;
  arrow::RecordBatchVector batches;  // fully validated; none is empty
};

// Reads a state file and keeps the rows whose key group is in [first_group, last_group] or that have no hash.
// Nothing is parsed before magic, version, length and checksum are right, and `digest`, unless it is empty,
// is the file's. `name` is for errors. Callable from any thread. Errors (kState): whatever is not a whole,
// undamaged state file of this version, saying what is wrong with it; no memory.
Result<StateFile> ReadStateFile(const std::string& name, const std::shared_ptr<arrow::Buffer>& bytes,
                                const std::string& digest, int first_group, int last_group,
                                arrow::MemoryPool* pool);

// The rows of a batch of a state file whose key group is in [first_group, last_group] or that have no hash.
Result<std::shared_ptr<arrow::RecordBatch>> RowsOfGroups(const std::shared_ptr<arrow::RecordBatch>& batch,
                                                         int first_group, int last_group,
                                                         arrow::MemoryPool* pool);

// Puts length and checksum of its bytes into a state file. For tests and the fuzzer, which want to get past
// them.
void SealStateFile(std::string* bytes);

}  // namespace frazil
