#include "plan/plan.h"

#include <unordered_map>
#include <utility>

namespace frazil {
namespace {

constexpr int kPlanVersion = 1;

const std::unordered_map<std::string, NodeKind>& Kinds() {
  static const std::unordered_map<std::string, NodeKind> kinds = {
      {"source", NodeKind::kSource},
      {"filter", NodeKind::kFilter},
      {"project", NodeKind::kProject},
      {"udf", NodeKind::kUdf},
      {"map_batches", NodeKind::kMapBatches},
      {"keyed_function", NodeKind::kMapBatches},  // told apart by those who make operators
      {"union", NodeKind::kUnion},
      {"concat", NodeKind::kUnion},  // who is read first is said by the sources
      {"exchange", NodeKind::kExchange},
      {"sink", NodeKind::kSink},
      {"event_time", NodeKind::kEventTime},
      {"gate", NodeKind::kGate},
      {"assign_window", NodeKind::kAssignWindow},
      {"reorder", NodeKind::kReorder},
      {"deduplicate", NodeKind::kDeduplicate},
      {"running", NodeKind::kRunning},
      {"rate_limit", NodeKind::kRateLimit},
      {"top_n", NodeKind::kTopN},
      {"pattern", NodeKind::kPattern},
      {"fill_gaps", NodeKind::kFillGaps},
      {"window_partial", NodeKind::kWindowPartial},
      {"window_aggregate", NodeKind::kWindowAggregate},
      {"lookup", NodeKind::kLookup},
      {"unnest", NodeKind::kUnnest},
      {"interval_join", NodeKind::kIntervalJoin},
      {"asof_join", NodeKind::kAsofJoin},
      {"group_aggregate", NodeKind::kGroupAggregate},
      {"as_log", NodeKind::kAsLog},
      {"as_changes", NodeKind::kAsChanges},
      {"hold_changes", NodeKind::kHoldChanges},
      {"unsent_values", NodeKind::kUnsentValues},
      {"constraints", NodeKind::kConstraints}};
  return kinds;
}

Status PlanError(const std::string& text) { return Error(ErrorKind::kConfig, "reading the plan: " + text); }

Result<PortRef> ParseInput(const nlohmann::json& input, const std::unordered_map<std::string, int>& known,
                           const std::string& id) {
  if (!input.is_array() || input.size() != 2) return PlanError("node " + id + ": an input is [node, port]");
  const auto found = known.find(input[0].get<std::string>());
  if (found == known.end()) return PlanError("node " + id + ": no node " + input[0].dump() + " before it");
  const auto port = input[1].get<std::string>();
  if (port != "rows" && port != "rejected" && port != "late" && port != "limited" && port != "failed") {
    return PlanError("node " + id + ": no port \"" + port + "\"");
  }
  return PortRef{found->second, port != "rows"};
}

// A source has rejected rows, a late gate has late ones, a limit those beyond it, and some steps rows that
// failed.
bool HasAside(NodeKind kind) {
  return kind == NodeKind::kSource || kind == NodeKind::kRateLimit || RefusesLateRows(kind) ||
         RowsMayFail(kind);
}

Result<PlanNode> ParseNode(const nlohmann::json& spec, const std::unordered_map<std::string, int>& known) {
  PlanNode node;
  node.id = spec.at("id").get<std::string>();
  const auto kind = Kinds().find(spec.at("kind").get<std::string>());
  if (kind == Kinds().end()) return PlanError("node " + node.id + ": no kind " + spec.at("kind").dump());
  node.kind = kind->second;
  node.name = spec.value("name", node.id);
  if (spec.contains("input")) {
    FZ_ASSIGN(PortRef input, ParseInput(spec.at("input"), known, node.id));
    node.inputs.push_back(input);
  }
  if (spec.contains("inputs")) {
    for (const auto& each : spec.at("inputs")) {
      FZ_ASSIGN(PortRef input, ParseInput(each, known, node.id));
      node.inputs.push_back(input);
    }
  }
  const bool joins = JoinsStreams(node.kind);
  if (node.inputs.empty() != (node.kind == NodeKind::kSource) || (joins && node.inputs.size() != 2)) {
    return PlanError("node " + node.id + ": wrong number of inputs");
  }
  node.spec = spec;
  return node;
}

Result<Plan> ParseChecked(const std::string& text) {
  const auto json = nlohmann::json::parse(text);
  if (json.at("v").get<int>() != kPlanVersion) {
    return PlanError("version " + json.at("v").dump() + ", this engine reads version 1");
  }
  Plan plan;
  plan.pipeline = json.at("pipeline").get<std::string>();
  std::unordered_map<std::string, int> known;
  for (const auto& spec : json.at("nodes")) {
    FZ_ASSIGN(PlanNode node, ParseNode(spec, known));
    if (!known.emplace(node.id, static_cast<int>(plan.nodes.size())).second) {
      return PlanError("two nodes with id " + node.id);
    }
    for (const PortRef& input : node.inputs) {
      const PlanNode& from = plan.nodes[static_cast<size_t>(input.node)];
      if (input.aside && !HasAside(from.kind)) {
        return PlanError("node " + node.id + ": node " + from.id + " sets no rows aside");
      }
    }
    plan.nodes.push_back(std::move(node));
  }
  return plan;
}

}  // namespace

Result<Plan> ParsePlan(const std::string& json) {
  try {
    return ParseChecked(json);
  } catch (const nlohmann::json::exception& error) {
    return PlanError(error.what());
  }
}

bool SetsFailedRowsAside(const PlanNode& node) {
  if (!RowsMayFail(node.kind)) return false;
  const auto how = node.spec.value("on_error", "fail");
  return how == "drop" || how == "divert";
}

bool FeedsFunction(const Plan& plan, int source) {
  // Steps that a row of the source reaches with its place: not behind an exchange.
  std::vector<bool> reached(plan.nodes.size(), false);
  reached[static_cast<size_t>(source)] = true;
  for (size_t n = static_cast<size_t>(source) + 1; n < plan.nodes.size(); ++n) {
    for (const PortRef& input : plan.nodes[n].inputs) {
      const auto from = static_cast<size_t>(input.node);
      if (!input.aside && plan.nodes[from].kind != NodeKind::kExchange && reached[from]) reached[n] = true;
    }
    if (reached[n] && SetsFailedRowsAside(plan.nodes[n])) return true;
  }
  return false;
}

std::string OriginName(const PlanNode& source) { return source.spec.value("letters_of", source.name); }

std::shared_ptr<arrow::Schema> RejectedSchema() {
  return arrow::schema(
      {arrow::field("source", arrow::utf8(), false), arrow::field("partition", arrow::utf8(), false),
       arrow::field("position", arrow::int64(), false), arrow::field("reason", arrow::utf8(), false),
       arrow::field("column", arrow::utf8()), arrow::field("raw", arrow::binary()),
       arrow::field("raw_bytes", arrow::int64(), false), arrow::field("kind", arrow::utf8(), false),
       arrow::field("epoch", arrow::int64(), false), arrow::field("pipeline", arrow::utf8(), false),
       arrow::field("log", arrow::utf8(), false)});
}

}  // namespace frazil
