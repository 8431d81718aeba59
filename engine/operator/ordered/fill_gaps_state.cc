// What fill_gaps puts into checkpoints.

#include <arrow/api.h>

#include <algorithm>
#include <new>
#include <string>
#include <utility>

#include "base/calendar.h"
#include "base/check.h"
#include "base/limits.h"
#include "operator/ordered/fill_gaps.h"
#include "state/take_rows.h"

namespace frazil {
namespace {

constexpr const char* kWhat = "fill_gaps";
constexpr Timestamp kEndMax = kWatermarkMax / 4 * 3;  // beyond all times that rows have

}  // namespace

Result<StateRows> FillGaps::state_changes(bool full) {
  FZ_CHECK(closing_ == nullptr);
  FZ_TRY(settle());
  StateRows out;
  FZ_TRY(EachSlice(*table_, full, [&](const std::vector<std::byte*>& payloads) -> Status {
    std::vector<std::byte*> known;
    std::vector<Timestamp> ends;
    std::vector<HeldRow> kept;
    for (std::byte* payload : payloads) {
      const Key* key = KeyOf(payload);
      if (key->last == kNone) continue;
      known.push_back(payload);
      ends.push_back(key->last);
      kept.push_back(key->kept);
    }
    if (known.empty()) return Status::OK();
    FZ_ASSIGN(auto batch, saved(known, ends, kept));
    out.push_back(std::move(batch));
    return Status::OK();
  }));
  FZ_TRY(save_waiting(full, &out));
  if (done_ != noted_ || (full && done_ != kWatermarkMin)) {
    FZ_ASSIGN(auto note, SavedNote(saved_schema_, "done", done_, pool_));
    out.push_back(std::move(note));
    noted_ = done_;
  }
  table_->clear_changes();
  rows_.settle();
  FZ_TRY(compact());
  return out;
}

Status FillGaps::save_waiting(bool full, StateRows* out) {
  std::vector<std::byte*> payloads;
  std::vector<Timestamp> ends;
  std::vector<HeldRow> kept;
  const auto flush = [&]() -> Status {
    if (payloads.empty()) return Status::OK();
    FZ_ASSIGN(auto batch, saved(payloads, ends, kept));
    out->push_back(std::move(batch));
    payloads.clear();
    ends.clear();
    kept.clear();
    return Status::OK();
  };
  for (auto& [end, rows] : waiting_) {
    for (Waiting& row : rows) {
      if (row.saved && !full) continue;
      row.saved = true;
      payloads.push_back(row.payload);
      ends.push_back(end);
      kept.push_back(row.kept);
      if (static_cast<int64_t>(payloads.size()) == limits::kBatchRows) FZ_TRY(flush());
    }
  }
  return flush();
}

Result<std::shared_ptr<arrow::RecordBatch>> FillGaps::saved(const std::vector<std::byte*>& payloads,
                                                            const std::vector<Timestamp>& ends,
                                                            const std::vector<HeldRow>& kept) const {
  const auto count = static_cast<int64_t>(payloads.size());
  FZ_ASSIGN(arrow::ArrayVector columns, SavedKeys(*table_, payloads, pool_));
  arrow::Int64Builder builder(pool_);
  FZ_TRY(builder.AppendValues(ends));
  FZ_TRY(builder.Finish(&columns.emplace_back()));
  FZ_ASSIGN(auto done, arrow::MakeArrayOfNull(arrow::int64(), count, pool_));
  columns.push_back(std::move(done));
  if (fillers_.keeps()) {
    FZ_ASSIGN(const auto rows, rows_.gather(kept));
    columns.push_back(
        std::make_shared<arrow::StructArray>(saved_schema_->fields().back()->type(), count, rows->columns()));
  }
  return arrow::RecordBatch::Make(saved_schema_, count, std::move(columns));
}

Status FillGaps::restore(const std::shared_ptr<arrow::RecordBatch>& rows) {
  FZ_TRY(CheckRestored(*rows, *saved_schema_, kWhat));
  settled_ = false;
  const auto& keys = static_cast<const arrow::BinaryArray&>(*rows->column(1));
  const auto& ends = static_cast<const arrow::Int64Array&>(*rows->column(2));
  const auto& done = static_cast<const arrow::Int64Array&>(*rows->column(3));
  std::vector<int32_t> which;
  for (int64_t i = 0; i < rows->num_rows(); ++i) {
    if (done.IsValid(i)) {
      due_ = done_ = noted_ = std::max(done_, done.Value(i));
      promise_ = done_;
      continue;
    }
    if (keys.IsNull(i) || ends.IsNull(i)) return RestoreError(kWhat, "a window without a key or end");
    const Timestamp end = ends.Value(i);
    if (end < -kEndMax || end > kEndMax)
      return RestoreError(kWhat, "no window ends at " + std::to_string(end));
    if (!is_end(end)) {
      // Of a calendar, by another version of the time zones.
      return RestoreError(
          kWhat, "a key has a row in a window that ended at " +
                     IsoTimestamp(end, arrow::TimeUnit::MICRO, true) + ", and now that one ends at " +
                     IsoTimestamp(panes_.last_end(panes_.pane(end - 1)), arrow::TimeUnit::MICRO, true) +
                     "; if the system's time zones were updated, go back to what they were, or "
                     "begin with a new checkpoint");
    }
    which.push_back(static_cast<int32_t>(i));
  }
  if (!which.empty()) FZ_TRY(take_restored(*rows, which));
  // Windows up to done_ are not waited for: of each key the last one counts, whatever file it is from.
  while (!waiting_.empty() && waiting_.begin()->first <= done_) {
    const auto first = waiting_.begin();
    const Timestamp until = panes_.end_after(first->first, windows_);
    for (const Waiting& row : first->second) {
      if (first->first >= KeyOf(row.payload)->last) {
        FZ_TRY(set_last(row.payload, first->first, until, row.kept));
        continue;
      }
      --KeyOf(row.payload)->waiting;
      if (fillers_.keeps()) FZ_TRY(rows_.release(row.kept));
    }
    waiting_.erase(first);
  }
  table_->clear_changes();
  rows_.settle();
  count_bytes();
  return Status::OK();
}

// Has the rows of a checkpoint with these numbers wait for their windows.
Status FillGaps::take_restored(const arrow::RecordBatch& rows, const std::vector<int32_t>& which) {
  const auto& keys = static_cast<const arrow::BinaryArray&>(*rows.column(1));
  const auto& ends = static_cast<const arrow::Int64Array&>(*rows.column(2));
  uint32_t block = 0;
  if (fillers_.keeps()) {
    FZ_ASSIGN(arrow::ArrayVector columns,
              static_cast<const arrow::StructArray&>(*rows.column(4)).Flatten(pool_));
    FZ_ASSIGN(auto kept,
              TakeRows(arrow::RecordBatch::Make(fillers_.kept(), rows.num_rows(), std::move(columns)), which,
                       pool_));
    for (int i = 0; i < kept->num_columns(); ++i) {
      const auto& field = fillers_.kept()->field(i);
      if (!field->nullable() && kept->column(i)->null_count() > 0) {
        return RestoreError(kWhat, "a row without " + field->name());
      }
    }
    FZ_ASSIGN(block, rows_.add(std::move(kept)));
  }
  std::vector<std::string_view> names;
  for (const int32_t i : which) names.push_back(keys.GetView(i));
  FZ_TRY(encoded_.assign(names));
  std::vector<std::byte*> payloads(names.size());
  std::vector<uint8_t> inserted(names.size());
  FZ_TRY(table_->probe(encoded_, payloads, inserted));
  for (size_t i = 0; i < payloads.size(); ++i) {
    if (inserted[i] != 0) new (payloads[i]) Key{kNone, kNone, 0, {}};
    waiting_[ends.Value(which[i])].push_back({payloads[i], {block, static_cast<uint32_t>(i)}, true});
    ++KeyOf(payloads[i])->waiting;
  }
  return Status::OK();
}

// After state was restored: forgets the keys that are given no more rows.
Status FillGaps::settle() {
  if (settled_) return Status::OK();
  settled_ = true;
  FZ_TRY(EachSlice(*table_, /*full=*/true, [&](const std::vector<std::byte*>& payloads) -> Status {
    for (std::byte* payload : payloads) {
      const Key* key = KeyOf(payload);
      if (key->last != kNone && key->until <= done_) FZ_TRY(forget(payload));
    }
    return Status::OK();
  }));
  table_->clear_changes();
  count_bytes();
  return Status::OK();
}

Status FillGaps::compact() {
  if (!rows_.sparse()) return Status::OK();
  std::vector<HeldRow*> rows;
  FZ_TRY(EachSlice(*table_, /*full=*/true, [&](const std::vector<std::byte*>& payloads) -> Status {
    for (std::byte* payload : payloads) {
      if (KeyOf(payload)->last != kNone) rows.push_back(&KeyOf(payload)->kept);
    }
    return Status::OK();
  }));
  for (auto& [end, waiting] : waiting_) {
    for (Waiting& row : waiting) rows.push_back(&row.kept);
  }
  FZ_TRY(rows_.compact(rows));
  count_bytes();
  return Status::OK();
}

}  // namespace frazil
