#include "operator/changes/kept_values.h"

#include <arrow/api.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "base/limits.h"
#include "operator/ordered/keyed_state.h"

namespace frazil {
namespace {

constexpr const char* kWhat = "values that are kept";
constexpr int64_t kAlignment = 8;
constexpr int64_t kSaveStep = 64;                         // rows of state looked at together
constexpr int64_t kSavedBytes = limits::kStateFileBytes;  // of values in one batch of state, and in one slice
constexpr int32_t kNull = -1;

int32_t LengthAt(const uint8_t* bytes, size_t column) {
  int32_t length;
  std::memcpy(&length, bytes + column * sizeof(length), sizeof(length));
  return length;
}

}  // namespace

Result<std::unique_ptr<KeptValues>> KeptValues::Make(const std::vector<std::string>& columns,
                                                     arrow::MemoryPool* pool) {
  arrow::FieldVector fields = {arrow::field("gone", arrow::int64())};
  for (const auto& name : columns) fields.push_back(arrow::field("value " + name, arrow::binary()));
  FZ_ASSIGN(auto table, StateTable::Make({.payload_bytes = sizeof(Entry), .track_changes = true}, pool));
  return std::unique_ptr<KeptValues>(
      new KeptValues(columns.size(), KeyedSchema(fields), std::move(table), pool));
}

KeptValues::~KeptValues() {
  const Status done = EachSlice(*table_, /*full=*/true, [this](const std::vector<std::byte*>& payloads) {
    for (std::byte* payload : payloads) clear(reinterpret_cast<Entry*>(payload), kNowhere);
    return Status::OK();
  });
  static_cast<void>(done);  // nothing in it can fail
}

bool KeptValues::is_there(const std::byte* entry) {
  return reinterpret_cast<const Entry*>(entry)->bytes != nullptr;
}

int64_t KeptValues::gone_at(const std::byte* entry) { return reinterpret_cast<const Entry*>(entry)->size; }

KeptValues::Value KeptValues::value(const std::byte* entry, size_t column) const {
  const uint8_t* const bytes = reinterpret_cast<const Entry*>(entry)->bytes;
  const int32_t length = LengthAt(bytes, column);
  if (length == kNull) return std::nullopt;
  size_t begin = columns_ * sizeof(length);
  for (size_t i = 0; i < column; ++i) begin += static_cast<size_t>(std::max(LengthAt(bytes, i), 0));
  return std::string_view(reinterpret_cast<const char*>(bytes) + begin, static_cast<size_t>(length));
}

bool KeptValues::are(const Entry& entry, const std::vector<Value>& values) const {
  if (entry.bytes == nullptr) return false;
  for (size_t i = 0; i < columns_; ++i) {
    if (value(reinterpret_cast<const std::byte*>(&entry), i) != values[i]) return false;
  }
  return true;
}

Result<KeptValues::Entry*> KeptValues::changing(const EncodedKeys& keys, int64_t row) {
  std::byte* payload = find(keys, row);
  if (payload != nullptr) {
    FZ_TRY(table_->touch(payload));
    return reinterpret_cast<Entry*>(payload);
  }
  const auto number = static_cast<int32_t>(row);
  uint8_t inserted = 0;
  FZ_TRY(table_->probe(keys, {&number, 1}, {&payload, 1}, {&inserted, 1}));
  return new (payload) Entry{nullptr, kNowhere};
}

Status KeptValues::put(const EncodedKeys& keys, int64_t row, const std::vector<Value>& values) {
  // What stays is not saved again.
  const std::byte* const known = find(keys, row);
  if (known != nullptr && are(*reinterpret_cast<const Entry*>(known), values)) return Status::OK();
  FZ_ASSIGN(Entry* const entry, changing(keys, row));
  return assign(entry, values);
}

Status KeptValues::remove(const EncodedKeys& keys, int64_t row, int64_t at) {
  FZ_ASSIGN(Entry* const entry, changing(keys, row));
  clear(entry, at);
  return Status::OK();
}

Status KeptValues::assign(Entry* entry, const std::vector<Value>& values) {
  const size_t head = columns_ * sizeof(int32_t);
  size_t size = head;
  for (const Value& value : values) size += value.has_value() ? value->size() : 0;
  uint8_t* bytes = nullptr;
  FZ_TRY(pool_->Allocate(static_cast<int64_t>(size), kAlignment, &bytes));
  uint8_t* at = bytes + head;
  for (size_t i = 0; i < values.size(); ++i) {
    const int32_t length = values[i].has_value() ? static_cast<int32_t>(values[i]->size()) : kNull;
    std::memcpy(bytes + i * sizeof(length), &length, sizeof(length));
    if (length > 0) {
      std::memcpy(at, values[i]->data(), values[i]->size());
      at += length;
    }
  }
  clear(entry, kNowhere);
  *entry = {bytes, static_cast<int64_t>(size)};
  value_bytes_ += entry->size;
  return Status::OK();
}

void KeptValues::clear(Entry* entry, int64_t at) {
  if (entry->bytes != nullptr) {
    pool_->Free(entry->bytes, entry->size, kAlignment);
    value_bytes_ -= entry->size;
  }
  *entry = {nullptr, at};
}

Status KeptValues::freeze(bool full) {
  return Freeze(table_.get(), full, [this](auto rows) { return save_rows(rows); });
}

Result<bool> KeptValues::save(int64_t rows_max, StateRows* rows) {
  while (table_->frozen() && rows_max > 0 && saved_bytes_ < kSavedBytes) {
    int64_t some = std::min(rows_max, kSaveStep);
    rows_max -= some;
    FZ_TRY(table_->save_slice(&some));
  }
  rows->insert(rows->end(), saved_.begin(), saved_.end());
  saved_.clear();
  saved_bytes_ = 0;
  return !table_->frozen();
}

// Values are long: so many as are within the bound are one batch.
Status KeptValues::save_rows(std::span<const StateTable::Change> rows) {
  std::vector<std::byte*> some;
  int64_t bytes = 0;
  for (const StateTable::Change& row : rows) {
    const auto& entry = *reinterpret_cast<const Entry*>(row.payload);
    some.push_back(row.payload);
    bytes += entry.bytes == nullptr ? 0 : entry.size;
    if (bytes < kSavedBytes) continue;
    FZ_TRY(save_some(some));
    saved_bytes_ += bytes;
    some.clear();
    bytes = 0;
  }
  saved_bytes_ += bytes;
  return some.empty() ? Status::OK() : save_some(some);
}

Status KeptValues::save_some(const std::vector<std::byte*>& payloads) {
  FZ_ASSIGN(arrow::ArrayVector columns, SavedKeys(*table_, payloads, pool_));
  arrow::Int64Builder gone(pool_);
  for (const std::byte* payload : payloads) {
    FZ_TRY(is_there(payload) ? gone.AppendNull() : gone.Append(gone_at(payload)));
  }
  FZ_TRY(gone.Finish(&columns.emplace_back()));
  for (size_t i = 0; i < columns_; ++i) {
    arrow::BinaryBuilder values(pool_);
    for (const std::byte* payload : payloads) {
      const Value kept = is_there(payload) ? value(payload, i) : std::nullopt;
      FZ_TRY(kept.has_value() ? values.Append(*kept) : values.AppendNull());
    }
    FZ_TRY(values.Finish(&columns.emplace_back()));
  }
  saved_.push_back(
      arrow::RecordBatch::Make(saved_schema_, static_cast<int64_t>(payloads.size()), std::move(columns)));
  return Status::OK();
}

Status KeptValues::restore(const arrow::RecordBatch& rows) {
  FZ_TRY(CheckRestored(rows, *saved_schema_, kWhat));
  const auto& keys = static_cast<const arrow::BinaryArray&>(*rows.column(1));
  const auto& gone = static_cast<const arrow::Int64Array&>(*rows.column(2));
  if (keys.null_count() > 0) return RestoreError(kWhat, "a row without a key");
  std::vector<std::string_view> names;
  for (int64_t i = 0; i < rows.num_rows(); ++i) names.push_back(keys.GetView(i));
  EncodedKeys encoded(pool_);
  FZ_TRY(encoded.assign(names));
  std::vector<Value> values(columns_);
  for (int64_t i = 0; i < rows.num_rows(); ++i) {
    FZ_ASSIGN(Entry* const entry, changing(encoded, i));
    if (gone.IsValid(i)) {
      clear(entry, gone.Value(i));
      continue;
    }
    for (size_t c = 0; c < columns_; ++c) {
      const auto& column = static_cast<const arrow::BinaryArray&>(*rows.column(3 + static_cast<int>(c)));
      values[c] = column.IsNull(i) ? Value() : Value(column.GetView(i));
    }
    FZ_TRY(assign(entry, values));
  }
  table_->clear_changes();
  return Status::OK();
}

}  // namespace frazil
