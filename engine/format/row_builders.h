#pragma once

#include <arrow/array/builder_base.h>
#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "format/json_cursor.h"

namespace frazil {

// A column, or a part of a nested one, that values are put into.
struct BuiltColumn {
  std::shared_ptr<arrow::Field> field;
  arrow::ArrayBuilder* builder = nullptr;
  std::vector<BuiltColumn> inside;  // fields of a struct, item of a list, key and value of a map
};

// Which formats' values the columns are for.
struct RowFormat {
  const char* name;  // in errors: "Avro"
  bool only_texts;   // maps have texts as keys
};

// The columns that messages of a binary format are put into, one row each. A row that was given up halfway is
// made whole and left out at the end, which costs good ones nothing. Not thread-safe.
class RowBuilders {
 public:
  // A config error names a column whose type the format has not.
  static Result<std::unique_ptr<RowBuilders>> Make(std::shared_ptr<arrow::Schema> schema,
                                                   const RowFormat& format, arrow::MemoryPool* pool);
  // Not for use; see Make.
  RowBuilders(std::shared_ptr<arrow::Schema> schema, arrow::MemoryPool* pool)
      : schema_(std::move(schema)), pool_(pool) {}

  // Lives as long as this.
  const std::vector<BuiltColumn>& columns() const { return columns_; }
  arrow::MemoryPool* pool() const { return pool_; }

  Status Reserve(int64_t rows);
  // Ends a row of which every column has its value.
  void Keep() { ++length_; }
  // Ends a row of which columns have their value, a part of it, or none: it is not there.
  Status GiveUp();
  // Gives the rows so far, and begins anew.
  Result<std::shared_ptr<arrow::RecordBatch>> Finish();

 private:
  std::shared_ptr<arrow::Schema> schema_;
  arrow::MemoryPool* pool_;
  std::vector<std::unique_ptr<arrow::ArrayBuilder>> builders_;
  std::vector<BuiltColumn> columns_;
  int64_t length_ = 0;        // with the bad ones
  std::vector<int64_t> bad_;  // rows that are whole but mean nothing
};

// The value that a field's fz:default has, as an array of one; nullptr if it has none.
Result<std::shared_ptr<arrow::Array>> DefaultOf(const arrow::Field& field, arrow::MemoryPool* pool);

// The names on the way to a field's value: its fz:source, or its own name.
Result<std::vector<std::string>> SourcePath(const arrow::Field& field);

// Says of what is at a place, a column and names inside it, that it cannot be read.
void BlameColumn(const std::vector<std::string>& place, const Status& status, JsonFailure& failure);

}  // namespace frazil
