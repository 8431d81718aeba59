#pragma once

#include <map>
#include <memory>
#include <string>

#include "format/avro_rows.h"
#include "format/message_reader.h"
#include "format/schema_board.h"

namespace frazil {

// Avro messages with the ids of their schemas.
class AvroMessages : public MessageReader {
 public:
  static Result<std::unique_ptr<AvroMessages>> Make(std::shared_ptr<arrow::Schema> schema,
                                                    std::string registry, SchemaDesk desk,
                                                    arrow::MemoryPool* pool);
  // Not for use; see Make.
  AvroMessages(std::unique_ptr<AvroRows> rows, std::string registry, SchemaDesk desk)
      : registry_(registry), schemas_(std::move(registry), std::move(desk)), rows_(std::move(rows)) {}

  Result<bool> ready(const RawBatch& raw) override { return schemas_.Gather(raw); }
  bool may_wait() const override { return true; }
  std::string condition() const override { return schemas_.waits(); }
  Status Begin(int64_t rows) override;
  Result<bool> Read(std::string_view message, JsonFailure& failure) override;
  Result<std::shared_ptr<arrow::RecordBatch>> Finish() override { return rows_->Finish(); }

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

}  // namespace frazil
