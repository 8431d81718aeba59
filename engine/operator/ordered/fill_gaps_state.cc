// What of FillGaps goes into checkpoints, and comes back.
#include <arrow/api.h>

#include <new>
#include <string>
#include <string_view>

#include "base/calendar.h"
#include "base/check.h"
#include "base/limits.h"
#include "operator/ordered/fill_gaps.h"
#include "state/take_rows.h"

namespace frazil {
namespace {

constexpr const char* kWhat = "fill_gaps";

}  // namespace

Result<StateRows> FillGaps::snapshot(bool full) {
  FZ_CHECK(current_.rows == nullptr);
  StateRows out;
  std::vector<std::byte*> payloads;
  std::vector<StateTable::Change> changes;
  StateTable::Scan scan;
  StateTable::ChangeScan change_scan;
  while (full ? !scan.done : !change_scan.done) {
    changes.clear();
    if (full) {
      table_->scan(&scan, limits::kBatchRows, &payloads);
      for (std::byte* payload : payloads) changes.push_back({payload, false});
    } else {
      table_->scan_changes(&change_scan, limits::kBatchRows, &changes);
    }
    if (changes.empty()) continue;
    FZ_ASSIGN(auto rows, saved(changes));
    out.push_back(std::move(rows));
  }
  table_->clear_changes();
  rows_.settle();
  FZ_TRY(compact());
  return out;
}

Result<std::shared_ptr<arrow::RecordBatch>> FillGaps::saved(
    const std::vector<StateTable::Change>& keys) const {
  arrow::UInt64Builder hashes(pool_);
  arrow::BinaryBuilder names(pool_);
  arrow::Int64Builder ends(pool_), filled(pool_);
  std::vector<HeldRow> held;
  // Those that are there first: so their rows stand side by side, and the others have nulls behind them.
  for (const bool erased : {false, true}) {
    for (const StateTable::Change& change : keys) {
      if (change.erased != erased) continue;
      FZ_TRY(hashes.Append(table_->hash(change.payload)));
      FZ_TRY(names.Append(table_->key(change.payload)));
      if (erased) {
        FZ_TRY(ends.AppendNull());
        FZ_TRY(filled.AppendNull());
        continue;
      }
      const Key* key = KeyOf(change.payload);
      FZ_TRY(ends.Append(key->end));
      FZ_TRY(filled.Append(key->filled));
      held.push_back(key->row);
    }
  }
  FZ_ASSIGN(const auto rows, rows_.gather(held));
  const auto there = std::make_shared<arrow::StructArray>(saved_schema_->field(4)->type(), rows->num_rows(),
                                                          rows->columns());
  FZ_ASSIGN(const auto gone,
            arrow::MakeArrayOfNull(there->type(), static_cast<int64_t>(keys.size() - held.size()), pool_));
  arrow::ArrayVector columns(4);
  FZ_TRY(hashes.Finish(&columns[0]));
  FZ_TRY(names.Finish(&columns[1]));
  FZ_TRY(ends.Finish(&columns[2]));
  FZ_TRY(filled.Finish(&columns[3]));
  FZ_ASSIGN(auto row, arrow::Concatenate({there, gone}, pool_));
  columns.push_back(std::move(row));
  return arrow::RecordBatch::Make(saved_schema_, static_cast<int64_t>(keys.size()), std::move(columns));
}

Status FillGaps::compact() {
  if (!rows_.sparse()) return Status::OK();
  std::vector<HeldRow*> rows;
  FZ_TRY(EachSlice(*table_, /*full=*/true, [&](const std::vector<std::byte*>& payloads) -> Status {
    for (std::byte* payload : payloads) rows.push_back(&KeyOf(payload)->row);
    return Status::OK();
  }));
  FZ_TRY(rows_.compact(rows));
  count_bytes();
  return Status::OK();
}

Status FillGaps::restore(const std::shared_ptr<arrow::RecordBatch>& rows) {
  FZ_TRY(CheckRestored(*rows, *saved_schema_, kWhat));
  in_order_ = false;
  const auto& keys = static_cast<const arrow::BinaryArray&>(*rows->column(1));
  const auto& ends = static_cast<const arrow::Int64Array&>(*rows->column(2));
  const auto& filled = static_cast<const arrow::Int64Array&>(*rows->column(3));
  const auto& row = static_cast<const arrow::StructArray&>(*rows->column(4));
  std::vector<std::string_view> names, gone;
  std::vector<int32_t> which;
  for (int64_t i = 0; i < rows->num_rows(); ++i) {
    if (keys.IsNull(i)) return RestoreError(kWhat, "a row without a key");
    if (ends.IsNull(i) != filled.IsNull(i) || ends.IsNull(i) != row.IsNull(i)) {
      return RestoreError(kWhat, "a key that is neither there nor gone");
    }
    if (ends.IsNull(i)) {
      gone.push_back(keys.GetView(i));
      continue;
    }
    const Timestamp end = ends.Value(i);
    if (filled.Value(i) < 0 || filled.Value(i) >= most_ || panes_.first_end(panes_.pane(end - 1)) != end) {
      return RestoreError(kWhat, "a key with " + std::to_string(filled.Value(i)) + " rows made up, up to " +
                                     IsoTimestamp(end, arrow::TimeUnit::MICRO, true));
    }
    names.push_back(keys.GetView(i));
    which.push_back(static_cast<int32_t>(i));
  }
  FZ_TRY(encoded_.assign(gone));
  std::vector<std::byte*> payloads(gone.size());
  table_->find(encoded_, payloads);
  for (std::byte* payload : payloads) {
    if (payload == nullptr) continue;
    FZ_TRY(rows_.release(KeyOf(payload)->row));
    FZ_TRY(table_->erase(payload));
  }
  if (!which.empty()) {
    FZ_ASSIGN(arrow::ArrayVector columns, row.Flatten(pool_));
    FZ_ASSIGN(auto held,
              TakeRows(arrow::RecordBatch::Make(rows_.schema(), rows->num_rows(), std::move(columns)), which,
                       pool_));
    for (int i = 0; i < held->num_columns(); ++i) {
      if (!rows_.schema()->field(i)->nullable() && held->column(i)->null_count() > 0) {
        return RestoreError(kWhat, "a row without " + rows_.schema()->field(i)->name());
      }
    }
    FZ_TRY(encoded_.assign(names));
    payloads.assign(names.size(), nullptr);
    std::vector<uint8_t> inserted(names.size());
    FZ_TRY(table_->probe(encoded_, payloads, inserted));
    FZ_ASSIGN(const uint32_t block, rows_.add(std::move(held)));
    for (size_t i = 0; i < names.size(); ++i) {
      if (inserted[i] == 0) FZ_TRY(rows_.release(KeyOf(payloads[i])->row));
      new (payloads[i])
          Key{ends.Value(which[i]), 0, filled.Value(which[i]), {block, static_cast<uint32_t>(i)}};
    }
  }
  table_->clear_changes();
  rows_.settle();
  count_bytes();
  return Status::OK();
}

// After state was restored: when each key is filled next.
Status FillGaps::put_in_order() {
  if (in_order_) return Status::OK();
  in_order_ = true;
  waiting_.clear();
  return EachSlice(*table_, /*full=*/true, [this](const std::vector<std::byte*>& payloads) -> Status {
    for (std::byte* payload : payloads) wait(payload);
    return Status::OK();
  });
}

}  // namespace frazil
