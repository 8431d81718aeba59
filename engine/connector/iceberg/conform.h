#pragma once

#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/status.h"

namespace frazil::iceberg {

// The schema in which batches are written: as given, except that every large_string, large_binary, large_list
// and view becomes its 32-bit form, which Parquet does not distinguish and which costs no copy. kConfig error
// for a type Iceberg does not have.
Result<std::shared_ptr<arrow::Schema>> StorageSchema(const arrow::Schema& table);

// Turns batches into the columns of a table: by name, in the table's order, missing optional columns null,
// types widened where no value can change (int32 to int64, float to double, timestamp ms to us, time zones to
// UTC, decimals with more digits, dictionaries to values), structs, lists and maps inside too. Hidden columns
// (kHiddenPrefix) are ignored, and those that are left out: of the stream, with dots for members of structs.
// Those that are narrowed have a wider type in the stream: a value that the table's type does not have is an
// error. Types are checked once per input schema. Errors are kUser and name the column: a column the table
// does not have, a missing or null value in a required one, a type that would lose values. Used by one
// thread.
class Conformer {
 public:
  // `schema` from StorageSchema(). A column of the table that is in `left_out` is null.
  Conformer(std::shared_ptr<arrow::Schema> schema, arrow::MemoryPool* pool,
            std::set<std::string> left_out = {}, std::set<std::string> narrowed = {});

  Result<std::shared_ptr<arrow::RecordBatch>> Conform(const std::shared_ptr<arrow::RecordBatch>& batch);

 private:
  Status Plan(const std::shared_ptr<arrow::Schema>& from);

  std::shared_ptr<arrow::Schema> schema_;
  arrow::MemoryPool* pool_;
  std::set<std::string> left_out_, narrowed_;
  std::shared_ptr<arrow::Schema> planned_;  // input schema `source_` is for
  std::vector<int> source_;                 // per table column: input column, -1 = fill with nulls
  int kind_ = -1;                           // input column of row kinds
};

}  // namespace frazil::iceberg
