#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "format/message_reader.h"
#include "format/proto_rows.h"
#include "format/schema_board.h"

namespace frazil {

// Protobuf messages in the wire format of Confluent's serializers: a zero byte, the id of the schema, which
// message of its file it is, the message. Where that is: how many numbers follow, and the numbers, each a
// varint in zigzag: place among the messages of the file, then among those inside that one, and so on; a
// single zero is the first of the file. The schema of an id is the JSON of proto_schema.h, kind "PROTOBUF".
class ProtoMessages : public MessageReader {
 public:
  static Result<std::unique_ptr<ProtoMessages>> Make(std::shared_ptr<arrow::Schema> schema,
                                                     std::string registry, SchemaDesk desk,
                                                     arrow::MemoryPool* pool);
  // Not for use; see Make.
  ProtoMessages(std::unique_ptr<ProtoRows> rows, std::string registry, SchemaDesk desk)
      : registry_(registry), schemas_(std::move(registry), std::move(desk)), rows_(std::move(rows)) {}

  Result<bool> ready(const RawBatch& raw) override { return schemas_.Gather(raw); }
  bool may_wait() const override { return true; }
  std::string condition() const override { return schemas_.waits(); }
  Status Begin(int64_t rows) override;
  Result<bool> Read(std::string_view message, JsonFailure& failure) override;
  Result<std::shared_ptr<arrow::RecordBatch>> Finish() override { return rows_->Finish(); }

 private:
  // What a message of an id comes to.
  struct Shape {
    std::unique_ptr<ProtoProgram> program;  // null if it cannot be read: then why
    JsonFailure failure;
  };
  // What an id comes to.
  struct File {
    std::shared_ptr<const ProtoSchema> schema;  // null if it cannot be read: then why
    JsonFailure failure;
    std::map<int32_t, Shape> shapes;  // by number of the message
  };
  Result<File*> FileOf(int32_t id);
  Result<File> MakeFile(int32_t id, const RegisteredSchema& schema);

  std::string registry_;
  SchemasOfBatch schemas_;
  std::unique_ptr<ProtoRows> rows_;
  std::map<int32_t, File> files_;
  std::pair<const int32_t, File>* last_ = nullptr;
};

// Goes over which message of its file one is: "0", "1.0". False with a reason if that is not there.
bool TakeMessagePlace(std::string_view* body, std::string* place, JsonFailure& failure);

}  // namespace frazil
