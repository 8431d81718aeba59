#pragma once

#include <arrow/record_batch.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/status.h"
#include "connector/iceberg/data_writer.h"
#include "connector/iceberg/logical_deletes.h"
#include "connector/sink.h"
#include "state/key_codec.h"
#include "state/table.h"

namespace frazil::iceberg {

// Where the row of each key of a table is: key -> data file, row in it. A file has a number here, which is
// short and may be given again, and an id in checkpoints, which is never the same for two files. A file is
// forgotten when no key has its row in it.
//
// As a checkpoint it is rows of (hash, key, file, row, path, spec_id, partition): with a key, where its row
// is (file null: the key is gone); without one, for every worker, what a file is. Of the keys a checkpoint
// has what changed since the last one, and tombstones.
//
// With `ordered` each key has an order as well, that of its newest change: older changes are left out. A key
// whose row is gone stays then, for what it knows. A checkpoint has a column more, order: with it and without
// a file the row is gone, without it too the key is. A truncate leaves the floor behind: older changes of all
// keys are left out, and their keys are forgotten. It is a row with an order and neither key nor file, for
// every worker.
//
// A key of an integer takes 30 to 32 bytes in all, with its order 38 to 40.
//
// One thread, but for bytes().
class UpsertIndex {
 public:
  static Result<std::unique_ptr<UpsertIndex>> Make(arrow::MemoryPool* pool, bool ordered = false);

  // Adds a data file; gives its number.
  Result<uint32_t> add_file(int64_t id, DeletesFile file);
  const DeletesFile& file(uint32_t number) const { return files_[number].file; }
  // Forgets files in which no key has its row. Numbers of places that were given are not good any more.
  void forget_files();

  // What a batch does to a key: the last change of it counts.
  struct Change {
    std::byte* entry = nullptr;
    RowPlace old;        // where its row was
    bool known = false;  // there was one
    bool came = false;   // a row of it is in the batch
    int32_t last = 0;    // row of the batch
  };
  // The keys of a batch in the order of their first rows. `gone` has true for rows that take their key away;
  // null: none does. `orders` of the rows, if the index is ordered: a row that is older than what is known of
  // its key counts for nothing; of two that are equal the later one counts. Each change is to be ended by
  // put() or by remove(), before anything else is asked.
  Result<std::vector<Change>> fold(const EncodedKeys& keys, const std::vector<bool>* gone,
                                   const int64_t* orders = nullptr);
  // Keys whose newest change is not newer than `order` are gone, and changes of it that come later count for
  // nothing. `took` is given each row that was there. Only of an index that is ordered.
  Status truncate(int64_t order, const std::function<Status(RowPlace, std::string_view)>& took);
  // Rows that were older, since the last call.
  int64_t take_older() { return std::exchange(older_, 0); }
  std::string_view key(const Change& change) const { return table_->key(change.entry); }
  // The row of the key is here now.
  void put(const Change& change, RowPlace place);
  // The row of the key is gone.
  Status remove(const Change& change);

  // As those of Sink.
  Status freeze(bool full);
  Result<bool> save(int64_t rows_max, arrow::RecordBatchVector* rows);
  Status restore(const std::shared_ptr<arrow::RecordBatch>& rows);
  int64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }
  int64_t size() const { return table_->size(); }
  int64_t files() const { return static_cast<int64_t>(files_.size() - free_.size()); }

 private:
  // What the table has of a key.
  struct Entry {
    uint32_t file;
    uint32_t row;
  };
  struct File {
    int64_t id = 0;
    DeletesFile file;
    int64_t keys = 0;    // whose rows are in it
    bool saved = false;  // a checkpoint of this process has it
  };
  static constexpr int64_t kNoFloor = std::numeric_limits<int64_t>::min();
  static constexpr int64_t kScanRows = 4096;  // rows of the table looked at in one step of a truncate
  // Files of an entry: fold() has made a change of it; no row is there, only an order.
  static constexpr uint32_t kInBatch = UINT32_MAX, kNoRow = UINT32_MAX - 1;

  UpsertIndex(std::unique_ptr<StateTable> table, arrow::MemoryPool* pool, bool ordered);

  static Entry* EntryOf(std::byte* payload) { return reinterpret_cast<Entry*>(payload); }
  // What the table has of a key after its entry, in an index that is ordered. It is aligned to 4 bytes.
  static int64_t OrderOf(const std::byte* payload) {
    int64_t order;
    std::memcpy(&order, payload + sizeof(Entry), sizeof order);
    return order;
  }
  static void SetOrder(std::byte* payload, int64_t order) {
    std::memcpy(payload + sizeof(Entry), &order, sizeof order);
  }
  void leave(const Entry& entry) {
    if (entry.file != kNoRow) --files_[entry.file].keys;
  }
  uint32_t take_number();
  uint32_t number_of(int64_t id);
  Status end_restore();
  Result<arrow::ArrayVector> nulls(int64_t count) const;
  Status save_keys(std::span<const StateTable::Change> rows);
  Result<std::shared_ptr<arrow::RecordBatch>> save_files(bool full);
  Status save_floor(bool full);
  Status restore_files(const arrow::RecordBatch& rows, const std::vector<int64_t>& which);
  Status restore_keys(const arrow::RecordBatch& rows, const std::vector<int64_t>& which);
  Status restore_gone(const arrow::RecordBatch& rows, const std::vector<int64_t>& which);
  void count_bytes();

  arrow::MemoryPool* pool_;
  const bool ordered_;
  const std::shared_ptr<arrow::Schema> saved_schema_;
  std::unique_ptr<StateTable> table_;
  int64_t older_ = 0;
  int64_t floor_ = kNoFloor;  // changes up to it count for nothing
  bool floor_saved_ = true;   // a checkpoint of this process has it
  std::vector<File> files_;
  std::vector<uint32_t> free_;                      // numbers of no file
  std::unordered_map<int64_t, uint32_t> restored_;  // numbers of files by their ids, while it is restored
  arrow::RecordBatchVector saved_;                  // made, and not yet given
  std::vector<std::byte*> entries_;                 // of the batch at hand
  std::vector<uint8_t> inserted_;
  std::atomic<int64_t> bytes_{0};
};

}  // namespace frazil::iceberg
