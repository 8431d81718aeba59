#include "format/proto_messages.h"

namespace frazil {
namespace {

constexpr size_t kFiles = 256;    // schemas one decoder remembers from batch to batch
constexpr int64_t kNesting = 64;  // messages inside one another

// A varint in zigzag.
bool TakeSigned(std::string_view* body, int64_t* value) {
  uint64_t bits = 0;
  for (size_t i = 0; i < body->size() && i < 10; ++i) {
    const auto byte = static_cast<uint8_t>((*body)[i]);
    bits |= static_cast<uint64_t>(byte & 0x7f) << (7 * i);
    if ((byte & 0x80) != 0) continue;
    *value = static_cast<int64_t>((bits >> 1) ^ (~(bits & 1) + 1));
    body->remove_prefix(i + 1);
    return true;
  }
  return false;
}

}  // namespace

bool TakeMessagePlace(std::string_view* body, std::string* place, JsonFailure& failure) {
  int64_t count = 0;
  place->clear();
  if (!TakeSigned(body, &count) || count < 0 || count > kNesting)
    return failure.Because("behind the id of its schema does not stand which message of it this is");
  if (count == 0) place->assign(1, '0');
  for (; count > 0; --count) {
    int64_t number = 0;
    if (!TakeSigned(body, &number) || number < 0 || number > INT32_MAX)
      return failure.Because("behind the id of its schema does not stand which message of it this is");
    if (!place->empty()) *place += '.';
    *place += std::to_string(number);
  }
  return true;
}

Result<std::unique_ptr<ProtoMessages>> ProtoMessages::Make(std::shared_ptr<arrow::Schema> schema,
                                                           std::string registry, SchemaDesk desk,
                                                           arrow::MemoryPool* pool) {
  FZ_ASSIGN(auto rows, ProtoRows::Make(std::move(schema), pool));
  return std::make_unique<ProtoMessages>(std::move(rows), std::move(registry), std::move(desk));
}

Status ProtoMessages::Begin(int64_t rows) {
  if (files_.size() > kFiles) {
    files_.clear();
    last_ = nullptr;
  }
  return rows_->Reserve(rows);
}

Result<bool> ProtoMessages::Read(std::string_view message, JsonFailure& failure) {
  int32_t id = 0;
  std::string_view body;
  if (!TakeSchemaId(message, &id, &body)) return failure.Because(NoSchemaId(message));
  FZ_ASSIGN(File* const file, FileOf(id));
  if (file->schema == nullptr) {
    failure = file->failure;
    return false;
  }
  std::string place;
  if (!TakeMessagePlace(&body, &place, failure)) return false;
  const auto root = file->schema->roots.find(place);
  if (root == file->schema->roots.end()) {
    return failure.Because("schema " + std::to_string(id) + " of " + registry_ + " has no message " + place);
  }
  auto found = file->shapes.find(root->second);
  if (found == file->shapes.end()) {
    Shape shape;
    FZ_ASSIGN(shape.program, rows_->Resolve(file->schema, root->second, shape.failure));
    found = file->shapes.emplace(root->second, std::move(shape)).first;
  }
  if (found->second.program == nullptr) {
    failure = found->second.failure;
    return false;
  }
  if (rows_->Append(*found->second.program, body, failure)) [[likely]]
    return true;
  FZ_TRY(failure.fatal);
  return false;
}

Result<ProtoMessages::File*> ProtoMessages::FileOf(int32_t id) {
  if (last_ != nullptr && last_->first == id) [[likely]]
    return &last_->second;
  auto found = files_.find(id);
  const RegisteredSchema* const schema = schemas_.at(id);
  const bool known = schema != nullptr && schema->state == RegisteredSchema::State::kKnown;
  if (found == files_.end() || (found->second.schema == nullptr && known)) {
    if (schema == nullptr) return Error(ErrorKind::kInternal, "a message whose schema was not asked for");
    FZ_ASSIGN(File made, MakeFile(id, *schema));
    found = files_.insert_or_assign(id, std::move(made)).first;
  }
  last_ = &*found;
  return &found->second;
}

Result<ProtoMessages::File> ProtoMessages::MakeFile(int32_t id, const RegisteredSchema& schema) {
  File file;
  const std::string name = "schema " + std::to_string(id) + " of " + registry_;
  if (schema.state != RegisteredSchema::State::kKnown) {
    file.failure.reason = name + ": " + schema.reason;
    return file;
  }
  if (schema.kind != "PROTOBUF" || schema.texts.size() != 1) {
    file.failure.reason = name + " is " + schema.kind + ", not PROTOBUF";
    return file;
  }
  auto parsed = ParseProtoSchema(schema.texts[0]);
  if (!parsed.ok()) {
    if (KindOf(parsed.status()) != ErrorKind::kDecode) return parsed.status();
    file.failure.reason = name + ": " + MessageOf(parsed.status());
    return file;
  }
  file.schema = std::make_shared<const ProtoSchema>(std::move(*parsed));
  return file;
}

}  // namespace frazil
