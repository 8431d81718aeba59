#pragma once

#include <arrow/memory_pool.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "connector/sink.h"
#include "connector/source.h"

namespace frazil {

// Make the parts of a connector that a node of the plan names; `node` is {"name", "connector", "options"},
// further fields are not looked at. The one list of connectors is in registry.cc. Errors are kind kConfig for
// unknown connectors and options. `schema`: all columns of the source, metadata included.
Result<std::unique_ptr<Source>> MakeSource(const nlohmann::json& node,
                                           const std::shared_ptr<arrow::Schema>& schema,
                                           arrow::MemoryPool* pool);
Result<std::unique_ptr<Enumerator>> MakeEnumerator(const nlohmann::json& node);
Result<std::unique_ptr<Sink>> MakeSink(const nlohmann::json& node, const SinkContext& context);

}  // namespace frazil
