#include "plan/build.h"

#include <utility>

#include "operator/call_function.h"

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

Result<SchemaPtr> SchemaOf(const PlanNode& node, const SchemaPtr& input) {
  switch (node.kind) {
    case NodeKind::kSource:
    case NodeKind::kMapBatches:
      return ParseSchema(node.spec.at("schema").get<std::string>());
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
  (void)input;
  switch (node.kind) {
    case NodeKind::kMapBatches: return MakeMapBatches(node, context);
    default: return Error(ErrorKind::kInternal, "node " + node.id + ": no operator for its kind");
  }
}

}  // namespace frazil
