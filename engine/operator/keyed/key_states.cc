#include "operator/keyed/key_states.h"

#include <arrow/api.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <string>

#include "base/check.h"
#include "base/limits.h"
#include "operator/ordered/keyed_state.h"

namespace frazil {
namespace {

constexpr const char* kWhat = "state of a Python function";
constexpr int64_t kAlignment = 8;
constexpr int64_t kSaveStep = 64;                         // rows of state looked at together
constexpr int64_t kSavedBytes = limits::kStateFileBytes;  // of values in one batch of state, and in one slice

std::shared_ptr<arrow::Schema> SavedSchema() { return KeyedSchema({arrow::field("state", arrow::binary())}); }

// Takes timers from the beginning of the bytes; false if these are not as assign() made them.
bool TakeTimers(std::string_view* bytes, std::vector<Timestamp>* timers) {
  uint32_t count = 0;
  if (bytes->size() < sizeof(count)) return false;
  std::memcpy(&count, bytes->data(), sizeof(count));
  bytes->remove_prefix(sizeof(count));
  if (bytes->size() / sizeof(Timestamp) < count) return false;
  timers->resize(count);
  std::memcpy(timers->data(), bytes->data(), count * sizeof(Timestamp));
  bytes->remove_prefix(count * sizeof(Timestamp));
  return std::is_sorted(timers->begin(), timers->end());
}

// Puts them there; gives the place behind them.
uint8_t* PutTimers(std::span<const Timestamp> timers, uint8_t* to) {
  const auto count = static_cast<uint32_t>(timers.size());
  std::memcpy(to, &count, sizeof(count));
  if (!timers.empty()) std::memcpy(to + sizeof(count), timers.data(), timers.size_bytes());
  return to + sizeof(count) + timers.size_bytes();
}

Timestamp FirstOf(std::span<const Timestamp> timers) {
  return timers.empty() ? kWatermarkMax : timers.front();
}

std::string_view BytesOf(const KeyStates::Entry* entry) {
  return {reinterpret_cast<const char*>(entry->bytes), static_cast<size_t>(entry->size)};
}

}  // namespace

bool KeyStates::Earlier::operator()(const std::pair<Timestamp, Entry*>& a,
                                    const std::pair<Timestamp, Entry*>& b) const {
  if (a.first != b.first) return a.first < b.first;
  return a.second != b.second && states->key(a.second) < states->key(b.second);
}

Result<std::unique_ptr<KeyStates>> KeyStates::Make(arrow::MemoryPool* pool, bool by_clock) {
  FZ_ASSIGN(
      auto table,
      StateTable::Make({.payload_bytes = sizeof(Entry), .track_changes = true, .tombstones = true}, pool));
  return std::unique_ptr<KeyStates>(new KeyStates(std::move(table), pool, by_clock));
}

KeyStates::~KeyStates() {
  const Status done = EachSlice(*table_, /*full=*/true, [this](const std::vector<std::byte*>& payloads) {
    for (std::byte* payload : payloads) clear(reinterpret_cast<Entry*>(payload));
    return Status::OK();
  });
  static_cast<void>(done);  // nothing in it can fail
}

Status KeyStates::probe(const EncodedKeys& keys, std::vector<Entry*>* entries) {
  std::vector<std::byte*> payloads(static_cast<size_t>(keys.size()));
  std::vector<uint8_t> inserted(payloads.size());
  FZ_TRY(table_->probe(keys, payloads, inserted));
  entries->clear();
  for (size_t i = 0; i < payloads.size(); ++i) {
    if (inserted[i] != 0) new (payloads[i]) Entry{};
    entries->push_back(reinterpret_cast<Entry*>(payloads[i]));
  }
  return Status::OK();
}

Status KeyStates::touch(std::span<Entry* const> entries) {
  std::vector<std::byte*> payloads;
  for (Entry* entry : entries) payloads.push_back(as_payload(entry));
  return table_->touch(payloads);
}

std::vector<Timestamp> KeyStates::timers(Timers kind, const Entry* entry) const {
  std::vector<Timestamp> timers;
  if (entry->next[kind] == kWatermarkMax) return timers;
  std::string_view bytes = BytesOf(entry);
  for (size_t i = 0; i <= kind; ++i) TakeTimers(&bytes, &timers);
  return timers;
}

std::string_view KeyStates::state(const Entry* entry) const {
  if (entry->bytes == nullptr) return {};
  std::string_view bytes = BytesOf(entry);
  for (size_t i = 0; i < kinds_; ++i) {
    uint32_t count = 0;
    std::memcpy(&count, bytes.data(), sizeof(count));
    bytes.remove_prefix(sizeof(count) + count * sizeof(Timestamp));
  }
  return bytes;
}

Status KeyStates::assign(Entry* entry, std::span<const Timestamp> of_time,
                         std::span<const Timestamp> of_clock, std::string_view state) {
  const size_t size = kinds_ * sizeof(uint32_t) + of_time.size_bytes() + of_clock.size_bytes() + state.size();
  FZ_CHECK(kinds_ == kKinds || of_clock.empty());
  uint8_t* bytes = nullptr;
  FZ_TRY(pool_->Allocate(static_cast<int64_t>(size), kAlignment, &bytes));
  uint8_t* to = PutTimers(of_time, bytes);
  if (kinds_ == kKinds) to = PutTimers(of_clock, to);
  if (!state.empty()) std::memcpy(to, state.data(), state.size());
  clear(entry);
  entry->bytes = bytes;
  entry->size = static_cast<int64_t>(size);
  value_bytes_ += entry->size;
  set_next(kOfTime, entry, FirstOf(of_time));
  set_next(kOfClock, entry, FirstOf(of_clock));
  return Status::OK();
}

Status KeyStates::erase(Entry* entry) {
  set_next(kOfTime, entry, kWatermarkMax);
  set_next(kOfClock, entry, kWatermarkMax);
  clear(entry);
  return table_->erase(as_payload(entry));
}

void KeyStates::set_next(Timers kind, Entry* entry, Timestamp next) {
  if (entry->next[kind] == next) return;
  if (entry->next[kind] != kWatermarkMax) timers_[kind].erase({entry->next[kind], entry});
  entry->next[kind] = next;
  if (next != kWatermarkMax) timers_[kind].insert({next, entry});
}

void KeyStates::clear(Entry* entry) {
  if (entry->bytes != nullptr) pool_->Free(entry->bytes, entry->size, kAlignment);
  value_bytes_ -= entry->size;
  entry->bytes = nullptr;
  entry->size = 0;
}

std::vector<KeyStates::Entry*> KeyStates::due(Timers kind, Timestamp until, size_t most) const {
  std::vector<Entry*> entries;
  for (const auto& [time, entry] : timers_[kind]) {
    if ((until != kWatermarkMax && time >= until) || entries.size() == most) break;
    entries.push_back(entry);
  }
  return entries;
}

std::vector<KeyStates::Entry*> KeyStates::scan(Scan* scan, int64_t rows_max) const {
  std::vector<std::byte*> payloads;
  table_->scan(scan, rows_max, &payloads);
  std::vector<Entry*> entries;
  for (std::byte* payload : payloads) entries.push_back(reinterpret_cast<Entry*>(payload));
  return entries;
}

int64_t KeyStates::bytes() const {
  constexpr int64_t kTimerBytes = 64;  // of a node of the set
  return table_->bytes() + value_bytes_ +
         static_cast<int64_t>(timers_[kOfTime].size() + timers_[kOfClock].size()) * kTimerBytes;
}

Status KeyStates::freeze(bool full) {
  return Freeze(table_.get(), full, [this](auto rows) { return save_rows(rows); });
}

Result<bool> KeyStates::save(int64_t rows_max, StateRows* rows) {
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

// States may be long: so many as are within the bound are one batch.
Status KeyStates::save_rows(std::span<const StateTable::Change> rows) {
  size_t from = 0;
  int64_t bytes = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    bytes += rows[i].erased ? 0 : reinterpret_cast<const Entry*>(rows[i].payload)->size;
    if (bytes < kSavedBytes && i + 1 < rows.size()) continue;
    FZ_TRY(save_some(rows.subspan(from, i + 1 - from)));
    from = i + 1;
    saved_bytes_ += std::exchange(bytes, 0);
  }
  return Status::OK();
}

Status KeyStates::save_some(std::span<const StateTable::Change> rows) {
  std::vector<std::byte*> payloads;
  arrow::BinaryBuilder states(pool_);
  for (const StateTable::Change& row : rows) {
    payloads.push_back(row.payload);
    const auto* entry = reinterpret_cast<const Entry*>(row.payload);
    FZ_TRY(row.erased ? states.AppendNull() : states.Append(entry->bytes, static_cast<int32_t>(entry->size)));
  }
  FZ_ASSIGN(arrow::ArrayVector columns, SavedKeys(*table_, payloads, pool_));
  FZ_TRY(states.Finish(&columns.emplace_back()));
  saved_.push_back(
      arrow::RecordBatch::Make(SavedSchema(), static_cast<int64_t>(rows.size()), std::move(columns)));
  return Status::OK();
}

Status KeyStates::restore(const arrow::RecordBatch& rows) {
  FZ_TRY(CheckRestored(rows, *SavedSchema(), kWhat));
  const auto& keys = static_cast<const arrow::BinaryArray&>(*rows.column(1));
  const auto& states = static_cast<const arrow::BinaryArray&>(*rows.column(2));
  if (keys.null_count() > 0) return RestoreError(kWhat, "a row without a key");
  std::vector<std::string_view> names;
  for (int64_t i = 0; i < rows.num_rows(); ++i) names.push_back(keys.GetView(i));
  EncodedKeys encoded(pool_);
  FZ_TRY(encoded.assign(names));
  for (int64_t i = 0; i < rows.num_rows(); ++i) {
    // One by one: a key that is gone may come again further on.
    const auto number = static_cast<int32_t>(i);
    std::byte* payload = nullptr;
    uint8_t inserted = 0;
    FZ_TRY(table_->probe(encoded, {&number, 1}, {&payload, 1}, {&inserted, 1}));
    auto* entry = reinterpret_cast<Entry*>(payload);
    if (inserted != 0) new (entry) Entry{};
    if (states.IsNull(i)) {
      FZ_TRY(erase(entry));
      continue;
    }
    std::vector<Timestamp> of_time, of_clock;
    std::string_view bytes = states.GetView(i);
    if (!TakeTimers(&bytes, &of_time) || (kinds_ == kKinds && !TakeTimers(&bytes, &of_clock))) {
      return RestoreError(kWhat, "timers that are not in order or cut off");
    }
    FZ_TRY(assign(entry, of_time, of_clock, bytes));
  }
  table_->clear_changes();
  return Status::OK();
}

}  // namespace frazil
