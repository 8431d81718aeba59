#pragma once

#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "operator/operator.h"
#include "state/key_codec.h"
#include "state/table.h"

namespace frazil {

// Of each key some bytes, and the timers it has set: of event time, and, if there are such, of the machine's
// clock.
//
// As a checkpoint the state is rows of (hash, key, state): the timers as their number (4 bytes) and their
// times (us, ascending), the same of those of the clock if there are such, then the bytes; null for a key
// that is gone.
//
// One thread. Memory is from the pool, which outlives this.
class KeyStates {
 public:
  enum Timers : uint8_t { kOfTime = 0, kOfClock = 1 };
  static constexpr size_t kKinds = 2;

  // A key that is there; it stays where it is.
  struct Entry {
    uint8_t* bytes = nullptr;  // as they are saved; null for a key that has none yet
    int64_t size = 0;          // of them
    Timestamp next[kKinds] = {kWatermarkMax, kWatermarkMax};  // its first timers, or kWatermarkMax
    int64_t group = -1;                                       // the caller's; -1 when it is new
  };

  static Result<std::unique_ptr<KeyStates>> Make(arrow::MemoryPool* pool, bool by_clock);
  ~KeyStates();

  // The entry of each row's key, which may be changed then.
  Status probe(const EncodedKeys& keys, std::vector<Entry*>* entries);
  // Says that entries are about to be changed.
  Status touch(std::span<Entry* const> entries);

  std::string_view key(const Entry* entry) const { return table_->key(as_payload(entry)); }
  std::vector<Timestamp> timers(Timers kind, const Entry* entry) const;
  // Without the timers.
  std::string_view state(const Entry* entry) const;
  // Timers ascend; there are none of the clock but where there may be such.
  Status assign(Entry* entry, std::span<const Timestamp> of_time, std::span<const Timestamp> of_clock,
                std::string_view state);
  Status erase(Entry* entry);

  // Keys with a timer before `until`, by that time and then the key; up to `most`. kWatermarkMax: all.
  std::vector<Entry*> due(Timers kind, Timestamp until, size_t most) const;
  bool has_due(Timers kind, Timestamp until) const {
    return !timers_[kind].empty() && (until == kWatermarkMax || next(kind) < until);
  }
  // The first timer of all keys, or kWatermarkMax.
  Timestamp next(Timers kind) const {
    return timers_[kind].empty() ? kWatermarkMax : timers_[kind].begin()->first;
  }
  using Scan = StateTable::Scan;
  // Slices of all keys, as StateTable::scan.
  std::vector<Entry*> scan(Scan* scan, int64_t rows_max) const;

  // As those of Operator.
  Status freeze(bool full);
  Result<bool> save(int64_t rows_max, StateRows* rows);
  Status restore(const arrow::RecordBatch& rows);
  int64_t size() const { return table_->size(); }
  int64_t bytes() const;

 private:
  // By time, then key.
  struct Earlier {
    const KeyStates* states;
    bool operator()(const std::pair<Timestamp, Entry*>& a, const std::pair<Timestamp, Entry*>& b) const;
  };
  using TimerSet = std::set<std::pair<Timestamp, Entry*>, Earlier>;

  KeyStates(std::unique_ptr<StateTable> table, arrow::MemoryPool* pool, bool by_clock)
      : table_(std::move(table)),
        pool_(pool),
        kinds_(by_clock ? kKinds : 1),
        timers_{TimerSet(Earlier{this}), TimerSet(Earlier{this})} {}

  static std::byte* as_payload(Entry* entry) { return reinterpret_cast<std::byte*>(entry); }
  static const std::byte* as_payload(const Entry* entry) { return reinterpret_cast<const std::byte*>(entry); }
  void set_next(Timers kind, Entry* entry, Timestamp next);
  void clear(Entry* entry);
  Status save_rows(std::span<const StateTable::Change> rows);
  Status save_some(std::span<const StateTable::Change> rows);

  std::unique_ptr<StateTable> table_;
  arrow::MemoryPool* const pool_;
  const size_t kinds_;  // of timers that the bytes have
  TimerSet timers_[kKinds];
  int64_t value_bytes_ = 0;
  StateRows saved_;  // made, and not yet given
  int64_t saved_bytes_ = 0;
};

}  // namespace frazil
