#include "plan/build.h"

#include <utility>

#include "operator/call_function.h"
#include "operator/filter.h"
#include "operator/project.h"

namespace frazil {
namespace {

using SchemaPtr = std::shared_ptr<arrow::Schema>;

Result<std::unique_ptr<Operator>> MakeMapBatches(const PlanNode& node, const OperatorContext& context) {
  const auto reference = node.spec.at("function").get<std::string>();
  const auto found = context.functions->find(reference);
  if (found == context.functions->end()) {
    return Error(ErrorKind::kConfig, "node " + node.id + ": the function " + reference + " was not given");
  }
  return std::make_unique<MapBatches>(reference, found->second);
}

// Hidden columns stand behind the visible ones.
EdgeSchema EdgeOf(const SchemaPtr& schema) {
  int visible = 0;
  while (visible < schema->num_fields() && !schema->field(visible)->name().starts_with(kHiddenPrefix)) ++visible;
  return {schema, visible};
}

Result<std::unique_ptr<Operator>> MakeFilter(const PlanNode& node, const SchemaPtr& input,
                                             const OperatorContext& context) {
  FZ_ASSIGN(BoundExpr predicate, BindPredicate(node.spec.at("predicate"), *input));
  return std::make_unique<Filter>(std::move(predicate), context.pool);
}

Result<std::unique_ptr<Operator>> MakeProject(const PlanNode& node, const SchemaPtr& input,
                                              const OperatorContext& context) {
  FZ_ASSIGN(Projection projection, BindProjection(node.spec.at("columns"), EdgeOf(input)));
  return std::make_unique<Project>(std::move(projection), context.pool);
}

Result<SchemaPtr> SchemaOf(const PlanNode& node, const SchemaPtr& input) {
  switch (node.kind) {
    case NodeKind::kSource:
    case NodeKind::kMapBatches:
      return ParseSchema(node.spec.at("schema").get<std::string>());
    case NodeKind::kProject: {
      FZ_ASSIGN(Projection projection, BindProjection(node.spec.at("columns"), EdgeOf(input)));
      return projection.output.schema;
    }
    default:
      return input;
  }
}

}  // namespace

Result<std::vector<SchemaPtr>> NodeSchemas(const Plan& plan) {
  std::vector<SchemaPtr> schemas;
  for (const PlanNode& node : plan.nodes) {
    SchemaPtr input;
    if (!node.inputs.empty()) {
      const PortRef port = node.inputs.front();
      input = port.rejected ? RejectedSchema() : schemas[static_cast<size_t>(port.node)];
    }
    FZ_ASSIGN(auto schema, SchemaOf(node, input));
    schemas.push_back(std::move(schema));
  }
  return schemas;
}

Result<std::unique_ptr<Operator>> MakeOperator(const PlanNode& node, const SchemaPtr& input,
                                               const OperatorContext& context) {
  switch (node.kind) {
    case NodeKind::kFilter: return MakeFilter(node, input, context);
    case NodeKind::kProject: return MakeProject(node, input, context);
    case NodeKind::kMapBatches: return MakeMapBatches(node, context);
    default: return Error(ErrorKind::kInternal, "node " + node.id + ": no operator for its kind");
  }
}

}  // namespace frazil
