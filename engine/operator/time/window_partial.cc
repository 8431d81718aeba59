#include "operator/time/window_partial.h"

#include <arrow/api.h>

#include <numeric>
#include <utility>

namespace frazil {

Result<std::unique_ptr<WindowPartial>> WindowPartial::Make(const nlohmann::json& spec,
                                                           const arrow::Schema& input,
                                                           const OperatorContext& context) {
  FZ_ASSIGN(PartialSpec told, PartialSpec::Make(spec, input));
  FZ_ASSIGN(Accumulators accumulators, Accumulators::OfRows(spec.at("aggregates"), input));
  FZ_ASSIGN(BatchGroups groups, BatchGroups::Make(told.key_types, accumulators.width(), context.pool));
  return std::unique_ptr<WindowPartial>(
      new WindowPartial(std::move(told), std::move(accumulators), std::move(groups), context));
}

// Pane and floor of every row, and which rows some window takes.
Status WindowPartial::assign(const Batch& batch, const arrow::Int64Array& times) {
  const auto rows = static_cast<size_t>(batch.rows());
  pane_.resize(rows);
  floor_.assign(rows, kWatermarkMin);
  accepted_.resize(rows);
  std::iota(accepted_.begin(), accepted_.end(), 0);
  const int64_t* at = times.raw_values();
  for (size_t i = 0; i < rows; ++i) pane_[i] = panes_.pane(at[i] - spec_.minus);
  const auto marks = MarkOf(batch, kRowWatermarkMark);
  if (marks == nullptr) return Status::OK();
  const auto& watermarks = static_cast<const arrow::Int64Array&>(*marks);
  accepted_.clear();
  for (size_t i = 0; i < rows; ++i) {
    const auto row = static_cast<int64_t>(i);
    if (!watermarks.IsNull(row)) {
      assign_late(row, watermarks.Value(row));
      if (floor_[i] == kWatermarkMax) continue;
    }
    accepted_.push_back(static_cast<int32_t>(i));
  }
  return Status::OK();
}

// A row behind its watermark: the windows that have left it behind refuse it.
void WindowPartial::assign_late(int64_t row, Timestamp watermark) {
  const auto i = static_cast<size_t>(row);
  const Timestamp pane = pane_[i];
  const Timestamp last = panes_.last_end(pane);
  Timestamp end = panes_.first_end(pane);
  bool missed = false;
  for (; end <= last && end <= watermark - spec_.lateness; end += panes_.every()) {
    gate_.refuse(row, watermark, panes_.start(end), end);
    missed = true;
  }
  if (end > last) {
    floor_[i] = kWatermarkMax;  // no window takes it
  } else if (missed && spec_.window.kind == WindowSpec::Kind::kCumulating) {
    pane_[i] = end - panes_.every();  // windows only grow: it counts as if it came in a later pane
  } else if (missed) {
    floor_[i] = end;
  }
}

Status WindowPartial::aggregate(const Batch& batch, const std::vector<OrderKey>& order, Output& out) {
  FZ_TRY(groups_.group(keys_of(batch), pane_, floor_, accepted_));
  for (std::byte* group : groups_.payloads()) accumulators_.create(group);
  Status status = accumulators_.add(batch, groups_.of_rows(), order, pool_);
  if (status.ok()) {
    pane_of_group_.clear();
    floor_of_group_.clear();
    for (const int32_t row : groups_.rows()) {
      pane_of_group_.push_back(pane_[static_cast<size_t>(row)]);
      floor_of_group_.push_back(floor_[static_cast<size_t>(row)]);
    }
    status = emit(
        batch, {groups_.rows(), pane_of_group_, floor_of_group_, groups_.payloads(), groups_.hashes()}, out);
  }
  for (std::byte* group : groups_.payloads()) accumulators_.destroy(group);
  return status;
}

}  // namespace frazil
