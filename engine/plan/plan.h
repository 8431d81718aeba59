#pragma once

#include <arrow/type.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/schema_text.h"
#include "base/status.h"

namespace frazil {

enum class NodeKind {
  kSource,
  kFilter,
  kProject,
  kMapBatches,
  kUdf,
  kUnion,
  kEventTime,
  kGate,
  kAssignWindow,
  kWindowPartial,
  kExchange,
  kReorder,
  kWindowAggregate,
  kDeduplicate,
  kRunning,
  kRateLimit,
  kTopN,
  kPattern,
  kFillGaps,
  kLookup,
  kUnnest,
  kIntervalJoin,
  kAsofJoin,
  kGroupAggregate,
  kAsLog,
  kAsChanges,
  kHoldChanges,
  kUnsentValues,
  kConstraints,
  kSink
};

// True for steps that set late rows aside.
constexpr bool RefusesLateRows(NodeKind kind) {
  return kind == NodeKind::kWindowPartial || kind == NodeKind::kGate || kind == NodeKind::kAssignWindow;
}

// True for steps in which single rows may fail: they call a user's function, or check rows for a table.
constexpr bool RowsMayFail(NodeKind kind) {
  return kind == NodeKind::kUdf || kind == NodeKind::kMapBatches || kind == NodeKind::kConstraints;
}

// True for steps that join two streams by event time.
constexpr bool JoinsStreams(NodeKind kind) {
  return kind == NodeKind::kIntervalJoin || kind == NodeKind::kAsofJoin;
}

// One of a node's outputs: the rows, or what it set aside (rows a source rejected, late or limited rows,
// those for which a function raised or that a table would refuse).
struct PortRef {
  int node = 0;  // index in Plan::nodes
  bool aside = false;
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

// True for a step in which rows may fail, and which goes on without them.
bool SetsFailedRowsAside(const PlanNode& node);
// Whether rows of a source come with their place to such a step.
bool FeedsFunction(const Plan& plan, int source);

// What rows of a source are said to come from: its name, or of one that gives dead letters that of the source
// which rejected them.
std::string OriginName(const PlanNode& source);

// The schema of every source's `rejected` stream, and of a step's `failed`.
std::shared_ptr<arrow::Schema> RejectedSchema();

}  // namespace frazil
