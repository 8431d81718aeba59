// Any bytes as a plan: never a crash. What is read has its inputs before it, and stages that grow along its
// edges.
#include <arrow/compute/initialize.h>

#include <cstdlib>

#include "plan/build.h"
#include "plan/stages.h"

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  if (!arrow::compute::Initialize().ok()) std::abort();
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto plan = frazil::ParsePlan(std::string(reinterpret_cast<const char*>(data), size));
  if (!plan.ok()) return 0;
  for (size_t i = 0; i < plan->nodes.size(); ++i) {
    for (const auto& input : plan->nodes[i].inputs) {
      if (input.node < 0 || static_cast<size_t>(input.node) >= i) std::abort();
    }
  }
  const auto stages = frazil::CutStages(*plan);
  for (const auto& edge : stages.edges) {
    const int from = stages.stage_of[static_cast<size_t>(edge.from)];
    const int to = stages.stage_of[static_cast<size_t>(edge.to)];
    if (edge.kind == frazil::EdgeKind::kFused ? from != to : from >= to) std::abort();
  }
  const auto schemas = frazil::NodeSchemas(*plan);
  if (schemas.ok() && schemas->size() != plan->nodes.size()) std::abort();
  return 0;
}
