#include "connector/iceberg/upsert_index.h"

#include <arrow/api.h>

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace frazil::iceberg {
namespace {

constexpr const char* kWhat = "the index of a table's keys";

// Columns of what is saved.
enum Column { kHash, kKey, kFile, kRow, kPath, kSpec, kPartition, kOrder };

std::shared_ptr<arrow::Schema> SavedSchema(bool ordered) {
  arrow::FieldVector fields = {
      arrow::field("hash", arrow::uint64()),   arrow::field("key", arrow::binary()),
      arrow::field("file", arrow::int64()),    arrow::field("row", arrow::uint32()),
      arrow::field("path", arrow::utf8()),     arrow::field("spec_id", arrow::int32()),
      arrow::field("partition", arrow::utf8())};
  if (ordered) fields.push_back(arrow::field("order", arrow::int64()));
  return arrow::schema(std::move(fields));
}

Status Damaged(const std::string& text) {
  return Error(ErrorKind::kState, std::string("restoring ") + kWhat + ": " + text);
}

}  // namespace

UpsertIndex::UpsertIndex(std::unique_ptr<StateTable> table, arrow::MemoryPool* pool, bool ordered)
    : pool_(pool), ordered_(ordered), saved_schema_(SavedSchema(ordered)), table_(std::move(table)) {}

Result<std::unique_ptr<UpsertIndex>> UpsertIndex::Make(arrow::MemoryPool* pool, bool ordered) {
  const auto bytes = static_cast<int32_t>(sizeof(Entry) + (ordered ? sizeof(int64_t) : 0));
  const StateTableOptions options{
      .payload_bytes = bytes, .track_changes = true, .tombstones = true, .compact = true};
  FZ_ASSIGN(auto table, StateTable::Make(options, pool));
  return std::unique_ptr<UpsertIndex>(new UpsertIndex(std::move(table), pool, ordered));
}

uint32_t UpsertIndex::take_number() {
  if (free_.empty()) {
    files_.emplace_back();
    return static_cast<uint32_t>(files_.size() - 1);
  }
  const uint32_t number = free_.back();
  free_.pop_back();
  files_[number] = File();
  return number;
}

Result<uint32_t> UpsertIndex::add_file(int64_t id, DeletesFile file) {
  FZ_TRY(end_restore());
  const uint32_t number = take_number();
  FZ_CHECK(number < kNoRow);
  files_[number].id = id;
  files_[number].file = std::move(file);
  return number;
}

void UpsertIndex::forget_files() {
  for (size_t i = 0; i < files_.size(); ++i) {
    if (files_[i].keys > 0 || files_[i].file.path.empty()) continue;
    files_[i] = File();
    free_.push_back(static_cast<uint32_t>(i));
  }
  count_bytes();
}

// An entry whose key has a change says which: its place is in the change meanwhile.
Result<std::vector<UpsertIndex::Change>> UpsertIndex::fold(const EncodedKeys& keys,
                                                           const std::vector<bool>* gone,
                                                           const int64_t* orders) {
  FZ_CHECK((orders != nullptr) == ordered_);
  FZ_TRY(end_restore());
  const auto count = static_cast<size_t>(keys.size());
  entries_.resize(count);
  inserted_.resize(count);
  FZ_TRY(table_->probe(keys, entries_, inserted_));
  std::vector<Change> changes;
  for (size_t i = 0; i < count; ++i) {
    Entry* entry = EntryOf(entries_[i]);
    if (ordered_) {
      const bool below = floor_ != kNoFloor && orders[i] <= floor_;
      if (below || (inserted_[i] == 0 && orders[i] < OrderOf(entries_[i]))) {
        // A key that is new only now is remembered as one without a row.
        if (inserted_[i] != 0) {
          *entry = {kNoRow, 0};
          SetOrder(entries_[i], orders[i]);
        }
        ++older_;
        continue;
      }
      SetOrder(entries_[i], orders[i]);
    }
    if (inserted_[i] != 0 || entry->file != kInBatch) {
      Change change;
      change.entry = entries_[i];
      change.known = inserted_[i] == 0 && entry->file != kNoRow;
      if (change.known) {
        change.old = {entry->file, entry->row};
        --files_[entry->file].keys;
      }
      *entry = {kInBatch, static_cast<uint32_t>(changes.size())};
      changes.push_back(change);
    }
    Change& change = changes[entry->row];
    change.last = static_cast<int32_t>(i);
    change.came |= gone == nullptr || !(*gone)[i];
  }
  return changes;
}

void UpsertIndex::put(const Change& change, RowPlace place) {
  *EntryOf(change.entry) = {place.file, place.row};
  ++files_[place.file].keys;
}

Status UpsertIndex::remove(const Change& change) {
  if (!ordered_) return table_->erase(change.entry);
  *EntryOf(change.entry) = {kNoRow, 0};
  return Status::OK();
}

Status UpsertIndex::truncate(int64_t order, const std::function<Status(RowPlace, std::string_view)>& took) {
  FZ_CHECK(ordered_);
  FZ_TRY(end_restore());
  if (floor_ != kNoFloor && order <= floor_) return Status::OK();
  floor_ = order;
  floor_saved_ = false;
  StateTable::Scan scan;
  while (!scan.done) {
    table_->scan(&scan, kScanRows, &entries_);
    for (std::byte* const payload : entries_) {
      if (OrderOf(payload) > order) continue;
      const Entry entry = *EntryOf(payload);
      if (entry.file != kNoRow) FZ_TRY(took({entry.file, entry.row}, table_->key(payload)));
      leave(entry);
      FZ_TRY(table_->erase(payload));
    }
  }
  count_bytes();
  return Status::OK();
}

void UpsertIndex::count_bytes() {
  int64_t bytes = table_->bytes();
  for (const File& file : files_) {
    bytes += static_cast<int64_t>(sizeof(File) + file.file.path.capacity() + file.file.partition.capacity());
  }
  bytes_.store(bytes, std::memory_order_relaxed);
}

// -- checkpoints --

Status UpsertIndex::freeze(bool full) {
  FZ_TRY(end_restore());
  FZ_ASSIGN(auto files, save_files(full));
  if (files->num_rows() > 0) saved_.push_back(std::move(files));
  FZ_TRY(save_floor(full));
  if (full || table_->changes() > 0) {
    FZ_TRY(
        table_->freeze(full, [this](std::span<const StateTable::Change> rows) { return save_keys(rows); }));
  }
  count_bytes();
  return Status::OK();
}

Result<bool> UpsertIndex::save(int64_t rows_max, arrow::RecordBatchVector* rows) {
  if (table_->frozen()) FZ_TRY(table_->save_slice(&rows_max));
  rows->insert(rows->end(), saved_.begin(), saved_.end());
  saved_.clear();
  return !table_->frozen();
}

// Files that no checkpoint has yet, or all. Those in which no key has its row are needed by nobody.
Result<std::shared_ptr<arrow::RecordBatch>> UpsertIndex::save_files(bool full) {
  arrow::Int64Builder ids(pool_);
  arrow::Int32Builder specs(pool_);
  arrow::StringBuilder paths(pool_), partitions(pool_);
  for (File& each : files_) {
    if (each.keys == 0 || (each.saved && !full)) continue;
    each.saved = true;
    FZ_TRY(ids.Append(each.id));
    FZ_TRY(paths.Append(each.file.path));
    FZ_TRY(specs.Append(each.file.spec_id));
    FZ_TRY(partitions.Append(each.file.partition));
  }
  const int64_t count = ids.length();
  FZ_ASSIGN(auto columns, nulls(count));
  FZ_TRY(ids.Finish(&columns[kFile]));
  FZ_TRY(paths.Finish(&columns[kPath]));
  FZ_TRY(specs.Finish(&columns[kSpec]));
  FZ_TRY(partitions.Finish(&columns[kPartition]));
  return arrow::RecordBatch::Make(saved_schema_, count, std::move(columns));
}

Status UpsertIndex::save_floor(bool full) {
  if (floor_ == kNoFloor || (floor_saved_ && !full)) return Status::OK();
  floor_saved_ = true;
  FZ_ASSIGN(auto columns, nulls(1));
  arrow::Int64Builder floor(pool_);
  FZ_TRY(floor.Append(floor_));
  FZ_TRY(floor.Finish(&columns[kOrder]));
  saved_.push_back(arrow::RecordBatch::Make(saved_schema_, 1, std::move(columns)));
  return Status::OK();
}

Result<arrow::ArrayVector> UpsertIndex::nulls(int64_t count) const {
  arrow::ArrayVector columns;
  for (const auto& field : saved_schema_->fields()) {
    FZ_ASSIGN(auto column, arrow::MakeArrayOfNull(field->type(), count, pool_));
    columns.push_back(std::move(column));
  }
  return columns;
}

Status UpsertIndex::save_keys(std::span<const StateTable::Change> rows) {
  arrow::UInt64Builder hashes(pool_);
  arrow::BinaryBuilder keys(pool_);
  arrow::Int64Builder files(pool_);
  arrow::UInt32Builder places(pool_);
  arrow::Int64Builder orders(pool_);
  for (const StateTable::Change& row : rows) {
    FZ_TRY(hashes.Append(table_->hash(row.payload)));
    FZ_TRY(keys.Append(table_->key(row.payload)));
    if (ordered_) {
      FZ_TRY(row.erased ? orders.AppendNull() : orders.Append(OrderOf(row.payload)));
    }
    if (row.erased || EntryOf(row.payload)->file == kNoRow) {
      FZ_TRY(files.AppendNull());
      FZ_TRY(places.AppendNull());
      continue;
    }
    const Entry& entry = *EntryOf(row.payload);
    FZ_CHECK(entry.file < files_.size());
    FZ_TRY(files.Append(files_[entry.file].id));
    FZ_TRY(places.Append(entry.row));
  }
  const auto count = static_cast<int64_t>(rows.size());
  FZ_ASSIGN(auto columns, nulls(count));
  FZ_TRY(hashes.Finish(&columns[kHash]));
  FZ_TRY(keys.Finish(&columns[kKey]));
  FZ_TRY(files.Finish(&columns[kFile]));
  FZ_TRY(places.Finish(&columns[kRow]));
  if (ordered_) FZ_TRY(orders.Finish(&columns[kOrder]));
  saved_.push_back(arrow::RecordBatch::Make(saved_schema_, count, std::move(columns)));
  return Status::OK();
}

Status UpsertIndex::restore(const std::shared_ptr<arrow::RecordBatch>& rows) {
  if (!rows->schema()->Equals(*saved_schema_, /*check_metadata=*/false)) {
    return Damaged("the state has other columns: " + rows->schema()->ToString());
  }
  std::vector<int64_t> files, keys, gone;
  for (int64_t i = 0; i < rows->num_rows(); ++i) {
    const bool has_order = ordered_ && !rows->column(kOrder)->IsNull(i);
    if (rows->column(kKey)->IsNull(i) && has_order) {
      floor_ = std::max(floor_, static_cast<const arrow::Int64Array&>(*rows->column(kOrder)).Value(i));
    } else if (rows->column(kKey)->IsNull(i)) {
      files.push_back(i);
    } else {
      (rows->column(kFile)->IsNull(i) && !has_order ? gone : keys).push_back(i);
    }
  }
  FZ_TRY(restore_files(*rows, files));
  FZ_TRY(restore_keys(*rows, keys));
  FZ_TRY(restore_gone(*rows, gone));
  count_bytes();
  return Status::OK();
}

uint32_t UpsertIndex::number_of(int64_t id) {
  const auto found = restored_.find(id);
  if (found != restored_.end()) return found->second;
  const uint32_t number = take_number();
  files_[number].id = id;
  restored_[id] = number;
  return number;
}

Status UpsertIndex::restore_files(const arrow::RecordBatch& rows, const std::vector<int64_t>& which) {
  const auto& ids = static_cast<const arrow::Int64Array&>(*rows.column(kFile));
  const auto& paths = static_cast<const arrow::StringArray&>(*rows.column(kPath));
  const auto& specs = static_cast<const arrow::Int32Array&>(*rows.column(kSpec));
  const auto& partitions = static_cast<const arrow::StringArray&>(*rows.column(kPartition));
  for (const int64_t i : which) {
    if (ids.IsNull(i) || paths.IsNull(i) || specs.IsNull(i) || partitions.IsNull(i)) {
      return Damaged("a file without what it is");
    }
    files_[number_of(ids.Value(i))].file = {paths.GetString(i), specs.Value(i), partitions.GetString(i)};
  }
  return Status::OK();
}

Status UpsertIndex::restore_keys(const arrow::RecordBatch& rows, const std::vector<int64_t>& which) {
  const auto& keys = static_cast<const arrow::BinaryArray&>(*rows.column(kKey));
  const auto& files = static_cast<const arrow::Int64Array&>(*rows.column(kFile));
  const auto& places = static_cast<const arrow::UInt32Array&>(*rows.column(kRow));
  std::vector<std::string_view> names;
  for (const int64_t i : which) {
    if (files.IsNull(i) != places.IsNull(i)) return Damaged("a key without the place of its row");
    if (ordered_ && rows.column(kOrder)->IsNull(i)) return Damaged("a key without its order");
    names.push_back(keys.GetView(i));
  }
  EncodedKeys encoded(pool_);
  FZ_TRY(encoded.assign(names));
  std::vector<std::byte*> entries(names.size());
  std::vector<uint8_t> inserted(names.size());
  FZ_TRY(table_->probe(encoded, entries, inserted));
  for (size_t n = 0; n < which.size(); ++n) {
    Entry* entry = EntryOf(entries[n]);
    if (inserted[n] == 0) leave(*entry);
    if (ordered_) {
      SetOrder(entries[n], static_cast<const arrow::Int64Array&>(*rows.column(kOrder)).Value(which[n]));
    }
    *entry = {kNoRow, 0};
    if (files.IsNull(which[n])) continue;
    *entry = {number_of(files.Value(which[n])), places.Value(which[n])};
    ++files_[entry->file].keys;
  }
  return Status::OK();
}

Status UpsertIndex::restore_gone(const arrow::RecordBatch& rows, const std::vector<int64_t>& which) {
  const auto& keys = static_cast<const arrow::BinaryArray&>(*rows.column(kKey));
  for (const int64_t i : which) {
    std::byte* entry = table_->find(keys.GetView(i), HashKey(keys.GetView(i)));
    if (entry == nullptr) continue;
    leave(*EntryOf(entry));
    FZ_TRY(table_->erase(entry));
  }
  return Status::OK();
}

// Every worker was told of all files: those of other workers' keys are forgotten.
Status UpsertIndex::end_restore() {
  if (restored_.empty()) return Status::OK();
  restored_.clear();
  for (const File& each : files_) {
    if (each.keys > 0 && each.file.path.empty()) {
      return Damaged("a key has its row in a file that no state file tells of");
    }
  }
  forget_files();
  return Status::OK();
}

}  // namespace frazil::iceberg
