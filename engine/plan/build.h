#pragma once

#include <memory>
#include <vector>

#include "operator/batch_function.h"
#include "operator/operator.h"
#include "plan/plan.h"

namespace frazil {

// The schema of the rows of every node, by node; sinks have their input's.
Result<std::vector<std::shared_ptr<arrow::Schema>>> NodeSchemas(const Plan& plan);

// The schema of what a node sets aside: a source its rejected rows, a late gate its late ones, which have the
// columns of its input.
std::shared_ptr<arrow::Schema> AsideSchema(const Plan& plan, int node,
                                           const std::vector<std::shared_ptr<arrow::Schema>>& schemas);

// The schemas of what a node reads, by port.
std::vector<std::shared_ptr<arrow::Schema>> InputSchemas(
    const Plan& plan, const PlanNode& node, const std::vector<std::shared_ptr<arrow::Schema>>& schemas);

// Makes the operator of a node for one worker, given InputSchemas. The one table of operators is in build.cc.
Result<std::unique_ptr<Operator>> MakeOperator(const PlanNode& node,
                                               const std::vector<std::shared_ptr<arrow::Schema>>& inputs,
                                               const OperatorContext& context);

}  // namespace frazil
