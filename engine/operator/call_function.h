#pragma once

#include <memory>
#include <string>
#include <vector>

#include "operator/batch_function.h"
#include "operator/operator.h"

namespace frazil {

// Gives each batch's visible columns to a user's function and passes on what it returns. Hidden columns end here.
class MapBatches : public Operator {
 public:
  MapBatches(std::string reference, BatchFunction function)
      : reference_(std::move(reference)), function_(std::move(function)) {}
  Result<Progress> process(Batch batch, Output& out) override;

 private:
  const std::string reference_;
  const BatchFunction function_;
};

}  // namespace frazil
