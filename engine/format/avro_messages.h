#pragma once

#include <map>
#include <memory>
#include <string>

#include "format/avro_rows.h"
#include "format/schema_board.h"

namespace frazil {

// Avro messages with the ids of their schemas, read into columns. Not thread-safe.
class AvroMessages {
 public:
  static Result<std::unique_ptr<AvroMessages>> Make(std::shared_ptr<arrow::Schema> schema,
                                                    std::string registry, SchemaDesk desk,
                                                    arrow::MemoryPool* pool);
  // Not for use; see Make.
  AvroMessages(std::unique_ptr<AvroRows> rows, std::string registry, SchemaDesk desk)
      : registry_(registry), schemas_(std::move(registry), std::move(desk)), rows_(std::move(rows)) {}

  // See Decoder.
  Result<bool> ready(const RawBatch& raw) { return schemas_.Gather(raw); }
  std::string condition() const { return schemas_.waits(); }

  // Begins a batch that is ready.
  Status Begin(int64_t rows);
  // Reads one of its messages as a row; a false says why there is none. An error means that nothing can be
  // read any more.
  Result<bool> Read(std::string_view message, JsonFailure& failure);
  // Gives the rows.
  Result<std::shared_ptr<arrow::RecordBatch>> Finish() { return rows_->Finish(); }

 private:
  // What an id comes to.
  struct Shape {
    std::unique_ptr<AvroProgram> program;  // null if its messages cannot be read: then why
    JsonFailure failure;
  };
  Result<const Shape*> ShapeOf(int32_t id);
  Result<Shape> MakeShape(int32_t id, const RegisteredSchema& schema);

  std::string registry_;
  SchemasOfBatch schemas_;
  std::unique_ptr<AvroRows> rows_;
  std::map<int32_t, Shape> shapes_;
  std::pair<const int32_t, Shape>* last_ = nullptr;
};

// A message as it is told of when it could not be read.
RejectedRow RejectedMessage(const RawBatch& raw, int64_t row, const JsonFailure& failure);

}  // namespace frazil
