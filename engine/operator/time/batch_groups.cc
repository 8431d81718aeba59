#include "operator/time/batch_groups.h"

#include <arrow/api.h>

#include <algorithm>

namespace frazil {
namespace {

// Panes and floors of a batch that get a table each, found one by one; with more, pane and floor become a
// part of the key.
constexpr size_t kPlacesMax = 8;
// Grouping pays while it leaves at most this share of the rows: judged over kJudgedBatches, and tried again
// after kApartBatches.
constexpr double kGroupsShareMax = 0.6;
constexpr int kJudgedBatches = 8;
constexpr int kApartBatches = 256;
// Bytes of tables that are kept for the next batch.
constexpr int64_t kKeptBytes = 4 << 20;

std::shared_ptr<arrow::Array> Wrapped(std::span<const Timestamp> values) {
  return std::make_shared<arrow::Int64Array>(static_cast<int64_t>(values.size()),
                                             arrow::Buffer::Wrap(values.data(), values.size()));
}

}  // namespace

Result<BatchGroups> BatchGroups::Make(arrow::DataTypeVector key_types, int32_t payload_bytes,
                                      arrow::MemoryPool* pool) {
  FZ_ASSIGN(KeyCodec keys, KeyCodec::Make(key_types));
  key_types.push_back(arrow::int64());
  key_types.push_back(arrow::int64());
  FZ_ASSIGN(KeyCodec wide, KeyCodec::Make(std::move(key_types)));
  BatchGroups made(std::move(keys), std::move(wide), payload_bytes, pool);
  made.batches_needed_ = kJudgedBatches;
  return made;
}

Result<std::unique_ptr<StateTable>> BatchGroups::table() const {
  return StateTable::Make({.payload_bytes = payload_bytes_}, pool_);
}

Status BatchGroups::group(const arrow::ArrayVector& keys, std::span<const Timestamp> panes,
                          std::span<const Timestamp> floors, std::span<const int32_t> rows) {
  groups_.clear();
  row_of_.clear();
  hashes_.clear();
  of_rows_.assign(panes.size(), nullptr);
  FZ_TRY(keys_.encode(keys, static_cast<int64_t>(panes.size()), &encoded_));
  if (apart_batches_ > 0) {
    --apart_batches_;
    return leave_apart(rows);
  }
  FZ_ASSIGN(const bool few, find_places(panes, floors, rows));
  if (few) {
    for (size_t i = 0; i < places_used_; ++i) {
      FZ_TRY(group_place(places_[i].table.get(), encoded_, places_[i].rows));
    }
  } else {
    FZ_TRY(group_many(keys, panes, floors, rows));
  }
  judge(rows.size());
  return Status::OK();
}

// Rows by pane and floor; false if there are too many of these.
Result<bool> BatchGroups::find_places(std::span<const Timestamp> panes, std::span<const Timestamp> floors,
                                      std::span<const int32_t> rows) {
  trim();
  places_used_ = 0;
  Place* place = nullptr;
  for (const int32_t row : rows) {
    const std::pair name(panes[static_cast<size_t>(row)], floors[static_cast<size_t>(row)]);
    if (place == nullptr || place->name != name) {
      const auto end = places_.begin() + static_cast<std::ptrdiff_t>(places_used_);
      auto found = std::find_if(places_.begin(), end, [&](const Place& known) { return known.name == name; });
      if (found == end) {
        if (places_used_ == kPlacesMax) return false;
        if (found == places_.end()) {
          FZ_ASSIGN(auto made, table());
          places_.push_back({name, std::move(made), {}});
          found = places_.end() - 1;
        }
        found->name = name;
        found->table->clear();
        found->rows.clear();
        ++places_used_;
      }
      place = &*found;
    }
    place->rows.push_back(row);
  }
  return true;
}

Status BatchGroups::group_place(StateTable* table, const EncodedKeys& keys, std::span<const int32_t> rows) {
  found_.resize(rows.size());
  inserted_.resize(rows.size());
  FZ_TRY(table->probe(keys, rows, found_, inserted_));
  for (size_t i = 0; i < rows.size(); ++i) {
    of_rows_[static_cast<size_t>(rows[i])] = found_[i];
    if (inserted_[i] == 0) continue;
    groups_.push_back(found_[i]);
    row_of_.push_back(rows[i]);
    hashes_.push_back(encoded_.hash(rows[i]));
  }
  return Status::OK();
}

Status BatchGroups::group_many(const arrow::ArrayVector& keys, std::span<const Timestamp> panes,
                               std::span<const Timestamp> floors, std::span<const int32_t> rows) {
  arrow::ArrayVector wide = keys;
  wide.push_back(Wrapped(panes));
  wide.push_back(Wrapped(floors));
  FZ_TRY(wide_.encode(wide, static_cast<int64_t>(panes.size()), &wide_encoded_));
  if (many_ == nullptr) {
    FZ_ASSIGN(many_, table());
  }
  many_->clear();
  return group_place(many_.get(), wide_encoded_, rows);
}

Status BatchGroups::leave_apart(std::span<const int32_t> rows) {
  const auto width = static_cast<size_t>(payload_bytes_);
  if (apart_ == nullptr) {
    FZ_ASSIGN(apart_, arrow::AllocateResizableBuffer(0, pool_));
  }
  // A payload without bytes has a place too: it is not null.
  FZ_TRY(apart_->Resize(static_cast<int64_t>(rows.size() * width + 1), false));
  auto* payload = reinterpret_cast<std::byte*>(apart_->mutable_data());
  for (const int32_t row : rows) {
    of_rows_[static_cast<size_t>(row)] = payload;
    groups_.push_back(payload);
    row_of_.push_back(row);
    hashes_.push_back(encoded_.hash(row));
    payload += width;
  }
  return Status::OK();
}

// After a time without grouping one batch tells.
void BatchGroups::judge(size_t rows) {
  seen_rows_ += static_cast<int64_t>(rows);
  seen_groups_ += static_cast<int64_t>(groups_.size());
  if (++seen_batches_ < batches_needed_) return;
  const bool pays = static_cast<double>(seen_groups_) <= kGroupsShareMax * static_cast<double>(seen_rows_);
  apart_batches_ = pays ? 0 : kApartBatches;
  batches_needed_ = pays ? kJudgedBatches : 1;
  seen_rows_ = seen_groups_ = seen_batches_ = 0;
}

void BatchGroups::trim() {
  int64_t bytes = many_ == nullptr ? 0 : many_->bytes();
  for (const Place& place : places_) bytes += place.table->bytes();
  if (bytes <= kKeptBytes) return;
  places_.clear();
  many_.reset();
}

}  // namespace frazil
