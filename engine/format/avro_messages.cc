#include "format/avro_messages.h"

#include "base/limits.h"

namespace frazil {
namespace {

constexpr size_t kShapes = 256;  // schemas one decoder remembers from batch to batch

}  // namespace

Result<std::unique_ptr<AvroMessages>> AvroMessages::Make(std::shared_ptr<arrow::Schema> schema,
                                                         std::string registry, SchemaDesk desk,
                                                         arrow::MemoryPool* pool) {
  FZ_ASSIGN(auto rows, AvroRows::Make(std::move(schema), pool));
  return std::make_unique<AvroMessages>(std::move(rows), std::move(registry), std::move(desk));
}

Status AvroMessages::Begin(int64_t rows) {
  if (shapes_.size() > kShapes) {
    shapes_.clear();
    last_ = nullptr;
  }
  return rows_->Reserve(rows);
}

Result<bool> AvroMessages::Read(std::string_view message, JsonFailure& failure) {
  int32_t id = 0;
  std::string_view body;
  if (!TakeSchemaId(message, &id, &body)) return failure.Because(NoSchemaId(message));
  FZ_ASSIGN(const Shape* const shape, ShapeOf(id));
  if (shape->program == nullptr) {
    failure = shape->failure;
    return false;
  }
  if (static_cast<int64_t>(body.size()) > limits::kRowBytesMax) {
    return failure.Because("longer than " + std::to_string(limits::kRowBytesMax) + " bytes");
  }
  if (rows_->Append(*shape->program, body, failure)) [[likely]]
    return true;
  FZ_TRY(failure.fatal);
  return false;
}

Result<const AvroMessages::Shape*> AvroMessages::ShapeOf(int32_t id) {
  if (last_ != nullptr && last_->first == id) [[likely]]
    return &last_->second;
  auto found = shapes_.find(id);
  const RegisteredSchema* const schema = schemas_.at(id);
  const bool known = schema != nullptr && schema->state == RegisteredSchema::State::kKnown;
  if (found == shapes_.end() || (found->second.program == nullptr && known)) {
    if (schema == nullptr) return Error(ErrorKind::kInternal, "a message whose schema was not asked for");
    FZ_ASSIGN(Shape made, MakeShape(id, *schema));
    found = shapes_.insert_or_assign(id, std::move(made)).first;
  }
  last_ = &*found;
  return &found->second;
}

Result<AvroMessages::Shape> AvroMessages::MakeShape(int32_t id, const RegisteredSchema& schema) {
  Shape shape;
  const std::string name = "schema " + std::to_string(id) + " of " + registry_;
  if (schema.state != RegisteredSchema::State::kKnown) {
    shape.failure.reason = name + ": " + schema.reason;
    return shape;
  }
  if (schema.kind != "AVRO") {
    shape.failure.reason = name + " is " + schema.kind + ", not AVRO";
    return shape;
  }
  auto parsed = ParseAvroSchema(schema.texts);
  if (!parsed.ok()) {
    if (KindOf(parsed.status()) != ErrorKind::kDecode) return parsed.status();
    shape.failure.reason = name + ": " + MessageOf(parsed.status());
    return shape;
  }
  FZ_ASSIGN(shape.program, rows_->Resolve(std::move(*parsed), shape.failure));
  return shape;
}

}  // namespace frazil
