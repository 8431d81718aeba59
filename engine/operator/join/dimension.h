#pragma once

#include <arrow/record_batch.h>

#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/memory.h"
#include "state/key_codec.h"
#include "state/pool_array.h"
#include "state/slot_directory.h"

namespace frazil {

// Rows of one lookup table: their numbers are 32 bits with a sign where Arrow takes them.
constexpr int64_t kLookupRows = std::numeric_limits<int32_t>::max();

// The rows of a lookup table, with a hash index over their keys. Made once and never changed after that, so
// that all workers read one copy without a lock; whoever still needs it holds it. Its memory is its own: what
// was given to Make is copied. Results of arrow::compute::Take on rows() are copies too and may outlive it.
//
// Keys are those of KeyCodec: integers of every width are equal by value, -0.0 is 0.0, NaN is NaN. A row
// whose key has a null is not in the index: null equals nothing.
class Dimension {
 public:
  static constexpr uint32_t kNoRow = std::numeric_limits<uint32_t>::max();

  struct Spec {
    std::string name;                  // for errors
    std::vector<std::string> keys;     // columns of the table
    std::vector<std::string> columns;  // those that rows() has
    bool unique = true;                // two rows with one key are an error
    int64_t max_bytes = 0;             // of columns and index
  };

  // Any thread. Batches have one schema with the spec's columns. Errors (DataError): more than max_bytes, two
  // rows with one key if they must not be, a time that cannot be a key.
  static Result<std::shared_ptr<const Dimension>> Make(
      Spec spec, const std::shared_ptr<arrow::Schema>& schema,
      const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches);
  // Not for use; see Make.
  explicit Dimension(Spec spec);

  // The first row of the key of each of some rows, kNoRow where there is none. `absent` (by row, or empty)
  // marks keys that equal nothing.
  void find(const EncodedKeys& keys, std::span<const uint8_t> absent, std::vector<uint32_t>* first) const;
  // The next row with the same key, in the order of the table, or kNoRow.
  uint32_t next(uint32_t row) const { return next_.empty() ? kNoRow : next_[row]; }

  // The columns that were asked for; row numbers are positions in it.
  const std::shared_ptr<arrow::RecordBatch>& rows() const { return rows_; }
  // Bytes of the columns' values, about, of a row; of the largest one, where rows differ much.
  int64_t bytes_of(uint32_t row) const { return wide_.empty() ? row_bytes_ : wide_[row]; }
  // Bytes in memory, with the index.
  int64_t bytes() const { return pool_.bytes_allocated(); }
  // Rows that can be found.
  int64_t keyed_rows() const { return keyed_; }
  // Types of the keys.
  const arrow::DataTypeVector& key_types() const { return key_types_; }

 private:
  Status take(const std::shared_ptr<arrow::Schema>& schema,
              const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches);
  Status index(const arrow::ArrayVector& keys, int64_t rows);
  Status insert(uint32_t row);
  Status chain(uint32_t head, uint32_t row, std::vector<uint32_t>* last);
  Status measure();
  Status check_size() const;
  Status too_large(int64_t rows, int64_t bytes) const;
  Status doubled(uint32_t first, uint32_t second, const arrow::ArrayVector& keys) const;
  uint32_t find_one(uint64_t hash, std::string_view key) const;

  const Spec spec_;
  MemoryBudget budget_;
  AccountedPool pool_;
  arrow::DataTypeVector key_types_;
  std::shared_ptr<arrow::RecordBatch> rows_;
  EncodedKeys keys_;
  SlotDirectory slots_;  // row numbers from 1
  PoolArray<uint32_t> next_;
  PoolArray<uint32_t> wide_;  // bytes of each row, if some are much larger than others
  int64_t row_bytes_ = 0;
  int64_t keyed_ = 0;
};

// Tables by the node of the plan that looks into them.
using Dimensions = std::map<std::string, std::shared_ptr<const Dimension>>;

// By row, 1 where a key column is null; empty if no row has one.
std::vector<uint8_t> KeyNulls(const arrow::ArrayVector& keys, int64_t rows);

// True if values of two types can be the same key: integers of any width (64 bits without a sign only with
// others without), times of one kind, texts, bytes; else the same type.
bool SameKeyType(const arrow::DataType& left, const arrow::DataType& right);

}  // namespace frazil
