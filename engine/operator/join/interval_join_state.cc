// How an IntervalJoin is written into a checkpoint, and how it begins from one.
#include <algorithm>
#include <utility>

#include "base/limits.h"
#include "operator/join/interval_join.h"

namespace frazil {

Result<StateRows> IntervalJoin::state_changes(bool full) {
  FZ_TRY(finish_restore());
  StateRows rows;
  for (int number = 0; number < 2; ++number) {
    Side& side = sides_[static_cast<size_t>(number)];
    FZ_TRY(saved_.save(number, side.rows, side.input, side.keys, full, &rows));
    FZ_TRY(side.rows.settle());
  }
  if (!rows.empty() || note_due_) {
    FZ_ASSIGN(auto note, saved_.note({sides_[0].watermark, sides_[1].watermark}));
    rows.push_back(std::move(note));
  }
  note_due_ = false;
  count_bytes();
  return rows;
}

Status IntervalJoin::restore(const std::shared_ptr<arrow::RecordBatch>& rows) {
  FZ_TRY(saved_.read(rows, &restored_));
  for (size_t side = 0; side < 2; ++side) {
    sides_[side].watermark = std::max(sides_[side].watermark, restored_.watermarks[side]);
  }
  return Status::OK();
}

// All files are read: the rows that are still needed are kept, and the others forgotten.
Status IntervalJoin::finish_restore() {
  if (restored_.rows.empty()) return Status::OK();
  for (auto& [side, rows] : std::exchange(restored_.rows, {})) FZ_TRY(keep_restored(side, rows));
  for (Side& side : sides_) FZ_TRY(side.rows.settle());
  if (first_match_only()) FZ_TRY(drop_matched());
  count_bytes();
  return Status::OK();
}

Status IntervalJoin::keep_restored(int side, const std::shared_ptr<arrow::RecordBatch>& rows) {
  const Side& mine = sides_[static_cast<size_t>(side)];
  const std::vector<uint8_t> keyed = mine.input.keyed(*rows);
  FZ_ASSIGN(const std::vector<Timestamp> times, mine.input.time.of(*rows, pool_));
  FZ_TRY(mine.keys.encode(mine.input.keys_of(*rows), rows->num_rows(), &encoded_));
  std::vector<int32_t> which;
  for (size_t i = 0; i < times.size(); ++i) {
    if (keyed[i] == 0) return JoinSaved::Damaged("a row without a key");
    if (times[i] >= needed(side)) which.push_back(static_cast<int32_t>(i));
  }
  return keep(side, rows, times, which);
}

// Left rows that have found their first match are in earlier files still.
Status IntervalJoin::drop_matched() {
  StateTable::Scan scan;
  std::vector<std::byte*> keys;
  while (!scan.done) {
    table_->scan(&scan, limits::kBatchRows, &keys);
    for (std::byte* each : keys) {
      auto* key = reinterpret_cast<KeyRows*>(each);
      std::vector<TimedRow> matched;
      TimeLists::Place place;
      while (const TimedRow* left = TimeLists::next(key->lists[0], &place)) {
        if (has_match(0, {left->time, each, 0})) matched.push_back(*left);
      }
      for (const TimedRow& left : matched) {
        lists_.remove(&key->lists[0], left);
        FZ_TRY(sides_[0].rows.release(static_cast<uint32_t>(left.row)));
      }
    }
  }
  return Status::OK();
}

}  // namespace frazil
