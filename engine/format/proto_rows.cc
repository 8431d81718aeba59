#include "format/proto_rows.h"

#include "base/limits.h"

namespace frazil {
namespace {

// Messages that one message may hold, itself included: each may be two bytes, and fills all its columns.
constexpr int64_t kMessages = 1 << 20;

}  // namespace

Result<std::unique_ptr<ProtoRows>> ProtoRows::Make(std::shared_ptr<arrow::Schema> schema,
                                                   arrow::MemoryPool* pool) {
  FZ_ASSIGN(auto columns,
            RowBuilders::Make(std::move(schema), {.name = "Protobuf", .only_texts = false}, pool));
  return std::make_unique<ProtoRows>(std::move(columns));
}

Result<std::unique_ptr<ProtoProgram>> ProtoRows::Resolve(std::shared_ptr<const ProtoSchema> schema,
                                                         int32_t message, JsonFailure& failure) {
  auto program = std::make_unique<ProtoProgram>(std::move(schema));
  std::vector<ProtoWanted> wanted;
  for (const BuiltColumn& each : columns_->columns()) {
    FZ_ASSIGN(auto path, SourcePath(*each.field));
    wanted.push_back({&each, std::move(path), true});
  }
  std::vector<std::string> blamed;
  const ProtoMaking making{*program->schema, columns_->pool(), &blamed, &messages_left_};
  auto made = MakeProtoMessageStep(making, message, wanted);
  if (made.ok()) {
    program->message = std::move(*made);
    return program;
  }
  if (KindOf(made.status()) != ErrorKind::kDecode) return made.status();
  BlameColumn(blamed, made.status(), failure);
  return nullptr;
}

bool ProtoRows::Append(const ProtoProgram& program, std::string_view bytes, JsonFailure& failure) {
  if (static_cast<int64_t>(bytes.size()) > limits::kRowBytesMax)
    return failure.Because("longer than " + std::to_string(limits::kRowBytesMax) + " bytes");
  messages_left_ = kMessages;
  const ProtoPiece whole = ProtoPiece::Bytes(ProtoWire::kBytes, bytes);
  if (program.message->Take(&whole, 1, failure)) [[likely]] {
    columns_->Keep();
    return true;
  }
  if (failure.fatal.ok()) failure.Ok(columns_->GiveUp());
  return false;
}

}  // namespace frazil
