// What of Pattern goes into checkpoints, and comes back.
#include <arrow/api.h>

#include <string>
#include <string_view>

#include "base/check.h"
#include "base/limits.h"
#include "operator/ordered/pattern.h"
#include "state/take_rows.h"

namespace frazil {
namespace {

constexpr const char* kWhat = "pattern";

Result<std::shared_ptr<arrow::Array>> ListOf(arrow::Int32Builder* offsets,
                                             const std::shared_ptr<arrow::Array>& values,
                                             const std::shared_ptr<arrow::DataType>& type,
                                             arrow::MemoryPool* pool) {
  FZ_ASSIGN(const auto bounds, offsets->Finish());
  FZ_ASSIGN(const auto list, arrow::ListArray::FromArrays(type, *bounds, *values, pool));
  return std::shared_ptr<arrow::Array>(list);
}

}  // namespace

struct Pattern::Saving {
  explicit Saving(arrow::MemoryPool* pool)
      : hashes(pool), keys(pool), starts(pool), taken(pool), matches(pool), matches_too(pool), rows(pool) {}

  arrow::UInt64Builder hashes;
  arrow::BinaryBuilder keys;
  arrow::Int64Builder starts;
  arrow::Int32Builder taken, matches, matches_too, rows;  // the last three: bounds of lists
  std::vector<SharedRows::Id> ids;
};

// `payload`: null for a key that is gone.
Status Pattern::save(std::string_view key, uint64_t hash, const std::byte* payload, Saving* saving) const {
  FZ_TRY(saving->hashes.Append(hash));
  FZ_TRY(saving->keys.Append(key));
  for (auto* bounds : {&saving->matches, &saving->matches_too}) {
    FZ_TRY(bounds->Append(static_cast<int32_t>(saving->starts.length())));
  }
  FZ_TRY(saving->rows.Append(static_cast<int32_t>(saving->ids.size())));
  if (payload == nullptr) return Status::OK();
  for (const OpenMatches::Number match : matches_.of(payload)) {
    FZ_TRY(saving->starts.Append(matches_.start(match)));
    FZ_TRY(saving->taken.Append(matches_.taken(match)));
    for (int step = 0; step < matches_.taken(match); ++step) saving->ids.push_back(matches_.row(match, step));
  }
  return Status::OK();
}

Result<std::shared_ptr<arrow::RecordBatch>> Pattern::finish(Saving* saving) const {
  const int64_t count = saving->hashes.length();
  for (auto* bounds : {&saving->matches, &saving->matches_too}) {
    FZ_TRY(bounds->Append(static_cast<int32_t>(saving->starts.length())));
  }
  FZ_TRY(saving->rows.Append(static_cast<int32_t>(saving->ids.size())));
  FZ_ASSIGN(const auto held, rows_.gather(saving->ids));
  FZ_ASSIGN(const auto starts, saving->starts.Finish());
  FZ_ASSIGN(const auto taken, saving->taken.Finish());
  const auto& row_type = static_cast<const arrow::ListType&>(*saved_schema_->field(4)->type()).value_type();
  const auto rows = std::make_shared<arrow::StructArray>(row_type, held->num_rows(), held->columns());
  arrow::ArrayVector columns(2);
  FZ_TRY(saving->hashes.Finish(&columns[0]));
  FZ_TRY(saving->keys.Finish(&columns[1]));
  FZ_ASSIGN(auto lists, ListOf(&saving->matches, starts, saved_schema_->field(2)->type(), pool_));
  columns.push_back(std::move(lists));
  FZ_ASSIGN(lists, ListOf(&saving->matches_too, taken, saved_schema_->field(3)->type(), pool_));
  columns.push_back(std::move(lists));
  FZ_ASSIGN(lists, ListOf(&saving->rows, rows, saved_schema_->field(4)->type(), pool_));
  columns.push_back(std::move(lists));
  saving->ids.clear();
  return arrow::RecordBatch::Make(saved_schema_, count, std::move(columns));
}

Result<StateRows> Pattern::state_changes(bool full) {
  FZ_CHECK(complete_.empty());
  StateRows out;
  Saving saving(pool_);
  const auto add = [&](std::string_view key, uint64_t hash, const std::byte* payload) -> Status {
    FZ_TRY(save(key, hash, payload, &saving));
    // A key may have many rows.
    if (saving.hashes.length() < limits::kBatchRows &&
        static_cast<int64_t>(saving.ids.size()) < limits::kBatchRows) {
      return Status::OK();
    }
    FZ_ASSIGN(auto batch, finish(&saving));
    out.push_back(std::move(batch));
    return Status::OK();
  };
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
    for (const StateTable::Change& change : changes) {
      FZ_TRY(add(table_->key(change.payload), table_->hash(change.payload),
                 change.erased ? nullptr : change.payload));
    }
  }
  if (saving.hashes.length() > 0) {
    FZ_ASSIGN(auto batch, finish(&saving));
    out.push_back(std::move(batch));
  }
  table_->clear_changes();
  FZ_TRY(rows_.compact());
  count_bytes();
  return out;
}

Status Pattern::restore(const std::shared_ptr<arrow::RecordBatch>& rows) {
  FZ_TRY(CheckRestored(*rows, *saved_schema_, kWhat));
  in_order_ = false;
  const auto& keys = static_cast<const arrow::BinaryArray&>(*rows->column(1));
  const auto& starts = static_cast<const arrow::ListArray&>(*rows->column(2));
  const auto& taken = static_cast<const arrow::ListArray&>(*rows->column(3));
  const auto& lists = static_cast<const arrow::ListArray&>(*rows->column(4));
  for (const arrow::Array* column :
       std::initializer_list<const arrow::Array*>{&keys, &starts, &taken, &lists, starts.values().get(),
                                                  taken.values().get(), lists.values().get()}) {
    if (column->null_count() > 0) return RestoreError(kWhat, "a null in what is known of a match");
  }
  std::vector<std::string_view> names;
  std::vector<int32_t> which;  // rows of matches, in their order
  for (int64_t i = 0; i < rows->num_rows(); ++i) {
    names.push_back(keys.GetView(i));
    FZ_TRY(check_saved(starts, taken, lists, i));
    for (int64_t j = 0; j < lists.value_length(i); ++j) {
      which.push_back(static_cast<int32_t>(lists.value_offset(i) + j));
    }
  }
  std::vector<SharedRows::Id> ids;
  if (!which.empty()) {
    FZ_ASSIGN(arrow::ArrayVector columns,
              static_cast<const arrow::StructArray&>(*lists.values()).Flatten(pool_));
    FZ_ASSIGN(auto held,
              TakeRows(arrow::RecordBatch::Make(rows_.schema(), lists.values()->length(), std::move(columns)),
                       which, pool_));
    for (int i = 0; i < held->num_columns(); ++i) {
      if (!held->schema()->field(i)->nullable() && held->column(i)->null_count() > 0) {
        return RestoreError(kWhat, "a row without " + held->schema()->field(i)->name());
      }
    }
    FZ_TRY(rows_.add(std::move(held), &ids));
  }
  FZ_TRY(put(names, starts, taken, ids));
  for (const SharedRows::Id id : ids) FZ_TRY(rows_.let_go(id));
  table_->clear_changes();
  FZ_TRY(rows_.compact());
  count_bytes();
  return Status::OK();
}

// Whether the matches of a key can be those of this pattern.
Status Pattern::check_saved(const arrow::ListArray& starts, const arrow::ListArray& taken,
                            const arrow::ListArray& rows, int64_t key) const {
  const auto& begun = static_cast<const arrow::Int64Array&>(*starts.values());
  const auto& steps = static_cast<const arrow::Int32Array&>(*taken.values());
  const int64_t count = starts.value_length(key);
  if (count != taken.value_length(key) || count > open_max_) {
    return RestoreError(kWhat, std::to_string(count) + " matches of a key, up to " +
                                   std::to_string(open_max_) + ", with steps of " +
                                   std::to_string(taken.value_length(key)));
  }
  int64_t needed = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int32_t number = steps.Value(taken.value_offset(key) + i);
    if (number < 1 || number > matches_.lists()) {
      return RestoreError(kWhat, "a match that has taken " + std::to_string(number) + " steps");
    }
    needed += number;
    if (i == 0) continue;
    const int64_t at = starts.value_offset(key) + i;
    if (begun.Value(at) < begun.Value(at - 1) || number > steps.Value(taken.value_offset(key) + i - 1)) {
      return RestoreError(kWhat, "matches of a key that are not in order");
    }
  }
  if (needed != rows.value_length(key)) {
    return RestoreError(
        kWhat, std::to_string(rows.value_length(key)) + " rows of a key, expected " + std::to_string(needed));
  }
  return Status::OK();
}

// What an earlier file said of a key is replaced. `ids` are the rows of all matches.
Status Pattern::put(const std::vector<std::string_view>& names, const arrow::ListArray& starts,
                    const arrow::ListArray& taken, const std::vector<SharedRows::Id>& ids) {
  const auto& begun = static_cast<const arrow::Int64Array&>(*starts.values());
  const auto& steps = static_cast<const arrow::Int32Array&>(*taken.values());
  FZ_TRY(encoded_.assign(names));
  std::vector<std::byte*> payloads(names.size());
  std::vector<uint8_t> inserted(names.size());
  FZ_TRY(table_->probe(encoded_, payloads, inserted));
  for (size_t i = 0; i < names.size(); ++i) {
    if (inserted[i] != 0) matches_.create(payloads[i]);
  }
  auto id = ids.begin();
  for (size_t i = 0; i < names.size(); ++i) {
    FZ_TRY(matches_.clear(payloads[i]));
    const auto key = static_cast<int64_t>(i);
    for (int64_t j = 0; j < starts.value_length(key); ++j) {
      const auto end = id + steps.Value(taken.value_offset(key) + j);
      matches_.restore(payloads[i], begun.Value(starts.value_offset(key) + j), {id, end});
      id = end;
    }
    touched_.push_back(payloads[i]);
  }
  return forget_empty();
}

}  // namespace frazil
