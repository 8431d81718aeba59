#include "format/registry.h"

#include "format/debezium.h"
#include "format/json.h"

namespace frazil {

Result<std::unique_ptr<Decoder>> MakeDecoder(const nlohmann::json& format,
                                             const std::shared_ptr<arrow::Schema>& schema,
                                             arrow::MemoryPool* pool) {
  const auto kind = format.at("kind").get<std::string>();
  if (kind == "json") {
    FZ_ASSIGN(const JsonOptions options, ParseJsonOptions(format));
    return MakeJsonDecoder(schema, options, pool);
  }
  if (kind == "debezium-json") {
    FZ_ASSIGN(DebeziumOptions options, ParseDebeziumOptions(format));
    return MakeDebeziumDecoder(schema, std::move(options), pool);
  }
  return Error(ErrorKind::kConfig, "no format \"" + kind + "\"");
}

}  // namespace frazil
