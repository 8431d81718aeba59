#pragma once

#include <arrow/memory_pool.h>
#include <arrow/type.h>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "operator/operator.h"
#include "state/key_codec.h"
#include "state/table.h"

namespace frazil {

// The newest values of some columns of each key, and of keys that are gone where that was in their log.
//
// As a checkpoint the state is rows of (hash, key, gone, a column of bytes for each of the columns): gone is
// null for a key that is there, else the place, kNowhere if that is not known.
//
// One thread. Memory is from the pool, which outlives this.
class KeptValues {
 public:
  using Value = std::optional<std::string_view>;  // none: null
  static constexpr int64_t kNowhere = std::numeric_limits<int64_t>::min();

  // `columns` are their names.
  static Result<std::unique_ptr<KeptValues>> Make(const std::vector<std::string>& columns,
                                                  arrow::MemoryPool* pool);
  ~KeptValues();

  // Entries of all keys of a batch, nullptr for those that were never there. An entry stays.
  void find(const EncodedKeys& keys, std::span<std::byte*> entries) const { table_->find(keys, entries); }
  std::byte* find(const EncodedKeys& keys, int64_t row) const {
    return table_->find(keys.key(row), keys.hash(row));
  }
  static bool is_there(const std::byte* entry);
  // Of a key that is gone.
  static int64_t gone_at(const std::byte* entry);
  // Of a key that is there; valid until the next change of the key.
  Value value(const std::byte* entry, size_t column) const;

  // The key of a row is there, with these values, which may be views of those it had.
  Status put(const EncodedKeys& keys, int64_t row, const std::vector<Value>& values);
  // The key of a row is gone; `at` or kNowhere.
  Status remove(const EncodedKeys& keys, int64_t row, int64_t at);

  // As those of Operator.
  Status freeze(bool full);
  Result<bool> save(int64_t rows_max, StateRows* rows);
  Status restore(const arrow::RecordBatch& rows);
  int64_t bytes() const { return table_->bytes() + value_bytes_; }

 private:
  // Payload of the table. Bytes are a length (int32, -1 for null) for each column, and then their values;
  // null for a key that is gone: `size` is where.
  struct Entry {
    uint8_t* bytes;
    int64_t size;
  };

  KeptValues(size_t columns, std::shared_ptr<arrow::Schema> saved_schema, std::unique_ptr<StateTable> table,
             arrow::MemoryPool* pool)
      : columns_(columns), saved_schema_(std::move(saved_schema)), table_(std::move(table)), pool_(pool) {}

  bool are(const Entry& entry, const std::vector<Value>& values) const;
  // The entry of a row's key, which is about to change.
  Result<Entry*> changing(const EncodedKeys& keys, int64_t row);
  Status assign(Entry* entry, const std::vector<Value>& values);
  void clear(Entry* entry, int64_t at);
  Status save_rows(std::span<const StateTable::Change> rows);
  Status save_some(const std::vector<std::byte*>& payloads);

  const size_t columns_;
  const std::shared_ptr<arrow::Schema> saved_schema_;
  std::unique_ptr<StateTable> table_;
  arrow::MemoryPool* const pool_;
  int64_t value_bytes_ = 0;
  StateRows saved_;  // made, and not yet given
  int64_t saved_bytes_ = 0;
};

}  // namespace frazil
