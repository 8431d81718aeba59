#include "plan/stages.h"

#include <algorithm>

namespace frazil {

StagePlan CutStages(const Plan& plan) {
  StagePlan cut;
  cut.stage_of.resize(plan.nodes.size(), 0);
  for (size_t n = 0; n < plan.nodes.size(); ++n) {
    for (const PortRef& input : plan.nodes[n].inputs) {
      const auto from = static_cast<size_t>(input.node);
      const int crossing = plan.nodes[from].kind == NodeKind::kExchange ? 1 : 0;
      cut.stage_of[n] = std::max(cut.stage_of[n], cut.stage_of[from] + crossing);
    }
    cut.stages = std::max(cut.stages, cut.stage_of[n] + 1);
  }
  for (size_t n = 0; n < plan.nodes.size(); ++n) {
    for (size_t port = 0; port < plan.nodes[n].inputs.size(); ++port) {
      const PortRef& input = plan.nodes[n].inputs[port];
      const auto from = static_cast<size_t>(input.node);
      Edge edge{static_cast<int>(cut.edges.size()),
                input.node,
                static_cast<int>(n),
                static_cast<int>(port),
                input.aside,
                EdgeKind::kFused};
      if (plan.nodes[from].kind == NodeKind::kExchange) {
        edge.kind = EdgeKind::kHash;
      } else if (cut.stage_of[from] != cut.stage_of[n]) {
        edge.kind = EdgeKind::kForward;
      }
      cut.edges.push_back(edge);
    }
  }
  return cut;
}

}  // namespace frazil
