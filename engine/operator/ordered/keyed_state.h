#pragma once

#include <arrow/api.h>

#include <cstddef>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/limits.h"
#include "base/status.h"
#include "operator/operator.h"
#include "state/key_codec.h"
#include "state/table.h"

namespace frazil {

// What operators that work on the rows of a key one after the other have in common: which columns are the
// key, and how tables by key go into checkpoints. State of them is rows of (hash, key, ...): a hash, the
// encoded key (null in rows that every worker needs), then what the operator keeps.

// The key columns of an input, by the node's "keys".
class KeyColumns {
 public:
  static Result<KeyColumns> Make(const nlohmann::json& spec, const arrow::Schema& input);

  // Encodes the keys of all rows of a batch; the hashes that an exchange made are used.
  Status encode(const Batch& batch, EncodedKeys* keys) const;
  const KeyCodec& codec() const { return codec_; }

 private:
  KeyColumns(std::vector<int> columns, KeyCodec codec)
      : columns_(std::move(columns)), codec_(std::move(codec)) {}

  std::vector<int> columns_;
  KeyCodec codec_;
};

// Schema of state: hash, key, then the fields.
std::shared_ptr<arrow::Schema> KeyedSchema(const arrow::FieldVector& fields);

// Columns "hash" and "key" of rows of a table.
Result<arrow::ArrayVector> SavedKeys(const StateTable& table, const std::vector<std::byte*>& payloads,
                                     arrow::MemoryPool* pool);

// A row of a keyed schema for every worker, which has only the field `name`, an int64.
Result<std::shared_ptr<arrow::RecordBatch>> SavedNote(const std::shared_ptr<arrow::Schema>& schema,
                                                      const std::string& name, int64_t value,
                                                      arrow::MemoryPool* pool);

// An error (kState) unless rows of a checkpoint have the schema. `what` names the operator.
Status CheckRestored(const arrow::RecordBatch& rows, const arrow::Schema& schema, std::string_view what);
Status RestoreError(std::string_view what, const std::string& text);

// The rows of a table that are to be saved; of a table without tombstones.
std::vector<std::byte*> PayloadsOf(std::span<const StateTable::Change> rows);

// How an operator with one table saves it: Operator::freeze and save. `saved` are rows that were made, by the
// function that the table was frozen with.
Status Freeze(StateTable* table, bool full, StateTable::Save save);
Result<bool> SaveSlice(StateTable* table, int64_t rows_max, StateRows* saved, StateRows* rows);

// Calls `each` with the rows of a table, or those that changed, in slices, none of which is empty.
template <typename Each>
Status EachSlice(const StateTable& table, bool full, Each each) {
  std::vector<std::byte*> payloads;
  StateTable::Scan scan;
  StateTable::ChangeScan change_scan;
  std::vector<StateTable::Change> changes;
  while (full ? !scan.done : !change_scan.done) {
    if (full) {
      table.scan(&scan, limits::kBatchRows, &payloads);
    } else {
      table.scan_changes(&change_scan, limits::kBatchRows, &changes);
      payloads.clear();
      for (const StateTable::Change& change : changes) {
        if (!change.erased) payloads.push_back(change.payload);
      }
    }
    if (!payloads.empty()) FZ_TRY(each(payloads));
  }
  return Status::OK();
}

}  // namespace frazil
