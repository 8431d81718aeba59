#include "plan/build.h"

#include <utility>

#include "expr/expr.h"
#include "operator/cached_udf.h"
#include "operator/call_function.h"
#include "operator/changes/as_changes.h"
#include "operator/changes/as_log.h"
#include "operator/changes/group_aggregate.h"
#include "operator/changes/hold_changes.h"
#include "operator/changes/kinds.h"
#include "operator/changes/unsent_values.h"
#include "operator/filter.h"
#include "operator/join/asof_join.h"
#include "operator/join/interval_join.h"
#include "operator/join/join_output.h"
#include "operator/join/lookup.h"
#include "operator/keyed/keyed_function.h"
#include "operator/ordered/deduplicate.h"
#include "operator/ordered/deduplicate_last.h"
#include "operator/ordered/fill_gaps.h"
#include "operator/ordered/fillers.h"
#include "operator/ordered/pattern.h"
#include "operator/ordered/rate_limit.h"
#include "operator/ordered/running.h"
#include "operator/ordered/top_n.h"
#include "operator/project.h"
#include "operator/time/assign_window.h"
#include "operator/time/gate.h"
#include "operator/time/reorder.h"
#include "operator/time/session_aggregate.h"
#include "operator/time/session_partial.h"
#include "operator/time/window.h"
#include "operator/time/window_aggregate.h"
#include "operator/time/window_partial.h"
#include "operator/unnest.h"
#include "plan/constraints.h"

namespace frazil {
namespace {

using SchemaPtr = std::shared_ptr<arrow::Schema>;

EdgeSchema EdgeOf(const SchemaPtr& schema) {
  int visible = schema->num_fields();
  while (visible > 0 && schema->field(visible - 1)->name().starts_with(kHiddenPrefix)) --visible;
  return {schema, visible};
}

Result<BatchFunction> FunctionOf(const PlanNode& node, const OperatorContext& context) {
  const auto reference = node.spec.at("function").get<std::string>();
  const auto found = context.functions->find(reference);
  if (found == context.functions->end()) {
    return Error(ErrorKind::kConfig, "node " + node.id + ": the function " + reference + " was not given");
  }
  return found->second;
}

Result<std::shared_ptr<arrow::Field>> UdfField(const PlanNode& node) {
  FZ_ASSIGN(const SchemaPtr column, ParseSchema(node.spec.at("returns").get<std::string>()));
  if (column->num_fields() != 1) {
    return Error(ErrorKind::kConfig, "node " + node.id + ": `returns` is a schema of one column");
  }
  return column->field(0)->WithName(node.spec.at("column").get<std::string>());
}

// Null if rows that fail end the run.
std::unique_ptr<FailedRows> FailedRowsOf(const PlanNode& node, const OperatorContext& context) {
  if (!SetsFailedRowsAside(node)) return nullptr;
  FailedRows::Spec spec;
  spec.kind = node.kind == NodeKind::kConstraints ? "constraint" : "function";
  if (node.spec.at("on_error") == "divert")
    spec.given = node.spec.at("given").get<std::vector<std::string>>();
  spec.pipeline = node.spec.value("pipeline", "");
  spec.log = node.spec.value("log", "");
  spec.partitions = context.partitions;
  spec.pool = context.pool;
  spec.schema = RejectedSchema();
  return std::make_unique<FailedRows>(std::move(spec));
}

Result<std::unique_ptr<Operator>> MakeMapBatches(const PlanNode& node, const SchemaPtr& input,
                                                 const OperatorContext& context) {
  FZ_ASSIGN(BatchFunction function, FunctionOf(node, context));
  if (node.spec.at("kind") == "keyed_function") {
    return KeyedFunction::Make(node.spec, *input, std::move(function), context);
  }
  return std::make_unique<MapBatches>(node.spec.at("function").get<std::string>(), std::move(function),
                                      FailedRowsOf(node, context));
}

Result<std::unique_ptr<Operator>> MakeUdf(const PlanNode& node, const SchemaPtr& input,
                                          const OperatorContext& context) {
  CallUdf::Spec spec;
  spec.reference = node.spec.at("function").get<std::string>();
  spec.whole = node.spec.value("whole", true);
  spec.failed = FailedRowsOf(node, context);
  FZ_ASSIGN(spec.field, UdfField(node));
  FZ_ASSIGN(spec.function, FunctionOf(node, context));
  for (const auto& argument : node.spec.at("args")) {
    FZ_ASSIGN(BoundExpr bound, Bind(argument, *input));
    spec.arguments.push_back(std::move(bound));
  }
  if (node.spec.value("stateful", false)) {
    return std::make_unique<CachedUdf>(std::move(spec), node.id, context.pool);
  }
  return std::make_unique<CallUdf>(std::move(spec), context.pool);
}

bool OfSessions(const PlanNode& node) { return node.spec.at("window").at("kind") == "session"; }

Result<SchemaPtr> SchemaOf(const PlanNode& node, const SchemaPtr& input) {
  switch (node.kind) {
    case NodeKind::kSource:
    case NodeKind::kMapBatches:
      return ParseSchema(node.spec.at("schema").get<std::string>());
    case NodeKind::kProject: {
      FZ_ASSIGN(const Projection projection, BindProjection(node.spec.at("columns"), EdgeOf(input)));
      return projection.output.schema;
    }
    case NodeKind::kIntervalJoin:
    case NodeKind::kAsofJoin:
      return JoinSchema(node.spec);
    case NodeKind::kWindowPartial:
      return PartialSchema(node.spec, *input);
    case NodeKind::kWindowAggregate: {
      FZ_ASSIGN(SchemaPtr schema, WindowSchema(node.spec, *input));
      if (node.spec.value("emit", "on_close") != "on_change") return schema;
      return schema->AddField(schema->num_fields(), KindField());
    }
    case NodeKind::kAssignWindow:
      return AssignedSchema(*input);
    case NodeKind::kRunning:
      return RunningSchema(node.spec, *input);
    case NodeKind::kPattern:
      return PatternSchema(node.spec, *input);
    case NodeKind::kGroupAggregate:
      return GroupSchema(node.spec, *input);
    case NodeKind::kAsLog:
      return LogSchema(*input);
    case NodeKind::kAsChanges:
      return ChangesSchema(node.spec, *input);
    case NodeKind::kUnsentValues:
      return SentSchema(*input);
    case NodeKind::kTopN:
      return TopNSchema(node.spec, *input);
    case NodeKind::kFillGaps:
      return FilledSchema(node.spec, *input);
    case NodeKind::kUnnest:
      return UnnestSchema(ParseUnnest(node.spec), *input);
    case NodeKind::kLookup: {
      FZ_ASSIGN(const LookupSpec spec, ParseLookup(node.spec));
      return LookupSchema(spec, *input);
    }
    case NodeKind::kUdf: {
      FZ_ASSIGN(const auto column, UdfField(node));
      return UdfSchema(*input, column);
    }
    default:
      return input;
  }
}

}  // namespace

SchemaPtr AsideSchema(const Plan& plan, int node, const std::vector<SchemaPtr>& schemas) {
  const PlanNode& from = plan.nodes[static_cast<size_t>(node)];
  if (from.kind == NodeKind::kSource || RowsMayFail(from.kind)) return RejectedSchema();
  const SchemaPtr& input = schemas[static_cast<size_t>(from.inputs.front().node)];
  return from.kind == NodeKind::kRateLimit ? input : LateSchema(*input);
}

Result<std::vector<SchemaPtr>> NodeSchemas(const Plan& plan) {
  std::vector<SchemaPtr> schemas;
  for (const PlanNode& node : plan.nodes) {
    SchemaPtr input;
    if (!node.inputs.empty()) {
      const PortRef port = node.inputs.front();
      input = port.aside ? AsideSchema(plan, port.node, schemas) : schemas[static_cast<size_t>(port.node)];
    }
    try {
      FZ_ASSIGN(auto schema, SchemaOf(node, input));
      schemas.push_back(std::move(schema));
    } catch (const nlohmann::json::exception& error) {
      return Error(ErrorKind::kConfig, "reading the plan: node " + node.id + ": " + error.what());
    }
  }
  return schemas;
}

std::vector<SchemaPtr> InputSchemas(const Plan& plan, const PlanNode& node,
                                    const std::vector<SchemaPtr>& schemas) {
  std::vector<SchemaPtr> inputs;
  for (const PortRef& port : node.inputs) {
    inputs.push_back(port.aside ? AsideSchema(plan, port.node, schemas)
                                : schemas[static_cast<size_t>(port.node)]);
  }
  return inputs;
}

Result<std::unique_ptr<Operator>> MakeOperator(const PlanNode& node, const std::vector<SchemaPtr>& inputs,
                                               const OperatorContext& context) {
  const SchemaPtr& input = inputs.front();
  switch (node.kind) {
    case NodeKind::kFilter: {
      FZ_ASSIGN(BoundExpr predicate, BindPredicate(node.spec.at("predicate"), *input));
      return std::make_unique<Filter>(std::move(predicate), context.pool, node.spec.value("whole", true));
    }
    case NodeKind::kProject: {
      FZ_ASSIGN(Projection projection, BindProjection(node.spec.at("columns"), EdgeOf(input)));
      return std::make_unique<Project>(std::move(projection), context.pool);
    }
    case NodeKind::kMapBatches:
      return MakeMapBatches(node, input, context);
    case NodeKind::kUnnest:
      return Unnest::Make(node.spec, *input, context);
    case NodeKind::kLookup:
      return LookupJoin::Make(node.spec, *input, context);
    case NodeKind::kUdf:
      return MakeUdf(node, input, context);
    case NodeKind::kGate:
      return Gate::Make(node.spec, *input, context);
    case NodeKind::kReorder:
      return Reorder::Make(node.spec, input, context);
    case NodeKind::kIntervalJoin:
      return IntervalJoin::Make(node.spec, inputs, context);
    case NodeKind::kAssignWindow:
      return AssignWindow::Make(node.spec, *input, context);
    case NodeKind::kDeduplicate:
      if (node.spec.at("keep") == "last") return DeduplicateLast::Make(node.spec, input, context);
      return Deduplicate::Make(node.spec, *input, context);
    case NodeKind::kRunning:
      return Running::Make(node.spec, *input, context);
    case NodeKind::kRateLimit:
      return RateLimit::Make(node.spec, *input, context);
    case NodeKind::kPattern:
      return Pattern::Make(node.spec, *input, context);
    case NodeKind::kTopN:
      return TopN::Make(node.spec, input, context);
    case NodeKind::kFillGaps:
      return FillGaps::Make(node.spec, *input, context);
    case NodeKind::kGroupAggregate:
      return GroupAggregate::Make(node.spec, *input, context);
    case NodeKind::kAsLog: {
      FZ_ASSIGN(auto schema, LogSchema(*input));
      return std::make_unique<AsLog>(std::move(schema), context.pool);
    }
    case NodeKind::kAsChanges:
      return AsChanges::Make(node.spec, *input, context.pool);
    case NodeKind::kHoldChanges:
      return HoldChanges::Make(node.spec, input, context);
    case NodeKind::kUnsentValues:
      return UnsentValues::Make(node.spec, input, context);
    case NodeKind::kAsofJoin:
      return AsofJoin::Make(node.spec, inputs, context);
    case NodeKind::kConstraints:
      return MakeConstraints(node.spec.at("table"), node.spec.value("whole", true),
                             FailedRowsOf(node, context), context);
    case NodeKind::kWindowPartial:
      if (OfSessions(node)) return SessionPartial::Make(node.spec, *input, context);
      return WindowPartial::Make(node.spec, *input, context);
    case NodeKind::kWindowAggregate:
      if (OfSessions(node)) return SessionAggregate::Make(node.spec, *input, context);
      return WindowAggregate::Make(node.spec, *input, context);
    default:
      return Error(ErrorKind::kInternal, "node " + node.id + ": no operator for its kind");
  }
}

}  // namespace frazil
