#include "format/registry.h"

#include <arrow/record_batch.h>

#include <utility>

#include "format/avro.h"
#include "format/debezium.h"
#include "format/debezium_messages.h"
#include "format/json.h"
#include "format/protobuf.h"
#include "format/registered_json.h"

namespace frazil {
namespace {

// Of a source that gives columns: the only bytes are those of what it could not read.
class ColumnsDecoder : public Decoder {
 public:
  explicit ColumnsDecoder(std::shared_ptr<arrow::Schema> schema) : schema_(std::move(schema)) {}
  Result<Decoded> decode(const RawBatch& raw) override {
    if (raw.rows() > 0) return Error(ErrorKind::kInternal, raw.place + ": bytes where columns are read");
    FZ_ASSIGN(auto none, arrow::RecordBatch::MakeEmpty(schema_));
    return Decoded{std::move(none), {}, {}, 0};
  }

 private:
  const std::shared_ptr<arrow::Schema> schema_;
};

}  // namespace

Result<std::unique_ptr<Decoder>> MakeDecoder(const nlohmann::json& format,
                                             const std::shared_ptr<arrow::Schema>& schema,
                                             arrow::MemoryPool* pool, SchemaDesk desk) {
  const auto kind = format.at("kind").get<std::string>();
  if (kind == "json") {
    FZ_ASSIGN(const JsonOptions options, ParseJsonOptions(format));
    return MakeJsonDecoder(schema, options, pool);
  }
  const std::string registry = format.value("registry", "");
  if (kind == "debezium-json" || kind == "debezium-avro" || kind == "debezium-protobuf") {
    nlohmann::json rest = format;
    rest.erase("registry");
    FZ_ASSIGN(DebeziumOptions options, ParseDebeziumOptions(rest));
    if (kind == "debezium-json") {
      return MakeDebeziumDecoder(schema, std::move(options), pool, registry, std::move(desk));
    }
    if (kind == "debezium-protobuf") {
      return MakeDebeziumProtobufDecoder(schema, std::move(options), registry, std::move(desk), pool);
    }
    return MakeDebeziumAvroDecoder(schema, std::move(options), registry, std::move(desk), pool);
  }
  if (kind == "parquet") return std::make_unique<ColumnsDecoder>(schema);
  if (kind == "json-schema") return MakeRegisteredJsonDecoder(schema, pool);
  if (kind == "protobuf" && format.contains("message"))
    return MakeProtobufDecoder(schema, format.at("message").get<std::string>(), pool);
  if (kind == "protobuf") return MakeRegisteredProtobufDecoder(schema, registry, std::move(desk), pool);
  if (kind == "avro") return MakeAvroDecoder(schema, registry, std::move(desk), pool);
  return Error(ErrorKind::kConfig, "no format \"" + kind + "\"");
}

}  // namespace frazil
