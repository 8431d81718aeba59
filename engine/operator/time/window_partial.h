#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "operator/time/batch_groups.h"
#include "operator/time/partial.h"

namespace frazil {

// The first half of an aggregate over all windows but sessions: finds the pane of each row. Gives rows of
// key, pane and floor: one each, or several where that costs less (BatchGroups).
//
// A row that is late for the first windows of its pane but not for later ones has a floor, the end of the
// first window that takes it: which windows have it must not depend on which of them are still open.
class WindowPartial : public Partial {
 public:
  // Reads what PartialSpec does, and "aggregates".
  static Result<std::unique_ptr<WindowPartial>> Make(const nlohmann::json& spec, const arrow::Schema& input,
                                                     const OperatorContext& context);

 private:
  WindowPartial(PartialSpec spec, Accumulators accumulators, BatchGroups groups,
                const OperatorContext& context)
      : Partial(std::move(spec), std::move(accumulators), context),
        panes_(spec_.window),
        groups_(std::move(groups)) {}

  Status assign(const Batch& batch, const arrow::Int64Array& times) override;
  Status aggregate(const Batch& batch, const std::vector<OrderKey>& order, Output& out) override;
  void assign_late(int64_t row, Timestamp watermark);

  const Panes panes_;
  BatchGroups groups_;
  // Of the batch at hand, kept for their memory.
  std::vector<int64_t> pane_, floor_, pane_of_group_, floor_of_group_;
};

}  // namespace frazil
