#pragma once

#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>

#include <memory>
#include <string_view>

#include "format/proto_schema.h"
#include "format/proto_step.h"
#include "format/row_builders.h"

namespace frazil {

// How messages of one type are read into the columns of a ProtoRows, which has to live as long.
struct ProtoProgram {
  explicit ProtoProgram(std::shared_ptr<const ProtoSchema> schema) : schema(std::move(schema)) {}
  ProtoProgram(const ProtoProgram&) = delete;

  const std::shared_ptr<const ProtoSchema> schema;
  std::unique_ptr<ProtoStep> message;
};

// Columns that Protobuf messages are read into, those of several types one after the other. Field metadata is
// that of json.h: fz:source, fz:default, fz:time_unit; fz:unavailable and fz:kept of debezium_column.h;
// fz:zero_is_null of proto_step.h; and fz:proto_number, message and number of a field that is looked for if
// its name is not there. Not thread-safe.
//
// A field that a message has not: repeated ones and maps are empty, those without presence zero, empty or the
// first of their enum. Others get fz:default, else their own default, else null; if the column is not
// nullable the message is bad, and so it is without a required field that is read. Of a field that stands in
// a message several times the last one counts, and messages are merged; of a oneof the last member.
class ProtoRows {
 public:
  // A config error names a column whose type Protobuf has not.
  static Result<std::unique_ptr<ProtoRows>> Make(std::shared_ptr<arrow::Schema> schema,
                                                 arrow::MemoryPool* pool);
  // Not for use; see Make.
  explicit ProtoRows(std::unique_ptr<RowBuilders> columns) : columns_(std::move(columns)) {}

  // Resolves a message type. Null if it does not go with the columns: then `failure` says which and why.
  Result<std::unique_ptr<ProtoProgram>> Resolve(std::shared_ptr<const ProtoSchema> schema, int32_t message,
                                                JsonFailure& failure);

  Status Reserve(int64_t rows) { return columns_->Reserve(rows); }
  // Reads the bytes of a message as one row. After a false the row is not there, and `failure` says why.
  bool Append(const ProtoProgram& program, std::string_view bytes, JsonFailure& failure);
  // Gives the rows so far, and begins anew.
  Result<std::shared_ptr<arrow::RecordBatch>> Finish() { return columns_->Finish(); }

 private:
  std::unique_ptr<RowBuilders> columns_;
  int64_t messages_left_ = 0;
};

}  // namespace frazil
