#include "operator/ordered/open_matches.h"

#include <algorithm>
#include <new>

#include "base/check.h"
#include "operator/time/window.h"

namespace frazil {

void OpenMatches::create(std::byte* payload) const {
  new (payload) Head{0};
  for (int taken = 1; taken <= lists(); ++taken) *list(payload, taken) = {kNone, kNone};
}

// A row that is just `within` behind the first one still belongs to it.
bool OpenMatches::over(Timestamp start, Timestamp now) const {
  return now == kWatermarkMax || Later(start, within_) < now;
}

OpenMatches::Number OpenMatches::add(std::byte* payload, Timestamp start) {
  Number number = free_;
  if (number == kNone) {
    number = static_cast<Number>(matches_.size());
    matches_.emplace_back();
    taken_rows_.resize(taken_rows_.size() + static_cast<size_t>(steps_));
  } else {
    free_ = matches_[number].next;
  }
  Match& match = matches_[number];
  match.start = start;
  match.key = payload;
  match.next = kNone;
  match.taken = 1;
  ++reinterpret_cast<Head*>(payload)->count;
  ++open_;
  return number;
}

// Those that have taken as many steps already began before.
void OpenMatches::append(std::byte* payload, int taken, List moved) {
  List* to = list(payload, taken);
  if (to->last == kNone) {
    *to = moved;
  } else {
    matches_[to->last].next = moved.first;
    to->last = moved.last;
  }
}

void OpenMatches::begin(std::byte* payload, SharedRows::Id row, Timestamp time) {
  const Number match = add(payload, time);
  taken_rows_[place(match, 0)] = row;
  rows_->use(row);
  append(payload, 1, {match, match});
  timers_.push_back({time, match, matches_[match].serial});
}

Result<bool> OpenMatches::take(std::byte* payload, uint32_t is, uint32_t without, SharedRows::Id row,
                               Timestamp time, std::vector<Complete>* complete) {
  bool changed = false;
  // From the last step to the first: a row is one step of a match.
  for (int taken = lists(); taken >= 1; --taken) {
    if (list(payload, taken)->first == kNone) continue;
    if (taken < steps_ && ((is >> taken) & 1) != 0) {
      FZ_TRY(advance_list(payload, taken, row, time, complete));
      changed = true;
    } else if (((without >> (taken - 1)) & 1) != 0) {
      FZ_TRY(drop_list(payload, taken));
      changed = true;
    }
  }
  return changed;
}

Status OpenMatches::advance_list(std::byte* payload, int taken, SharedRows::Id row, Timestamp time,
                                 std::vector<Complete>* complete) {
  List* from = list(payload, taken);
  const List moved = *from;
  *from = {kNone, kNone};
  for (Number number = moved.first; number != kNone; number = matches_[number].next) {
    taken_rows_[place(number, taken)] = row;
    rows_->use(row);
    ++matches_[number].taken;
  }
  if (taken + 1 <= lists()) {
    append(payload, taken + 1, moved);
    return Status::OK();
  }
  for (Number number = moved.first; number != kNone; number = matches_[number].next) {
    matches_[number].key = nullptr;
    --reinterpret_cast<Head*>(payload)->count;
    --open_;
    complete->push_back({time, number});
  }
  return Status::OK();
}

Status OpenMatches::drop_list(std::byte* payload, int taken) {
  List* from = list(payload, taken);
  for (Number number = from->first; number != kNone;) {
    const Number next = matches_[number].next;
    matches_[number].key = nullptr;
    --reinterpret_cast<Head*>(payload)->count;
    --open_;
    FZ_TRY(forget(number));
    number = next;
  }
  *from = {kNone, kNone};
  return Status::OK();
}

// The earliest of a key: so it is the first of its list.
Status OpenMatches::end(Number number, std::vector<Complete>* complete) {
  Match& match = matches_[number];
  List* from = list(match.key, match.taken);
  FZ_CHECK(from->first == number);
  *from = from->last == number ? List{kNone, kNone} : List{match.next, from->last};
  --reinterpret_cast<Head*>(match.key)->count;
  --open_;
  match.key = nullptr;
  if (!absence_ || match.taken < steps_) return forget(number);
  complete->push_back({Later(match.start, within_), number});
  return Status::OK();
}

Status OpenMatches::forget(Number number) {
  Match& match = matches_[number];
  for (int step = 0; step < match.taken; ++step) FZ_TRY(rows_->let_go(row(number, step)));
  ++match.serial;
  match.taken = 0;
  match.next = free_;
  free_ = number;
  return Status::OK();
}

void OpenMatches::drop_stale_timers() {
  if (static_cast<int64_t>(timers_.size()) <= 2 * open_ + 1'024) return;
  std::erase_if(timers_, [this](const Timer& timer) { return !stands(timer); });
}

std::vector<OpenMatches::Number> OpenMatches::of(const std::byte* payload) const {
  std::vector<Number> numbers;
  for (int taken = lists(); taken >= 1; --taken) {
    const List* from = list(const_cast<std::byte*>(payload), taken);
    for (Number number = from->first; number != kNone; number = matches_[number].next) {
      numbers.push_back(number);
    }
  }
  return numbers;
}

Status OpenMatches::clear(std::byte* payload) {
  for (int taken = lists(); taken >= 1; --taken) FZ_TRY(drop_list(payload, taken));
  return Status::OK();
}

void OpenMatches::restore(std::byte* payload, Timestamp start, const std::vector<SharedRows::Id>& rows) {
  const Number match = add(payload, start);
  matches_[match].taken = static_cast<int32_t>(rows.size());
  for (size_t step = 0; step < rows.size(); ++step) {
    taken_rows_[place(match, static_cast<int>(step))] = rows[step];
    rows_->use(rows[step]);
  }
  append(payload, static_cast<int>(rows.size()), {match, match});
  timers_.push_back({start, match, matches_[match].serial});
}

void OpenMatches::put_in_order() {
  std::erase_if(timers_, [this](const Timer& timer) { return !stands(timer); });
  std::stable_sort(timers_.begin(), timers_.end(),
                   [](const Timer& a, const Timer& b) { return a.start < b.start; });
}

int64_t OpenMatches::bytes() const {
  return static_cast<int64_t>(matches_.capacity() * sizeof(Match) +
                              taken_rows_.capacity() * sizeof(SharedRows::Id) +
                              timers_.size() * sizeof(Timer));
}

}  // namespace frazil
