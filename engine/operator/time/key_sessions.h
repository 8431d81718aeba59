#pragma once

#include <arrow/memory_pool.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/batch.h"
#include "base/status.h"
#include "state/row_arena.h"

namespace frazil {

// An open session: the times of its first and last row. Its accumulators stand behind it.
struct Session {
  // Values of `timer` that are no time.
  static constexpr Timestamp kNone = kWatermarkMin;  // it was just made
  static constexpr Timestamp kGone = kWatermarkMax;  // it is none any more

  Timestamp first, last;
  Timestamp timer;  // the time it has a timer for

  std::byte* accumulators() { return reinterpret_cast<std::byte*>(this + 1); }
};

// The open sessions of keys: what the payload of a key's row in a StateTable means. Sessions of a key are
// further apart than the gap. The first one lies in the payload. Further ones, of which most keys have none,
// lie in an arena here, and the payload owns a list of them by time, from the pool. So a row must be given to
// release() before it is erased.
//
// A session's address stays until it is removed, or until remove_gone() of its key. Accumulators are not
// touched here: who removes a session destroys them. One thread.
class KeySessions {
 public:
  // Of accumulators of that many bytes, a multiple of 8.
  KeySessions(int32_t accumulator_bytes, int64_t gap, arrow::MemoryPool* pool)
      : session_bytes_(static_cast<int32_t>(sizeof(Session)) + accumulator_bytes),
        gap_(gap),
        pool_(pool),
        arena_(session_bytes_, pool) {}

  // Of the table, which says so if they are too many.
  int32_t payload_bytes() const { return static_cast<int32_t>(sizeof(Head)) + session_bytes_; }

  // Makes a payload of a key without sessions.
  void create(std::byte* payload) const;
  // Frees what a payload owns, sessions and all.
  void release(std::byte* payload);

  // Extends the session that [first, last] belongs to, or makes one, whose timer is kNone and whose
  // accumulators are to be created. Sessions it belongs to as well go into that one: they are no sessions any
  // more, and added to `absorbed`, for their accumulators to be merged (into find() of their times), and then
  // for free(). After an error nothing was changed.
  Result<Session*> place(std::byte* payload, Timestamp first, Timestamp last,
                         std::vector<uint32_t>* absorbed);
  // The session that has `time` within it, or nullptr.
  Session* find(std::byte* payload, Timestamp time);
  Session* absorbed(uint32_t number) { return at(number); }
  void free(uint32_t number) { arena_.release(number); }

  // Takes up to `count` sessions that have ended before `due` (any, if that is kWatermarkMax): they are gone,
  // and added to `taken`. True if there are more; then remove_gone() comes before the next call.
  bool take_ended(std::byte* payload, Timestamp due, size_t count, std::vector<Session*>* taken);
  // The one with that timer, which is not before first + gap, if it has not ended before `due`; or nullptr.
  Session* with_timer(std::byte* payload, Timestamp due, Timestamp timer);
  // Takes gone ones away for good. Sessions of the key may have moved then.
  void remove_gone(std::byte* payload);

  // Calls f(Session*) for each, the one in the payload first.
  template <typename F>
  Status for_each(std::byte* payload, F f) {
    Head* head = HeadOf(payload);
    if (Session* first = Inline(payload); first->timer != Session::kGone) FZ_TRY(f(first));
    for (uint32_t i = 0; i < Count(head->more); ++i) {
      if (Session* each = at(head->more->numbers()[i]); each->timer != Session::kGone) FZ_TRY(f(each));
    }
    return Status::OK();
  }
  bool empty(std::byte* payload) const {
    return Inline(payload)->timer == Session::kGone && HeadOf(payload)->more == nullptr;
  }

  // For the caller: timers that a key has, and a mark.
  static uint32_t* Timers(std::byte* payload) { return &HeadOf(payload)->timers; }
  static uint32_t* Mark(std::byte* payload) { return &HeadOf(payload)->mark; }

  // The gap's end.
  Timestamp end(const Session& session) const;
  // Allocated here, exactly.
  int64_t bytes() const { return arena_.bytes() + more_bytes_; }

 private:
  // Numbers in the arena, by time.
  struct More {
    uint32_t count;
    uint32_t capacity;
    uint32_t* numbers() { return reinterpret_cast<uint32_t*>(this + 1); }
  };
  struct Head {
    More* more;  // null: none
    uint32_t timers;
    uint32_t mark;
  };

  static Head* HeadOf(std::byte* payload) { return reinterpret_cast<Head*>(payload); }
  static Session* Inline(std::byte* payload) { return reinterpret_cast<Session*>(payload + sizeof(Head)); }
  static uint32_t Count(const More* more) { return more == nullptr ? 0 : more->count; }
  static int64_t BytesOf(const More& more) {
    return int64_t{sizeof(More)} + int64_t{sizeof(uint32_t)} * more.capacity;
  }

  Session* at(uint32_t number) { return reinterpret_cast<Session*>(arena_.at(number)); }
  bool belongs(const Session& session, Timestamp first, Timestamp last) const;
  // Place in the list of the first session that ends, with its gap, at `time` or later.
  uint32_t lower_bound(More* more, Timestamp time);
  Status reserve(Head* head);
  void free_more(Head* head);

  const int32_t session_bytes_;
  const int64_t gap_;  // us
  arrow::MemoryPool* const pool_;
  RowArena arena_;
  int64_t more_bytes_ = 0;
};

}  // namespace frazil
