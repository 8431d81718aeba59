#include "connector/registry.h"

#include "connector/console/sink.h"
#include "connector/dead_letter/source.h"
#include "connector/file/sink.h"
#include "connector/file/source.h"
#include "connector/generator/source.h"
#include "connector/iceberg/sink.h"
#include "connector/kafka/kafka.h"
#include "connector/kafka/sink.h"
#include "connector/memory/sink.h"
#include "connector/memory/source.h"
#include "connector/python/sink.h"
#include "connector/python/source.h"

namespace frazil {
namespace {

Status Unknown(const nlohmann::json& node, const std::string& connector) {
  return Error(ErrorKind::kConfig,
               "node " + node.value("name", connector) + ": no connector \"" + connector + "\"");
}

}  // namespace

Result<std::unique_ptr<Source>> MakeSource(const nlohmann::json& node,
                                           const std::shared_ptr<arrow::Schema>& schema,
                                           arrow::MemoryPool* pool) {
  const auto connector = node.at("connector").get<std::string>();
  const nlohmann::json& options = node.at("options");
  if (connector == "dead_letter") return MakeDeadLetterSource(options, pool);
  if (connector == "file") return MakeFileSource(options, schema, pool);
  if (connector == "generator") return MakeGeneratorSource(options, schema, pool);
  if (connector == "kafka") return MakeKafkaSource(options, pool);
  if (connector == "memory") return MakeMemorySource(options, schema);
  if (connector == "python") return MakePythonSource(options, schema, pool);
  return Unknown(node, connector);
}

Result<std::unique_ptr<Enumerator>> MakeEnumerator(const nlohmann::json& node) {
  const auto connector = node.at("connector").get<std::string>();
  const nlohmann::json& options = node.at("options");
  if (connector == "dead_letter") return MakeDeadLetterEnumerator(options);
  if (connector == "file") return MakeFileEnumerator(options);
  if (connector == "generator") return MakeGeneratorEnumerator(options);
  if (connector == "kafka") return MakeKafkaEnumerator(options);
  if (connector == "memory") return MakeMemoryEnumerator(options);
  if (connector == "python") return MakePythonEnumerator(options);
  return Unknown(node, connector);
}

Result<std::unique_ptr<Sink>> MakeSink(const nlohmann::json& node, const SinkContext& context) {
  const auto connector = node.at("connector").get<std::string>();
  const nlohmann::json& options = node.at("options");
  if (connector == "console") return MakeConsoleSink(options, context);
  if (connector == "file") return MakeFileSink(options, context);
  if (connector == "kafka") return MakeKafkaSink(options, context);
  if (connector == "memory") return MakeMemorySink(options, context);
  if (connector == "python") return MakePythonSink(options, context);
  if (connector == "iceberg") return iceberg::MakeIcebergSink(options, context);
  return Unknown(node, connector);
}

}  // namespace frazil
