// What GroupAggregate has in checkpoints.
#include <arrow/api.h>

#include <new>
#include <utility>

#include "operator/changes/group_aggregate.h"

namespace frazil {
namespace {

constexpr const char* kWhat = "aggregates by key";
constexpr int8_t kGroup = 0, kForgotten = 1, kGone = 2;
constexpr int8_t kGiven = 1, kWaiting = 2;

}  // namespace

Status GroupAggregate::freeze(bool full) {
  for (auto& [end, groups] : groups_) {
    StateTable* table = groups.table.get();
    FZ_TRY(Freeze(table, full, [this, end = end, table](std::span<const StateTable::Change> rows) {
      Payloads groups, gone;
      for (const StateTable::Change& row : rows) (row.erased ? gone : groups).push_back(row.payload);
      if (!gone.empty()) FZ_TRY(save_gone(*table, gone));
      return groups.empty() ? Status::OK() : save_groups(*table, end, groups);
    }));
    if (table->frozen()) saving_.push_back(groups.table);
    groups.saved = groups.saved || table->size() > 0;
  }
  if (forgot_ || (full && forgotten_ != kWatermarkMin)) {
    FZ_ASSIGN(auto forgotten, note());
    saved_.push_back(std::move(forgotten));
  }
  forgot_ = false;
  return Status::OK();
}

Result<bool> GroupAggregate::save(int64_t rows_max, StateRows* rows) {
  while (!saving_.empty() && rows_max > 0) {
    FZ_ASSIGN(const bool done, saving_.front()->save_slice(&rows_max));
    if (!done) break;
    if (saving_.front().use_count() == 1) destroy(saving_.front().get());
    saving_.pop_front();
  }
  rows->insert(rows->end(), saved_.begin(), saved_.end());
  saved_.clear();
  count_bytes();
  return saving_.empty();
}

Status GroupAggregate::save_groups(const StateTable& table, Timestamp end, const Payloads& groups) {
  FZ_ASSIGN(arrow::ArrayVector columns, SavedKeys(table, groups, kept_));
  const auto count = static_cast<int64_t>(groups.size());
  FZ_ASSIGN(columns.emplace_back(), arrow::MakeArrayFromScalar(arrow::Int8Scalar(kGroup), count, kept_));
  FZ_ASSIGN(columns.emplace_back(), arrow::MakeArrayFromScalar(arrow::Int64Scalar(end), count, kept_));
  arrow::Int8Builder states(kept_);
  FZ_TRY(states.Reserve(count));
  for (std::byte* payload : groups) {
    const Header& header = *HeaderOf(payload);
    states.UnsafeAppend(
        static_cast<int8_t>((header.given != 0 ? kGiven : 0) | (header.waiting != 0 ? kWaiting : 0)));
  }
  FZ_TRY(states.Finish(&columns.emplace_back()));
  if (changing_) {
    arrow::Int64Builder numbers(kept_);
    for (std::byte* payload : groups) FZ_TRY(numbers.Append(RowsOf(payload)));
    FZ_TRY(numbers.Finish(&columns.emplace_back()));
  }
  FZ_ASSIGN(arrow::ArrayVector accumulators, accumulators_.save(all(groups, /*given=*/false), kept_));
  columns.insert(columns.end(), accumulators.begin(), accumulators.end());
  if (early_.has_value()) {
    FZ_ASSIGN(arrow::ArrayVector given, accumulators_.save(all(groups, /*given=*/true), kept_));
    columns.insert(columns.end(), given.begin(), given.end());
  }
  saved_.push_back(arrow::RecordBatch::Make(saved_schema_, count, std::move(columns)));
  return Status::OK();
}

// Groups without rows, of which there is the key only.
Status GroupAggregate::save_gone(const StateTable& table, const Payloads& groups) {
  FZ_ASSIGN(arrow::ArrayVector columns, SavedKeys(table, groups, pool_));
  const auto count = static_cast<int64_t>(groups.size());
  FZ_ASSIGN(columns.emplace_back(), arrow::MakeArrayFromScalar(arrow::Int8Scalar(kGone), count, pool_));
  FZ_ASSIGN(columns.emplace_back(),
            arrow::MakeArrayFromScalar(arrow::Int64Scalar(kWatermarkMax), count, pool_));
  FZ_ASSIGN(columns.emplace_back(), arrow::MakeArrayFromScalar(arrow::Int8Scalar(0), count, pool_));
  while (static_cast<int>(columns.size()) < saved_schema_->num_fields()) {
    const auto& type = saved_schema_->field(static_cast<int>(columns.size()))->type();
    FZ_ASSIGN(columns.emplace_back(), arrow::MakeArrayOfNull(type, count, pool_));
  }
  saved_.push_back(arrow::RecordBatch::Make(saved_schema_, count, std::move(columns)));
  return Status::OK();
}

// How far windows are forgotten.
Result<std::shared_ptr<arrow::RecordBatch>> GroupAggregate::note() const {
  arrow::ArrayVector columns;
  for (int i = 0; i < saved_schema_->num_fields(); ++i) {
    FZ_ASSIGN(auto column, arrow::MakeArrayOfNull(saved_schema_->field(i)->type(), 1, pool_));
    columns.push_back(std::move(column));
  }
  FZ_ASSIGN(columns[2], arrow::MakeArrayFromScalar(arrow::Int8Scalar(kForgotten), 1, pool_));
  FZ_ASSIGN(columns[3], arrow::MakeArrayFromScalar(arrow::Int64Scalar(forgotten_), 1, pool_));
  FZ_ASSIGN(columns[4], arrow::MakeArrayFromScalar(arrow::Int8Scalar(0), 1, pool_));
  return arrow::RecordBatch::Make(saved_schema_, 1, std::move(columns));
}

Status GroupAggregate::restore(const std::shared_ptr<arrow::RecordBatch>& rows) {
  FZ_TRY(CheckRestored(*rows, *saved_schema_, kWhat));
  for (int i = 2; i < 5; ++i) {
    if (rows->column(i)->null_count() > 0) return RestoreError(kWhat, "a row without what it is");
  }
  const auto& whats = static_cast<const arrow::Int8Array&>(*rows->column(2));
  const auto& ends = static_cast<const arrow::Int64Array&>(*rows->column(3));
  for (int64_t from = 0; from < rows->num_rows();) {
    if (whats.Value(from) == kForgotten) {
      forgotten_ = std::max(forgotten_, ends.Value(from++));
      watermark_ = std::max(watermark_, forgotten_);
      while (!groups_.empty() && groups_.begin()->first <= forgotten_) {
        destroy(groups_.begin()->second.table.get());
        groups_.erase(groups_.begin());
      }
      continue;
    }
    const int8_t what = whats.Value(from);
    if (what != kGroup && (what != kGone || !changing_)) {
      return RestoreError(kWhat, "a row that is nothing known");
    }
    if (changing_ && ends.Value(from) != kWatermarkMax) return RestoreError(kWhat, "a group of a window");
    int64_t to = from + 1;
    while (to < rows->num_rows() && whats.Value(to) == what && ends.Value(to) == ends.Value(from)) ++to;
    const auto some = rows->Slice(from, to - from);
    FZ_TRY(what == kGone ? restore_gone(*some) : restore_groups(*some, ends.Value(from)));
    from = to;
  }
  count_bytes();
  return Status::OK();
}

Status GroupAggregate::restore_keys(const arrow::RecordBatch& rows) {
  const auto& keys = static_cast<const arrow::BinaryArray&>(*rows.column(1));
  if (keys.null_count() > 0) return RestoreError(kWhat, "a group without a key");
  names_.clear();
  for (int64_t i = 0; i < rows.num_rows(); ++i) names_.push_back(keys.GetView(i));
  FZ_TRY(keys_.codec().decode(names_, pool_));  // refuses what is no key
  return encoded_.assign(names_);
}

Status GroupAggregate::restore_gone(const arrow::RecordBatch& rows) {
  FZ_TRY(restore_keys(rows));
  FZ_ASSIGN(Groups * groups, this->groups(kWatermarkMax));
  for (int64_t i = 0; i < encoded_.size(); ++i) {
    std::byte* payload = groups->table->find(encoded_.key(i), encoded_.hash(i));
    if (payload == nullptr) continue;
    destroy(payload);
    FZ_TRY(groups->table->erase(payload));
  }
  groups->table->clear_changes();
  return Status::OK();
}

Status GroupAggregate::restore_groups(const arrow::RecordBatch& rows, Timestamp end) {
  const auto& states = static_cast<const arrow::Int8Array&>(*rows.column(4));
  FZ_TRY(restore_keys(rows));
  if (changing_) {
    const auto& numbers = static_cast<const arrow::Int64Array&>(*rows.column(5));
    for (int64_t i = 0; i < rows.num_rows(); ++i) {
      if (numbers.IsNull(i) || numbers.Value(i) <= 0) return RestoreError(kWhat, "a group without rows");
    }
  }
  FZ_ASSIGN(Groups * groups, this->groups(end));
  Payloads payloads(names_.size());
  std::vector<uint8_t> inserted(names_.size());
  FZ_TRY(groups->table->probe(encoded_, payloads, inserted));
  for (size_t i = 0; i < payloads.size(); ++i) {
    if (inserted[i] == 0) destroy(payloads[i]);
    const int8_t state = states.Value(static_cast<int64_t>(i));
    const bool waits = (state & kWaiting) != 0;
    const bool listed = inserted[i] == 0 && HeaderOf(payloads[i])->waiting != 0;
    new (payloads[i])
        Header{static_cast<uint8_t>(state & kGiven), static_cast<uint8_t>(waits || listed ? 1 : 0), 0};
    create(payloads[i]);
    if (changing_) {
      RowsOf(payloads[i]) =
          static_cast<const arrow::Int64Array&>(*rows.column(5)).Value(static_cast<int64_t>(i));
    }
    if (waits && !listed) groups->waiting.push_back(payloads[i]);
  }
  const auto width = static_cast<int>(accumulators_.saved_fields().size());
  const auto begin = rows.columns().begin() + saved_columns();
  FZ_TRY(accumulators_.merge(all(payloads, /*given=*/false), {begin, begin + width}));
  if (early_.has_value()) {
    FZ_TRY(accumulators_.merge(all(payloads, /*given=*/true), {begin + width, begin + 2 * width}));
  }
  groups->table->clear_changes();
  groups->saved = true;
  return Status::OK();
}

}  // namespace frazil
