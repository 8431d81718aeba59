#pragma once

#include <arrow/type.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/status.h"

namespace frazil {

enum class NodeKind { kSource, kFilter, kProject, kMapBatches, kUdf, kUnion, kExchange, kSink };

// One of a node's outputs: the rows, or what a source set aside.
struct PortRef {
  int node = 0;  // index in Plan::nodes
  bool rejected = false;
};

// A step of the plan. Its particulars stay JSON and are read by the one builder of its kind.
struct PlanNode {
  std::string id;  // stable over runs and edits elsewhere
  NodeKind kind = NodeKind::kSource;
  std::string name;  // sources and sinks: what people call it
  std::vector<PortRef> inputs;
  nlohmann::json spec;  // the node as it stands in the plan
};

// What to run: nodes in topological order. Immutable; shared by all workers.
struct Plan {
  std::string pipeline;
  std::vector<PlanNode> nodes;
};

// Reads the JSON plan (version 1) and checks it: known kinds, inputs that stand before their use, unique ids.
Result<Plan> ParsePlan(const std::string& json);

// Reads a schema that stands in a plan: base64 of Arrow's IPC schema message.
Result<std::shared_ptr<arrow::Schema>> ParseSchema(const std::string& base64);

// The schema of every source's `rejected` stream.
std::shared_ptr<arrow::Schema> RejectedSchema();

}  // namespace frazil
