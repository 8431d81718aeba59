#include "format/avro.h"

#include "format/avro_messages.h"

namespace frazil {

Result<std::unique_ptr<Decoder>> MakeAvroDecoder(std::shared_ptr<arrow::Schema> schema, std::string registry,
                                                 SchemaDesk desk, arrow::MemoryPool* pool) {
  FZ_ASSIGN(auto messages, AvroMessages::Make(std::move(schema), std::move(registry), std::move(desk), pool));
  return MakeMessageDecoder(std::move(messages));
}

}  // namespace frazil
