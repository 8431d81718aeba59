// What GroupAggregate has in checkpoints.
#include <arrow/api.h>

#include <new>
#include <utility>

#include "operator/changes/group_aggregate.h"

namespace frazil {
namespace {

constexpr const char* kWhat = "aggregates by key";
constexpr int8_t kGroup = 0, kForgotten = 1;
constexpr int8_t kGiven = 1, kWaiting = 2;
constexpr int kColumns = 5;  // before the accumulators

}  // namespace

Status GroupAggregate::freeze(bool full) {
  for (auto& [end, groups] : groups_) {
    StateTable* table = groups.table.get();
    FZ_TRY(Freeze(table, full, [this, end = end, table](std::span<const StateTable::Change> rows) {
      return save_groups(*table, end, PayloadsOf(rows));
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
  FZ_ASSIGN(arrow::ArrayVector columns, SavedKeys(table, groups, pool_));
  const auto count = static_cast<int64_t>(groups.size());
  FZ_ASSIGN(columns.emplace_back(), arrow::MakeArrayFromScalar(arrow::Int8Scalar(kGroup), count, pool_));
  FZ_ASSIGN(columns.emplace_back(), arrow::MakeArrayFromScalar(arrow::Int64Scalar(end), count, pool_));
  arrow::Int8Builder states(pool_);
  FZ_TRY(states.Reserve(count));
  for (std::byte* payload : groups) {
    const Header& header = *HeaderOf(payload);
    states.UnsafeAppend(
        static_cast<int8_t>((header.given != 0 ? kGiven : 0) | (header.waiting != 0 ? kWaiting : 0)));
  }
  FZ_TRY(states.Finish(&columns.emplace_back()));
  FZ_ASSIGN(arrow::ArrayVector accumulators, accumulators_.save(all(groups, /*given=*/false), pool_));
  columns.insert(columns.end(), accumulators.begin(), accumulators.end());
  if (early_.has_value()) {
    FZ_ASSIGN(arrow::ArrayVector given, accumulators_.save(all(groups, /*given=*/true), pool_));
    columns.insert(columns.end(), given.begin(), given.end());
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
  for (int i = 2; i < kColumns; ++i) {
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
    if (whats.Value(from) != kGroup) return RestoreError(kWhat, "a row that is nothing known");
    int64_t to = from + 1;
    while (to < rows->num_rows() && whats.Value(to) == kGroup && ends.Value(to) == ends.Value(from)) ++to;
    FZ_TRY(restore_groups(*rows->Slice(from, to - from), ends.Value(from)));
    from = to;
  }
  count_bytes();
  return Status::OK();
}

Status GroupAggregate::restore_groups(const arrow::RecordBatch& rows, Timestamp end) {
  const auto& keys = static_cast<const arrow::BinaryArray&>(*rows.column(1));
  const auto& states = static_cast<const arrow::Int8Array&>(*rows.column(4));
  if (keys.null_count() > 0) return RestoreError(kWhat, "a group without a key");
  names_.clear();
  for (int64_t i = 0; i < rows.num_rows(); ++i) names_.push_back(keys.GetView(i));
  FZ_TRY(keys_.codec().decode(names_, pool_));  // refuses what is no key
  FZ_TRY(encoded_.assign(names_));
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
    if (waits && !listed) groups->waiting.push_back(payloads[i]);
  }
  const auto width = static_cast<int>(accumulators_.saved_fields().size());
  const auto begin = rows.columns().begin() + kColumns;
  FZ_TRY(accumulators_.merge(all(payloads, /*given=*/false), {begin, begin + width}));
  if (early_.has_value()) {
    FZ_TRY(accumulators_.merge(all(payloads, /*given=*/true), {begin + width, begin + 2 * width}));
  }
  groups->table->clear_changes();
  groups->saved = true;
  return Status::OK();
}

}  // namespace frazil
