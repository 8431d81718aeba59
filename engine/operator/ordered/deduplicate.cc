#include "operator/ordered/deduplicate.h"

#include <arrow/api.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <string>

#include "base/calendar.h"
#include "operator/filter.h"
#include "operator/ordered/row_order.h"

namespace frazil {
namespace {

constexpr const char* kWhat = "deduplicate";

Timestamp KeptAt(const std::byte* payload) {
  Timestamp at;
  std::memcpy(&at, payload, sizeof(at));
  return at;
}

}  // namespace

Result<std::unique_ptr<Deduplicate>> Deduplicate::Make(const nlohmann::json& spec, const arrow::Schema& input,
                                                       const OperatorContext& context) {
  FZ_ASSIGN(KeyColumns keys, KeyColumns::Make(spec, input));
  FZ_ASSIGN(const RowTime time, RowTime::Make(spec, input));
  const auto within = spec.at("within_us").get<int64_t>();
  if (within <= 0) return Error(ErrorKind::kConfig, "reading the plan: within_us " + std::to_string(within));
  return std::unique_ptr<Deduplicate>(new Deduplicate(std::move(keys), time, within, context));
}

Result<StateTable*> Deduplicate::table(int64_t stretch) {
  auto& table = tables_[stretch];
  if (table == nullptr) {
    FZ_ASSIGN(table, StateTable::Make({.payload_bytes = sizeof(Timestamp), .track_changes = true}, kept_));
  }
  return table.get();
}

void Deduplicate::count_bytes() {
  int64_t bytes = 0;
  for (const auto& [stretch, table] : tables_) bytes += table->bytes();
  for (const auto& table : saving_) bytes += table.use_count() == 1 ? table->bytes() : 0;
  bytes_.store(bytes, std::memory_order_relaxed);
}

Result<Progress> Deduplicate::process(Batch batch, Output& out) {
  if (batch.rows() == 0) return Progress::kDone;
  FZ_ASSIGN(const std::vector<Timestamp> times, time_.of(*batch.columns, pool_));
  FZ_TRY(CheckNotBefore(times, promise_, kWhat));
  FZ_TRY(keys_.encode(batch, &encoded_));
  std::vector<uint8_t> keep(times.size());
  for (size_t from = 0; from < times.size();) {
    const int64_t stretch = FloorDivide(times[from], within_);
    size_t to = from + 1;
    while (to < times.size() && FloorDivide(times[to], within_) == stretch) ++to;
    FZ_TRY(take(stretch, times, from, to, &keep));
    from = to;
  }
  count_bytes();
  arrow::BooleanBuilder builder(pool_);
  FZ_TRY(builder.AppendValues(keep.data(), static_cast<int64_t>(keep.size())));
  std::shared_ptr<arrow::BooleanArray> mask;
  FZ_TRY(builder.Finish(&mask));
  FZ_ASSIGN(Batch kept, KeepRows(batch, mask, pool_));
  if (kept.rows() > 0) FZ_TRY(out.push(std::move(kept)));
  return Progress::kDone;
}

// The rows are in one stretch, so of equal keys among them the first is kept, if any is: that is why they can
// be looked up together. Only the neighbours have other kept rows that are near enough.
Status Deduplicate::take(int64_t stretch, const std::vector<Timestamp>& times, size_t from, size_t to,
                         std::vector<uint8_t>* keep) {
  rows_.resize(to - from);
  std::iota(rows_.begin(), rows_.end(), static_cast<int32_t>(from));
  for (const int64_t near : {stretch - 1, stretch, stretch + 1}) {
    const auto table = tables_.find(near);
    if (table == tables_.end() || rows_.empty()) continue;
    found_.resize(rows_.size());
    table->second->find(encoded_, rows_, found_);
    size_t left = 0;
    for (size_t i = 0; i < rows_.size(); ++i) {
      const bool held_back = found_[i] != nullptr &&
                             std::abs(times[static_cast<size_t>(rows_[i])] - KeptAt(found_[i])) < within_;
      if (!held_back) rows_[left++] = rows_[i];
    }
    rows_.resize(left);
  }
  if (rows_.empty()) return Status::OK();
  found_.resize(rows_.size());
  inserted_.resize(rows_.size());
  FZ_ASSIGN(StateTable * table, this->table(stretch));
  FZ_TRY(table->probe(encoded_, rows_, found_, inserted_));
  for (size_t i = 0; i < rows_.size(); ++i) {
    if (inserted_[i] == 0) continue;
    const auto row = static_cast<size_t>(rows_[i]);
    std::memcpy(found_[i], &times[row], sizeof(Timestamp));
    (*keep)[row] = 1;
  }
  return Status::OK();
}

Result<Progress> Deduplicate::advance(int, Timestamp to, Output&) {
  promise_ = std::max(promise_, to);
  // Rows to come are not before the watermark: those kept `within` before it hold none back.
  while (!tables_.empty()) {
    const int64_t last = (tables_.begin()->first + 1) * within_ - 1;
    if (promise_ != kWatermarkMax && last + within_ > promise_) break;
    tables_.erase(tables_.begin());
  }
  count_bytes();
  return Progress::kDone;
}

Status Deduplicate::freeze(bool full) {
  for (const auto& [stretch, table] : tables_) {
    FZ_TRY(Freeze(table.get(), full,
                  [this, saved = table.get()](auto rows) { return save_rows(*saved, PayloadsOf(rows)); }));
    if (table->frozen()) saving_.push_back(table);
  }
  return Status::OK();
}

Result<bool> Deduplicate::save(int64_t rows_max, StateRows* rows) {
  while (!saving_.empty() && rows_max > 0) {
    FZ_ASSIGN(const bool done, saving_.front()->save_slice(&rows_max));
    if (done) saving_.pop_front();
  }
  rows->insert(rows->end(), saved_.begin(), saved_.end());
  saved_.clear();
  count_bytes();
  return saving_.empty();
}

Status Deduplicate::save_rows(const StateTable& table, const std::vector<std::byte*>& payloads) {
  FZ_ASSIGN(arrow::ArrayVector columns, SavedKeys(table, payloads, kept_));
  arrow::Int64Builder kept(kept_);
  FZ_TRY(kept.Reserve(static_cast<int64_t>(payloads.size())));
  for (const std::byte* payload : payloads) kept.UnsafeAppend(KeptAt(payload));
  FZ_TRY(kept.Finish(&columns.emplace_back()));
  const auto schema = KeyedSchema({arrow::field("kept", arrow::int64(), false)});
  saved_.push_back(arrow::RecordBatch::Make(schema, static_cast<int64_t>(payloads.size()), columns));
  return Status::OK();
}

Status Deduplicate::restore(const std::shared_ptr<arrow::RecordBatch>& rows) {
  FZ_TRY(CheckRestored(*rows, *KeyedSchema({arrow::field("kept", arrow::int64(), false)}), kWhat));
  const auto& keys = static_cast<const arrow::BinaryArray&>(*rows->column(1));
  const auto& kept = static_cast<const arrow::Int64Array&>(*rows->column(2));
  if (keys.null_count() > 0 || kept.null_count() > 0)
    return RestoreError(kWhat, "a row without a key or time");
  std::map<int64_t, std::vector<int32_t>> stretches;
  std::vector<std::string_view> names;
  for (int64_t i = 0; i < rows->num_rows(); ++i) {
    names.push_back(keys.GetView(i));
    stretches[FloorDivide(kept.Value(i), within_)].push_back(static_cast<int32_t>(i));
  }
  FZ_TRY(encoded_.assign(names));
  for (const auto& [stretch, which] : stretches) {
    FZ_ASSIGN(StateTable * table, this->table(stretch));
    found_.resize(which.size());
    inserted_.resize(which.size());
    FZ_TRY(table->probe(encoded_, which, found_, inserted_));
    for (size_t i = 0; i < which.size(); ++i) {
      const Timestamp at = kept.Value(which[i]);
      std::memcpy(found_[i], &at, sizeof(at));
    }
    table->clear_changes();
  }
  count_bytes();
  return Status::OK();
}

}  // namespace frazil
