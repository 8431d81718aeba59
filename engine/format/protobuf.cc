#include "format/protobuf.h"

#include "format/message_reader.h"
#include "format/proto_messages.h"
#include "format/proto_rows.h"

namespace frazil {
namespace {

// Messages of one type.
class PlainMessages : public MessageReader {
 public:
  PlainMessages(std::unique_ptr<ProtoRows> rows, std::unique_ptr<ProtoProgram> program)
      : rows_(std::move(rows)), program_(std::move(program)) {}

  Status Begin(int64_t rows) override { return rows_->Reserve(rows); }
  Result<bool> Read(std::string_view message, JsonFailure& failure) override {
    if (rows_->Append(*program_, message, failure)) [[likely]]
      return true;
    FZ_TRY(failure.fatal);
    return false;
  }
  Result<std::shared_ptr<arrow::RecordBatch>> Finish() override { return rows_->Finish(); }

 private:
  std::unique_ptr<ProtoRows> rows_;
  std::unique_ptr<ProtoProgram> program_;
};

}  // namespace

Result<std::unique_ptr<Decoder>> MakeProtobufDecoder(std::shared_ptr<arrow::Schema> schema,
                                                     const std::string& message, arrow::MemoryPool* pool) {
  FZ_ASSIGN(ProtoSchema parsed, ParseProtoSchema(message));
  if (parsed.roots.size() != 1) return Error(ErrorKind::kConfig, "a Protobuf schema of no one message");
  FZ_ASSIGN(auto rows, ProtoRows::Make(std::move(schema), pool));
  JsonFailure failure;
  const int32_t root = parsed.roots.begin()->second;
  FZ_ASSIGN(auto program,
            rows->Resolve(std::make_shared<const ProtoSchema>(std::move(parsed)), root, failure));
  if (program == nullptr) {
    return Error(ErrorKind::kConfig, "column \"" + failure.column + failure.path + "\": " + failure.reason);
  }
  return MakeMessageDecoder(std::make_unique<PlainMessages>(std::move(rows), std::move(program)));
}

Result<std::unique_ptr<Decoder>> MakeRegisteredProtobufDecoder(std::shared_ptr<arrow::Schema> schema,
                                                               std::string registry, SchemaDesk desk,
                                                               arrow::MemoryPool* pool) {
  FZ_ASSIGN(auto messages,
            ProtoMessages::Make(std::move(schema), std::move(registry), std::move(desk), pool));
  return MakeMessageDecoder(std::move(messages));
}

}  // namespace frazil
