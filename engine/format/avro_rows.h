#pragma once

#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "format/avro_schema.h"
#include "format/avro_step.h"
#include "format/row_builders.h"

namespace frazil {

// How messages of one writer's schema are read into the columns of an AvroRows, which has to live as long.
struct AvroProgram {
  explicit AvroProgram(AvroSchema schema) : schema(std::move(schema)), skips(this->schema) {}
  AvroProgram(const AvroProgram&) = delete;

  const AvroSchema schema;
  AvroSkips skips;
  std::unique_ptr<AvroStep> record;
};

// Columns that Avro messages are read into, those of several schemas one after the other. What a message does
// not have is the field's default (fz:default), else null, else the schema does not go with the columns.
//
// Field metadata is that of json.h: fz:source, fz:default, fz:time_unit; fz:unavailable of
// debezium_column.h; and fz:aliases, a JSON list of names that are looked for if the field's own is not
// there. Not thread-safe.
class AvroRows {
 public:
  // A config error names a column whose type Avro has not.
  static Result<std::unique_ptr<AvroRows>> Make(std::shared_ptr<arrow::Schema> schema,
                                                arrow::MemoryPool* pool);

  // Not for use; see Make.
  explicit AvroRows(std::unique_ptr<RowBuilders> columns) : columns_(std::move(columns)) {}

  // Resolves a schema. Null if it does not go with the columns: then `failure` says which and why.
  Result<std::unique_ptr<AvroProgram>> Resolve(AvroSchema schema, JsonFailure& failure);

  Status Reserve(int64_t rows) { return columns_->Reserve(rows); }
  // Reads the bytes of a message as one row. After a false the row is not there, and `failure` says why.
  bool Append(const AvroProgram& program, std::string_view bytes, JsonFailure& failure);
  // Gives the rows so far, and begins anew.
  Result<std::shared_ptr<arrow::RecordBatch>> Finish() { return columns_->Finish(); }

 private:
  std::unique_ptr<RowBuilders> columns_;
};

}  // namespace frazil
