#include "plan/in_step.h"

#include <algorithm>
#include <numeric>
#include <set>

namespace frazil {

std::vector<int> GroupsInStep(const Plan& plan) {
  std::vector<int> groups(plan.nodes.size());
  std::iota(groups.begin(), groups.end(), 0);
  std::vector<std::set<int>> times(plan.nodes.size());  // the event_time nodes a node's rows come from
  for (size_t n = 0; n < plan.nodes.size(); ++n) {
    const PlanNode& node = plan.nodes[n];
    for (const PortRef& input : node.inputs) times[n].merge(std::set(times[static_cast<size_t>(input.node)]));
    if (node.kind == NodeKind::kEventTime) times[n] = {static_cast<int>(n)};
    if (!JoinsStreams(node.kind) || times[n].empty()) continue;
    const int into = groups[static_cast<size_t>(*times[n].begin())];
    for (const int each : times[n]) {
      std::replace(groups.begin(), groups.end(), groups[static_cast<size_t>(each)], into);
    }
  }
  return groups;
}

}  // namespace frazil
