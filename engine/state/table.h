#pragma once

#include <arrow/memory_pool.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "state/change_list.h"
#include "state/key_codec.h"
#include "state/row_arena.h"
#include "state/slot_directory.h"

namespace frazil {

class StatePool;

struct StateTableOptions {
  int32_t payload_bytes = 0;   // per key, a multiple of 8, or of 4 if `compact`
  bool track_changes = false;  // remember which rows changed since freeze
  bool tombstones = false;     // and which of those known then were erased; needs track_changes
  bool compact = false;        // less memory, for slower insertions; payloads are aligned to 4
};

// Keyed state of one operator and worker: encoded key -> payload, in memory. Calls take batches of keys, so
// that the cache misses of many keys overlap. A payload's address stays until its row is erased or the table
// dies; its bytes are the caller's, who also frees what they own before either happens. See slot_directory.h
// and row_arena.h for how it lies in memory: an int64 key with 24 bytes takes 52 to 56 bytes in all, and 46
// to 48 if the table is compact.
//
// One thread. All memory is from the pool, which outlives the table; errors are the pool's, and 32 GiB of
// rows, 16 if it is compact.
class StateTable {
 public:
  // Errors: payload_bytes is negative, no multiple of 8, or over 64 KiB; tombstones without track_changes.
  static Result<std::unique_ptr<StateTable>> Make(const StateTableOptions& options, arrow::MemoryPool* pool);

  // Finds or inserts the selected rows of a batch, in their order. payloads[i] is the payload of key rows[i];
  // inserted[i] is 1 if it is new and uninitialised, and then equal keys further on are found. With
  // track_changes every row probed counts as changed. After an error the keys that were new are gone again.
  // payloads and inserted have the size of rows.
  Status probe(const EncodedKeys& keys, std::span<const int32_t> rows, std::span<std::byte*> payloads,
               std::span<uint8_t> inserted);
  // The same for all rows of the batch.
  Status probe(const EncodedKeys& keys, std::span<std::byte*> payloads, std::span<uint8_t> inserted);

  // Finds only: nullptr if the key is not there. Nothing counts as changed.
  void find(const EncodedKeys& keys, std::span<const int32_t> rows, std::span<std::byte*> payloads) const;
  void find(const EncodedKeys& keys, std::span<std::byte*> payloads) const;
  std::byte* find(std::string_view key, uint64_t hash) const;

  // Takes a row away; its payload must not be used again. During a scan every row may be erased. While the
  // table is frozen the payload must still be what it was, or touch() has been called.
  Status erase(std::byte* payload);
  // Says that payloads that find or scan gave are about to be changed. Without track_changes nothing.
  Status touch(std::span<std::byte* const> payloads);
  Status touch(std::byte* payload) { return touch({&payload, 1}); }

  // Key and hash of a row. The view is valid as long as the payload.
  std::string_view key(const std::byte* payload) const { return rows_.key(payload); }
  uint64_t hash(const std::byte* payload) const { return HashKey(key(payload)); }

  // Walks over all rows in slices, in no order that means anything. Rows inserted meanwhile are seen or not.
  struct Scan {
    RowArena::Walk walk;
    bool done = false;
  };
  // Puts the next rows into `payloads` (cleared first), after looking at up to `rows_max` places: the slice
  // may be empty before the scan is done.
  void scan(Scan* scan, int64_t rows_max, std::vector<std::byte*>* payloads) const;

  // A row as freeze() found it; of one that was erased only key and hash may be asked for.
  struct Change {
    std::byte* payload = nullptr;
    bool erased = false;
  };
  using Save = std::function<Status(std::span<const Change>)>;
  // Fixes what is to be saved: the rows that are new or changed since the last freeze and (with tombstones)
  // those that were erased, or all rows if `full`, as they are now. Takes no time that grows
  // with them. They
  // are given to `save` by and by, each once, some by save_slice, and the others by probe, touch and erase,
  // which so save what is about to change. Errors of `save` are theirs; after one, the table may only be
  // destroyed. Needs track_changes, and that the table is not frozen.
  Status freeze(bool full, Save save);
  bool frozen() const { return save_ != nullptr; }
  // Looks at up to *rows places, has the rows there saved, and takes the places away from *rows. True once no
  // row is left to be saved: the table is not frozen any more.
  Result<bool> save_slice(int64_t* rows);
  struct ChangeScan {
    ChangeList::Walk walk;
    bool done = false;
  };
  // Slices of what freeze(false) would have saved, as scan. Changes made meanwhile are seen or not.
  void scan_changes(ChangeScan* scan, int64_t rows_max, std::vector<Change>* changes) const;
  // Rows scan_changes looks at: an upper bound of the changes.
  int64_t changes() const { return static_cast<int64_t>(lists_[now_].size()); }
  // Begins anew: every row is known and unchanged, tombstones are forgotten. Not while it is frozen.
  void clear_changes();

  // Takes all rows away, with changes and tombstones, and keeps the memory for new ones. Not while it is
  // frozen.
  void clear();

  int64_t size() const { return size_; }
  // All that is allocated from the pool, exactly.
  int64_t bytes() const { return rows_.bytes() + slots_.bytes() + lists_[0].bytes() + lists_[1].bytes(); }
  int32_t payload_bytes() const { return options_.payload_bytes; }

 private:
  struct Group;

  StateTable(const StateTableOptions& options, arrow::MemoryPool* pool);

  static uint32_t SlotHash(uint64_t hash) { return static_cast<uint32_t>(hash); }
  template <typename RowOf>
  Status probe_all(const EncodedKeys& keys, size_t count, RowOf row_of, std::span<std::byte*> payloads,
                   std::span<uint8_t> inserted);
  template <typename RowOf>
  void find_all(const EncodedKeys& keys, size_t count, RowOf row_of, std::span<std::byte*> payloads) const;
  template <typename RowOf>
  void look_up(const EncodedKeys& keys, size_t first, size_t count, RowOf row_of, Group* group) const;
  // The row of a key, erased or not, or nullptr.
  std::byte* seek(std::string_view key, uint64_t hash, uint32_t* number) const;
  Status insert(std::string_view key, uint64_t hash, std::byte** payload, uint8_t* inserted);
  // What changed since the last freeze, and the bit of its rows; then those of the rows before.
  ChangeList& changed() { return lists_[now_]; }
  RowArena::Flag listed() const { return now_ == 0 ? RowArena::kOdd : RowArena::kEven; }
  RowArena::Flag listed_before() const { return now_ == 0 ? RowArena::kEven : RowArena::kOdd; }

  Status note_change(std::byte* row);
  // True if the row is to be saved as it is, and was not yet.
  bool waits(const std::byte* row) const {
    return full_ ? rows_.has(row, RowArena::kRound) != round_ : rows_.has(row, listed_before());
  }
  void settle(std::byte* row);
  void begin_row(std::byte* row);
  void take(std::byte* row);
  Status save_taken();
  uint32_t number_of(const std::byte* row) const;
  void remove(std::byte* row, uint32_t number);
  void undo(std::span<std::byte* const> payloads, std::span<const uint8_t> inserted);

  StateTableOptions options_;
  const StatePool* spills_;  // the pool, if it is one that spills
  RowArena rows_;
  SlotDirectory slots_;
  ChangeList lists_[2];
  size_t now_ = 0;      // the list of what changed since the last freeze; the other is that of the freeze
  bool round_ = false;  // kRound of rows that a full freeze has, or need not have
  bool full_ = false;   // the table is frozen, all of it
  Save save_;           // set while it is frozen
  ChangeList::Walk changes_walk_;
  RowArena::Walk rows_walk_;
  std::vector<Change> taken_;  // to be saved now
  int64_t size_ = 0;
};

}  // namespace frazil
