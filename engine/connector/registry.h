#pragma once

#include <memory>

#include "connector/sink.h"
#include "connector/source.h"
#include "plan/plan.h"

namespace frazil {

// Make the parts of a connector that a node of the plan names. The one list of connectors is in registry.cc. Errors
// are kind kConfig for unknown connectors and options. `schema`: all columns of the source, metadata included.
Result<std::unique_ptr<Source>> MakeSource(const PlanNode& node, const std::shared_ptr<arrow::Schema>& schema,
                                           arrow::MemoryPool* pool);
Result<std::unique_ptr<Enumerator>> MakeEnumerator(const PlanNode& node);
Result<std::unique_ptr<Sink>> MakeSink(const PlanNode& node, const SinkContext& context);

}  // namespace frazil
