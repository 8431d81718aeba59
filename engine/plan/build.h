#pragma once

#include <memory>
#include <vector>

#include "operator/batch_function.h"
#include "operator/operator.h"
#include "plan/plan.h"

namespace frazil {

// The schema of the rows of every node, by node; sinks have their input's.
Result<std::vector<std::shared_ptr<arrow::Schema>>> NodeSchemas(const Plan& plan);

// Makes the operator of a node for one worker. The one table of operators is in build.cc.
Result<std::unique_ptr<Operator>> MakeOperator(const PlanNode& node,
                                               const std::shared_ptr<arrow::Schema>& input,
                                               const OperatorContext& context);

}  // namespace frazil
