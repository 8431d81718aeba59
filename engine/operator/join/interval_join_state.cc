// What an IntervalJoin writes into a checkpoint, and how it begins from one.
#include <arrow/api.h>

#include <algorithm>
#include <string>

#include "base/limits.h"
#include "operator/join/interval_join.h"

namespace frazil {
namespace {

// What a row of a checkpoint is: a left row, a right row, or:
constexpr int8_t kHowFar = 2;

Status Damaged(const std::string& text) {
  return Error(ErrorKind::kState,
               "restoring a join: " + text + "; the state is damaged or of another version");
}

Result<std::shared_ptr<arrow::Array>> Number(const std::shared_ptr<arrow::Scalar>& value, int64_t rows,
                                             arrow::MemoryPool* pool) {
  return arrow::MakeArrayFromScalar(*value, rows, pool);
}

}  // namespace

Result<StateRows> IntervalJoin::snapshot(bool full) {
  FZ_TRY(finish_restore());
  StateRows rows;
  for (int side = 0; side < 2; ++side) {
    JoinSide& held = sides_[static_cast<size_t>(side)].rows;
    const std::vector<uint32_t> numbers = full ? held.all() : held.unsaved();
    const auto step = static_cast<size_t>(limits::kBatchRows);
    for (size_t from = 0; from < numbers.size(); from += step) {
      const auto begin = numbers.begin() + static_cast<std::ptrdiff_t>(from);
      const size_t count = std::min(step, numbers.size() - from);
      FZ_ASSIGN(auto part, saved(side, {begin, begin + static_cast<std::ptrdiff_t>(count)}));
      rows.push_back(std::move(part));
    }
    FZ_TRY(held.settle());
  }
  if (!rows.empty() || note_due_) {
    FZ_ASSIGN(auto last, note());
    rows.push_back(std::move(last));
  }
  note_due_ = false;
  count_bytes();
  return rows;
}

Result<std::shared_ptr<arrow::RecordBatch>> IntervalJoin::saved(int side,
                                                                const std::vector<uint32_t>& numbers) {
  Side& mine = sides_[static_cast<size_t>(side)];
  FZ_ASSIGN(const auto rows, mine.rows.gather(numbers));
  const int64_t count = rows->num_rows();
  FZ_TRY(mine.keys.encode(mine.input.keys_of(*rows), count, &encoded_));
  arrow::UInt64Builder hashes(pool_);
  FZ_TRY(hashes.AppendValues(encoded_.hashes().data(), count));
  arrow::ArrayVector columns(6);
  FZ_TRY(hashes.Finish(&columns[0]));
  FZ_ASSIGN(columns[1], Number(std::make_shared<arrow::Int8Scalar>(static_cast<int8_t>(side)), count, pool_));
  FZ_ASSIGN(columns[2], arrow::MakeArrayOfNull(arrow::int64(), count, pool_));
  columns[3] = columns[2];
  const auto at = static_cast<size_t>(4 + side), other = static_cast<size_t>(5 - side);
  FZ_ASSIGN(columns[at], arrow::StructArray::Make(rows->columns(), rows->schema()->fields()));
  FZ_ASSIGN(columns[other],
            arrow::MakeArrayOfNull(saved_schema_->field(static_cast<int>(other))->type(), count, pool_));
  return arrow::RecordBatch::Make(saved_schema_, count, std::move(columns));
}

Result<std::shared_ptr<arrow::RecordBatch>> IntervalJoin::note() const {
  arrow::ArrayVector columns(6);
  FZ_ASSIGN(columns[1], Number(std::make_shared<arrow::Int8Scalar>(kHowFar), 1, pool_));
  FZ_ASSIGN(columns[2], Number(std::make_shared<arrow::Int64Scalar>(sides_[0].watermark), 1, pool_));
  FZ_ASSIGN(columns[3], Number(std::make_shared<arrow::Int64Scalar>(sides_[1].watermark), 1, pool_));
  for (const int i : {0, 4, 5}) {
    FZ_ASSIGN(columns[static_cast<size_t>(i)],
              arrow::MakeArrayOfNull(saved_schema_->field(i)->type(), 1, pool_));
  }
  return arrow::RecordBatch::Make(saved_schema_, 1, std::move(columns));
}

Status IntervalJoin::restore(const std::shared_ptr<arrow::RecordBatch>& rows) {
  if (!rows->schema()->Equals(*saved_schema_, /*check_metadata=*/false)) {
    return Error(ErrorKind::kState,
                 "restoring a join: the state has other columns: " + rows->schema()->ToString() +
                     ", expected " + saved_schema_->ToString());
  }
  const auto& what = static_cast<const arrow::Int8Array&>(*rows->column(1));
  for (int64_t from = 0, to = 0; from < rows->num_rows(); from = to) {
    const int8_t kind = what.Value(from);
    while (to < rows->num_rows() && what.Value(to) == kind) ++to;
    if (kind == kHowFar) {
      for (int side = 0; side < 2; ++side) {
        const auto& watermarks = static_cast<const arrow::Int64Array&>(*rows->column(2 + side));
        if (watermarks.IsNull(to - 1)) return Damaged("no watermark up to which it was");
        Timestamp& watermark = sides_[static_cast<size_t>(side)].watermark;
        for (int64_t i = from; i < to; ++i) watermark = std::max(watermark, watermarks.Value(i));
      }
      continue;
    }
    if (kind != 0 && kind != 1) return Damaged("rows of an unknown kind");
    const auto column = rows->column(4 + kind)->Slice(from, to - from);
    if (column->null_count() > 0) return Damaged("a row that is not there");
    FZ_ASSIGN(auto part, arrow::RecordBatch::FromStructArray(column, pool_));
    restored_.emplace_back(kind, part->ReplaceSchemaMetadata(nullptr));
  }
  return Status::OK();
}

// All files are read: the rows that are still needed are kept, and the others forgotten.
Status IntervalJoin::finish_restore() {
  if (restored_.empty()) return Status::OK();
  for (auto& [side, rows] : std::exchange(restored_, {})) FZ_TRY(keep_restored(side, rows));
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
    if (keyed[i] == 0) return Damaged("a row without a key");
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
