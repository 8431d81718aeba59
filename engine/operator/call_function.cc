#include "operator/call_function.h"

#include <arrow/record_batch.h>

#include <utility>

namespace frazil {
namespace {

std::shared_ptr<arrow::RecordBatch> VisibleColumns(const arrow::RecordBatch& batch) {
  std::vector<int> visible;
  for (int i = 0; i < batch.num_columns(); ++i) {
    if (!batch.schema()->field(i)->name().starts_with(kHiddenPrefix)) visible.push_back(i);
  }
  auto selected = batch.SelectColumns(visible);
  return selected.ok() ? *selected : nullptr;  // the indices are in range
}

}  // namespace

Result<Progress> MapBatches::process(Batch batch, Output& out) {
  auto called = function_(VisibleColumns(*batch.columns));
  if (!called.ok()) {
    return Prefixed(called.status(), "calling " + reference_ + " with rows " + std::to_string(batch.origin.position_begin) +
                                         " to " + std::to_string(batch.origin.position_end) + " of partition " +
                                         std::to_string(batch.origin.partition));
  }
  batch.columns = std::move(*called);
  FZ_TRY(out.push(std::move(batch)));
  return Progress::kDone;
}

}  // namespace frazil
