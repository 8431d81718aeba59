#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <utility>
#include <vector>

#include "base/batch.h"
#include "base/status.h"
#include "operator/ordered/shared_rows.h"

namespace frazil {

// The matches of a pattern that are not complete. A key has them in lists by how many steps they have taken;
// all matches of a list go on together, so that one that began earlier is never behind one of the same key
// that began later. Each uses the rows of the steps it has taken.
//
// Matches are begun in the order of time over all keys, which is the order in which their time is over.
class OpenMatches {
 public:
  using Number = uint32_t;
  static constexpr Number kNone = UINT32_MAX;

  // `absence`: a match with all steps is complete when its time is over, not at once. `within`: us.
  OpenMatches(int steps, bool absence, int64_t within, SharedRows* rows)
      : steps_(steps), absence_(absence), within_(within), rows_(rows) {}

  // What a table has for each key; new() it at a new payload.
  int32_t payload_bytes() const { return static_cast<int32_t>(sizeof(Head) + lists() * sizeof(List)); }
  void create(std::byte* payload) const;
  static int64_t count(const std::byte* payload) { return reinterpret_cast<const Head*>(payload)->count; }

  // A match that is complete and not yet given. It uses its rows until forget().
  struct Complete {
    Timestamp end;
    Number match;
  };

  // A row of a key: bit j of `is` says that it is step j, bit j of `without` that none such may come behind
  // step j and before the next one. True if a match went on, or is none any more. It begins none.
  Result<bool> take(std::byte* payload, uint32_t is, uint32_t without, SharedRows::Id row, Timestamp time,
                    std::vector<Complete>* complete);
  // A match that begins with a row.
  void begin(std::byte* payload, SharedRows::Id row, Timestamp time);

  // Matches whose time is over before `now`: complete if they only wait for that, else none any more. Calls
  // changed(payload) for each.
  template <typename Changed>
  Status expire(Timestamp now, std::vector<Complete>* complete, Changed changed) {
    while (!timers_.empty() && over(timers_.front().start, now)) {
      const Timer timer = timers_.front();
      timers_.pop_front();
      if (!stands(timer)) continue;
      std::byte* payload = matches_[timer.match].key;
      FZ_TRY(end(timer.match, complete));
      FZ_TRY(changed(payload));
    }
    drop_stale_timers();
    return Status::OK();
  }

  // Of any match: when it began, and the rows of the steps it has taken.
  Timestamp start(Number match) const { return matches_[match].start; }
  int taken(Number match) const { return matches_[match].taken; }
  SharedRows::Id row(Number match, int step) const { return taken_rows_[place(match, step)]; }
  // Of a complete match, when it was given.
  Status forget(Number match);

  // The matches of a key, the earliest first.
  std::vector<Number> of(const std::byte* payload) const;
  // Takes all of a key away.
  Status clear(std::byte* payload);
  // Puts one behind those of its key, with the rows of the steps it has taken: it has begun no earlier and
  // taken no more. put_in_order() is called after all, before anything else.
  void restore(std::byte* payload, Timestamp start, const std::vector<SharedRows::Id>& rows);
  void put_in_order();

  // The lists are of matches that have taken 1 .. lists() steps.
  int lists() const { return absence_ ? steps_ : steps_ - 1; }
  int64_t bytes() const;

 private:
  struct List {
    Number first, last;
  };
  struct Head {
    int64_t count;
  };
  struct Match {
    Timestamp start = 0;
    std::byte* key = nullptr;  // null: complete, or the number is free
    Number next = kNone;       // of the list, or of the free ones
    uint32_t serial = 0;       // tells it from others that had the number
    int32_t taken = 0;
  };
  // Stands for nothing if the match of that number is another by now.
  struct Timer {
    Timestamp start;
    Number match;
    uint32_t serial;
  };

  List* list(std::byte* payload, int taken) const {
    return reinterpret_cast<List*>(payload + sizeof(Head)) + (taken - 1);
  }
  size_t place(Number match, int step) const {
    return static_cast<size_t>(match) * static_cast<size_t>(steps_) + static_cast<size_t>(step);
  }
  bool over(Timestamp start, Timestamp now) const;
  bool stands(const Timer& timer) const {
    const Match& match = matches_[timer.match];
    return match.key != nullptr && match.serial == timer.serial;
  }
  Number add(std::byte* payload, Timestamp start);
  void append(std::byte* payload, int taken, List moved);
  Status advance_list(std::byte* payload, int taken, SharedRows::Id row, Timestamp time,
                      std::vector<Complete>* complete);
  Status drop_list(std::byte* payload, int taken);
  Status end(Number match, std::vector<Complete>* complete);
  void drop_stale_timers();

  const int steps_;
  const bool absence_;
  const int64_t within_;
  SharedRows* const rows_;
  std::vector<Match> matches_;
  std::vector<SharedRows::Id> taken_rows_;  // `steps_` for each match
  Number free_ = kNone;
  int64_t open_ = 0;
  std::deque<Timer> timers_;  // in the order of starts
};

}  // namespace frazil
