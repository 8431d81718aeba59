#include "state/table.h"

#include <cstring>
#include <string>

#include "base/check.h"
#include "state/state_pool.h"

namespace frazil {

namespace {

// Keys whose cache misses overlap; more would push each other out of the first-level cache.
constexpr size_t kGroupKeys = 64;

}  // namespace

// The keys of one group between the passes.
struct StateTable::Group {
  SlotDirectory::Place places[kGroupKeys];
  uint32_t numbers[kGroupKeys];
  std::byte* candidates[kGroupKeys];  // first row with the same 32 bits of hash, or nullptr
};

Result<std::unique_ptr<StateTable>> StateTable::Make(const StateTableOptions& options,
                                                     arrow::MemoryPool* pool) {
  FZ_CHECK(options.payload_bytes >= 0 && options.payload_bytes % (options.compact ? 4 : 8) == 0);
  FZ_CHECK(options.track_changes || !options.tombstones);
  if (options.payload_bytes > RowArena::kPayloadBytesMax) {
    return Error(ErrorKind::kUser, "the state of one key takes " + std::to_string(options.payload_bytes) +
                                       " bytes, at most " + std::to_string(RowArena::kPayloadBytesMax) +
                                       " are possible; use fewer aggregates in one step");
  }
  return std::unique_ptr<StateTable>(new StateTable(options, pool));
}

StateTable::StateTable(const StateTableOptions& options, arrow::MemoryPool* pool)
    : options_(options),
      spills_(dynamic_cast<const StatePool*>(pool)),
      rows_(options.payload_bytes, pool, options.compact ? 4 : 8),
      slots_(pool, options.compact),
      lists_{ChangeList(pool), ChangeList(pool)} {}

// Pass 1 asks for the slots, pass 2 reads them and asks for the rows.
template <typename RowOf>
void StateTable::look_up(const EncodedKeys& keys, size_t first, size_t count, RowOf row_of,
                         Group* group) const {
  const bool spilled = spills_ != nullptr && spills_->spilled_bytes() > 0;
  for (size_t i = 0; i < count; ++i) {
    group->places[i] = slots_.place(SlotHash(keys.hash(row_of(first + i))));
    const SlotDirectory::Place& place = group->places[i];
    if (spilled && place.capacity > 0)
      StatePool::HavePage(const_cast<uint64_t*>(place.slots + place.position));
    SlotDirectory::Prefetch(place);
  }
  for (size_t i = 0; i < count; ++i) {
    const uint32_t number = SlotDirectory::Next(&group->places[i], SlotHash(keys.hash(row_of(first + i))));
    group->numbers[i] = number;
    group->candidates[i] = number == 0 ? nullptr : rows_.at(number);
    if (number == 0) continue;
    if (spilled) StatePool::HavePage(group->candidates[i]);
    rows_.prefetch(group->candidates[i]);
  }
}

template <typename RowOf>
Status StateTable::probe_all(const EncodedKeys& keys, size_t count, RowOf row_of,
                             std::span<std::byte*> payloads, std::span<uint8_t> inserted) {
  FZ_CHECK(payloads.size() == count && inserted.size() == count);
  Group group;
  for (size_t first = 0; first < count; first += kGroupKeys) {
    const size_t size = std::min(kGroupKeys, count - first);
    look_up(keys, first, size, row_of, &group);
    for (size_t i = 0; i < size; ++i) {
      const int64_t row = row_of(first + i);
      std::byte* found = group.candidates[i];
      Status status;
      // Every change of the table since pass 2 was an insertion, which leaves a row where it is.
      if (found != nullptr && rows_.matches(found, keys.key(row))) [[likely]] {
        payloads[first + i] = found;
        inserted[first + i] = 0;
        if (options_.track_changes && !rows_.has(found, listed())) status = note_change(found);
      } else {
        status = insert(keys.key(row), keys.hash(row), &payloads[first + i], &inserted[first + i]);
      }
      if (!status.ok()) [[unlikely]] {
        undo(payloads.first(first + i), inserted.first(first + i));
        return status;
      }
    }
  }
  if (taken_.empty()) [[likely]]
    return Status::OK();
  Status status = save_taken();
  if (!status.ok()) undo(payloads, inserted);
  return status;
}

Status StateTable::probe(const EncodedKeys& keys, std::span<const int32_t> rows,
                         std::span<std::byte*> payloads, std::span<uint8_t> inserted) {
  return probe_all(
      keys, rows.size(), [&](size_t i) { return int64_t{rows[i]}; }, payloads, inserted);
}

Status StateTable::probe(const EncodedKeys& keys, std::span<std::byte*> payloads,
                         std::span<uint8_t> inserted) {
  return probe_all(
      keys, static_cast<size_t>(keys.size()), [](size_t i) { return static_cast<int64_t>(i); }, payloads,
      inserted);
}

template <typename RowOf>
void StateTable::find_all(const EncodedKeys& keys, size_t count, RowOf row_of,
                          std::span<std::byte*> payloads) const {
  Group group;
  for (size_t first = 0; first < count; first += kGroupKeys) {
    const size_t size = std::min(kGroupKeys, count - first);
    look_up(keys, first, size, row_of, &group);
    for (size_t i = 0; i < size; ++i) {
      std::byte* found = group.candidates[i];
      const int64_t row = row_of(first + i);
      if (found != nullptr && rows_.key(found) != keys.key(row)) {
        uint32_t number = 0;
        found = seek(keys.key(row), keys.hash(row), &number);
      }
      payloads[first + i] = found != nullptr && rows_.has(found, RowArena::kErased) ? nullptr : found;
    }
  }
}

void StateTable::find(const EncodedKeys& keys, std::span<const int32_t> rows,
                      std::span<std::byte*> payloads) const {
  find_all(
      keys, rows.size(), [&](size_t i) { return int64_t{rows[i]}; }, payloads);
}

void StateTable::find(const EncodedKeys& keys, std::span<std::byte*> payloads) const {
  find_all(
      keys, static_cast<size_t>(keys.size()), [](size_t i) { return static_cast<int64_t>(i); }, payloads);
}

std::byte* StateTable::find(std::string_view key, uint64_t hash) const {
  uint32_t number = 0;
  std::byte* row = seek(key, hash, &number);
  return row != nullptr && rows_.has(row, RowArena::kErased) ? nullptr : row;
}

std::byte* StateTable::seek(std::string_view key, uint64_t hash, uint32_t* number) const {
  SlotDirectory::Place place = slots_.place(SlotHash(hash));
  while ((*number = SlotDirectory::Next(&place, SlotHash(hash))) != 0) {
    std::byte* row = rows_.at(*number);
    if (rows_.key(row) == key) return row;
  }
  return nullptr;
}

Status StateTable::insert(std::string_view key, uint64_t hash, std::byte** payload, uint8_t* inserted) {
  uint32_t number = 0;
  std::byte* row = seek(key, hash, &number);
  *inserted = row == nullptr || rows_.has(row, RowArena::kErased);
  if (row == nullptr) {
    // Whatever can fail comes before anything is changed.
    FZ_TRY(slots_.reserve(SlotHash(hash)));
    if (options_.track_changes) FZ_TRY(changed().reserve());
    FZ_ASSIGN(number, rows_.allocate(key));
    slots_.insert(SlotHash(hash), number);
    row = rows_.at(number);
    begin_row(row);
  }
  if (options_.track_changes && !rows_.has(row, listed())) FZ_TRY(note_change(row));
  rows_.unset(row, RowArena::kErased);
  size_ += *inserted;
  *payload = row;
  return Status::OK();
}

// A row that was allocated just now: it may have been another key's before, but for the list of what changed
// since the freeze, in which it may stand already.
void StateTable::begin_row(std::byte* row) {
  rows_.unset(row, listed_before());
  if (round_) rows_.set(row, RowArena::kRound);
}

// A row that a checkpoint has.
void StateTable::settle(std::byte* row) {
  rows_.unset(row, listed_before());
  if (rows_.has(row, RowArena::kRound) != round_) {
    round_ ? rows_.set(row, RowArena::kRound) : rows_.unset(row, RowArena::kRound);
  }
  if (rows_.has(row, RowArena::kErased)) {
    rows_.unset(row, RowArena::kKnown);
  } else {
    rows_.set(row, RowArena::kKnown);
  }
}

// Of a key that is gone a full checkpoint says nothing.
void StateTable::take(std::byte* row) {
  const bool erased = rows_.has(row, RowArena::kErased);
  settle(row);
  if (!full_ || !erased) taken_.push_back({row, erased});
}

Status StateTable::save_taken() {
  if (taken_.empty()) return Status::OK();
  Status status = save_(taken_);
  taken_.clear();
  return status;
}

Status StateTable::note_change(std::byte* row) {
  FZ_TRY(changed().reserve());
  if (frozen() && waits(row)) take(row);
  changed().push_back(row);
  rows_.set(row, listed());
  return Status::OK();
}

Status StateTable::touch(std::span<std::byte* const> payloads) {
  if (!options_.track_changes) return Status::OK();
  for (std::byte* payload : payloads) {
    if (!rows_.has(payload, listed())) FZ_TRY(note_change(payload));
  }
  return save_taken();
}

Status StateTable::freeze(bool full, Save save) {
  FZ_CHECK(options_.track_changes && !frozen() && save != nullptr);
  save_ = std::move(save);
  full_ = full;
  now_ = 1 - now_;
  if (full) {
    round_ = !round_;
    lists_[1 - now_].clear();  // the walk over all rows meets those of the list
  }
  changes_walk_ = {};
  rows_walk_ = {};
  return Status::OK();
}

Result<bool> StateTable::save_slice(int64_t* rows) {
  FZ_CHECK(frozen());
  bool done = false;
  std::vector<std::byte*> gone;
  for (; *rows > 0 && !done; --*rows) {
    std::byte* row = full_ ? rows_.next(&rows_walk_) : lists_[1 - now_].next(&changes_walk_);
    if (row == nullptr) {
      done = true;
    } else if (rows_.has(row, RowArena::kFree)) {
      rows_.unset(row, listed_before());
    } else if (waits(row)) {
      if (rows_.has(row, RowArena::kErased)) gone.push_back(row);
      take(row);
    }
  }
  FZ_TRY(save_taken());
  for (std::byte* row : gone) remove(row, number_of(row));
  if (done) {
    lists_[1 - now_].clear();
    save_ = nullptr;
    full_ = false;
  }
  return done;
}

uint32_t StateTable::number_of(const std::byte* row) const {
  const uint32_t hash = SlotHash(this->hash(row));
  SlotDirectory::Place place = slots_.place(hash);
  uint32_t number;
  do {
    number = SlotDirectory::Next(&place, hash);
  } while (number != 0 && rows_.at(number) != row);
  return number;
}

void StateTable::remove(std::byte* row, uint32_t number) {
  slots_.erase(SlotHash(hash(row)), number);
  rows_.release(number);
}

Status StateTable::erase(std::byte* payload) {
  FZ_CHECK(!rows_.has(payload, RowArena::kErased) && !rows_.has(payload, RowArena::kFree));
  if (frozen() && waits(payload)) {
    take(payload);
    FZ_TRY(save_taken());
  }
  if (options_.tombstones && rows_.has(payload, RowArena::kKnown)) {
    FZ_TRY(touch(payload));
    rows_.set(payload, RowArena::kErased);
  } else {
    const uint32_t number = number_of(payload);
    FZ_CHECK(number != 0);
    remove(payload, number);
  }
  --size_;
  return Status::OK();
}

// A tombstone that came to life again is one again; what is new goes. Rows that only count as changed now and
// are not do no harm.
void StateTable::undo(std::span<std::byte* const> payloads, std::span<const uint8_t> inserted) {
  for (size_t i = 0; i < payloads.size(); ++i) {
    if (inserted[i] == 0) continue;
    std::byte* row = payloads[i];
    if (rows_.has(row, RowArena::kKnown)) {
      rows_.set(row, RowArena::kErased);
    } else {
      remove(row, number_of(row));
    }
    --size_;
  }
}

void StateTable::scan(Scan* scan, int64_t rows_max, std::vector<std::byte*>* payloads) const {
  payloads->clear();
  for (int64_t i = 0; i < rows_max; ++i) {
    std::byte* row = rows_.next(&scan->walk);
    if (row == nullptr) {
      scan->done = true;
      return;
    }
    if (!rows_.has(row, RowArena::kFree) && !rows_.has(row, RowArena::kErased)) payloads->push_back(row);
  }
}

void StateTable::scan_changes(ChangeScan* scan, int64_t rows_max, std::vector<Change>* changes) const {
  changes->clear();
  for (int64_t i = 0; i < rows_max; ++i) {
    std::byte* row = lists_[now_].next(&scan->walk);
    if (row == nullptr) {
      scan->done = true;
      return;
    }
    // A row freed meanwhile was never known; if another key has it now, it is that key's change.
    if (!rows_.has(row, RowArena::kFree)) changes->push_back({row, rows_.has(row, RowArena::kErased)});
  }
}

void StateTable::clear_changes() {
  ChangeList::Walk walk;
  while (std::byte* row = changed().next(&walk)) {
    rows_.unset(row, listed());
    if (rows_.has(row, RowArena::kErased)) {
      remove(row, number_of(row));
    } else if (!rows_.has(row, RowArena::kFree)) {
      rows_.set(row, RowArena::kKnown);
    }
  }
  changed().clear();
}

void StateTable::clear() {
  slots_.clear();
  rows_.clear();
  changed().clear();
  size_ = 0;
}

}  // namespace frazil
