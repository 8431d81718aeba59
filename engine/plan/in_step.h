#pragma once

#include <vector>

#include "plan/plan.h"

namespace frazil {

// Which event_time nodes are to be read in step because their rows are joined: the same number for those that
// are, by node of the plan. Rows of the one that is ahead would be kept until the other has come along.
std::vector<int> GroupsInStep(const Plan& plan);

}  // namespace frazil
