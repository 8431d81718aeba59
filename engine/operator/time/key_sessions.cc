#include "operator/time/key_sessions.h"

#include <algorithm>
#include <cstring>

#include "operator/time/window.h"

namespace frazil {

Timestamp KeySessions::end(const Session& session) const { return Later(session.last, gap_); }

void KeySessions::create(std::byte* payload) const {
  *HeadOf(payload) = Head{nullptr, 0, 0};
  *Inline(payload) = Session{0, 0, Session::kGone};
}

void KeySessions::release(std::byte* payload) {
  Head* head = HeadOf(payload);
  for (uint32_t i = 0; i < Count(head->more); ++i) arena_.release(head->more->numbers()[i]);
  free_more(head);
  Inline(payload)->timer = Session::kGone;
}

void KeySessions::free_more(Head* head) {
  if (head->more == nullptr) return;
  more_bytes_ -= BytesOf(*head->more);
  pool_->Free(reinterpret_cast<uint8_t*>(head->more), BytesOf(*head->more));
  head->more = nullptr;
}

// Room for one more.
Status KeySessions::reserve(Head* head) {
  More* old = head->more;
  if (old != nullptr && old->count < old->capacity) return Status::OK();
  const More wanted{Count(old), old == nullptr ? 6 : old->capacity * 2};
  auto* memory = reinterpret_cast<uint8_t*>(old);
  if (old == nullptr) {
    FZ_TRY(pool_->Allocate(BytesOf(wanted), &memory));
  } else {
    const int64_t before = BytesOf(*old);
    FZ_TRY(pool_->Reallocate(before, BytesOf(wanted), &memory));
    more_bytes_ -= before;
  }
  more_bytes_ += BytesOf(wanted);
  head->more = reinterpret_cast<More*>(memory);
  *head->more = wanted;
  return Status::OK();
}

bool KeySessions::belongs(const Session& session, Timestamp first, Timestamp last) const {
  return session.timer != Session::kGone && first <= end(session) && session.first <= Later(last, gap_);
}

uint32_t KeySessions::lower_bound(More* more, Timestamp time) {
  uint32_t* numbers = more->numbers();
  const auto ends_before = [this](uint32_t number, Timestamp at) { return end(*this->at(number)) < at; };
  return static_cast<uint32_t>(std::lower_bound(numbers, numbers + more->count, time, ends_before) - numbers);
}

Result<Session*> KeySessions::place(std::byte* payload, Timestamp first, Timestamp last,
                                    std::vector<uint32_t>* absorbed) {
  Head* head = HeadOf(payload);
  Session* into = Inline(payload);
  const bool within = belongs(*into, first, last);
  if (head->more == nullptr && (within || into->timer == Session::kGone)) {
    if (!within) *into = Session{first, last, Session::kNone};
  } else {
    // Those it belongs to are neighbours in the list.
    uint32_t from = head->more == nullptr ? 0 : lower_bound(head->more, first);
    uint32_t to = from;
    while (to < Count(head->more) && belongs(*at(head->more->numbers()[to]), first, last)) ++to;
    if (!within && from == to) {
      FZ_TRY(reserve(head));
      FZ_ASSIGN(const uint32_t number, arena_.allocate({}));
      uint32_t* numbers = head->more->numbers();
      std::copy_backward(numbers + from, numbers + head->more->count, numbers + head->more->count + 1);
      numbers[from] = number;
      ++head->more->count;
      into = at(number);
      *into = Session{first, last, Session::kNone};
      return into;
    }
    uint32_t* numbers = head->more->numbers();
    if (!within) into = at(numbers[from++]);
    for (uint32_t i = from; i < to; ++i) {
      Session* each = at(numbers[i]);
      into->first = std::min(into->first, each->first);
      into->last = std::max(into->last, each->last);
      absorbed->push_back(numbers[i]);
    }
    if (from < to) std::copy(numbers + to, numbers + head->more->count, numbers + from);
    head->more->count -= to - from;
    if (head->more->count == 0) free_more(head);
  }
  into->first = std::min(into->first, first);
  into->last = std::max(into->last, last);
  return into;
}

Session* KeySessions::find(std::byte* payload, Timestamp time) {
  const auto has = [time](const Session& session) {
    return session.timer != Session::kGone && session.first <= time && time <= session.last;
  };
  if (Session* first = Inline(payload); has(*first)) return first;
  More* more = HeadOf(payload)->more;
  if (more == nullptr) return nullptr;
  uint32_t* numbers = more->numbers();
  const auto begins_behind = [this](Timestamp at, uint32_t number) { return at < this->at(number)->first; };
  const uint32_t* behind = std::upper_bound(numbers, numbers + more->count, time, begins_behind);
  if (behind == numbers) return nullptr;
  Session* found = at(behind[-1]);
  return has(*found) ? found : nullptr;
}

bool KeySessions::take_ended(std::byte* payload, Timestamp due, size_t count, std::vector<Session*>* taken) {
  const auto ended = [this, due](const Session& session) {
    return session.timer != Session::kGone && (end(session) < due || due == kWatermarkMax);
  };
  const size_t most = taken->size() + count;
  const auto take = [&](Session* session) {
    if (taken->size() == most) return false;
    session->timer = Session::kGone;
    taken->push_back(session);
    return true;
  };
  if (Session* first = Inline(payload); ended(*first) && !take(first)) return true;
  More* more = HeadOf(payload)->more;
  // By time, so that those that have ended are in front; if there are gone ones, no others have.
  for (uint32_t i = 0; i < Count(more); ++i) {
    Session* each = at(more->numbers()[i]);
    if (!ended(*each)) break;
    if (!take(each)) return true;
  }
  return false;
}

Session* KeySessions::with_timer(std::byte* payload, Timestamp due, Timestamp timer) {
  if (Session* first = Inline(payload); first->timer == timer) return first;
  More* more = HeadOf(payload)->more;
  if (more == nullptr) return nullptr;
  for (uint32_t i = lower_bound(more, due); i < more->count; ++i) {
    Session* each = at(more->numbers()[i]);
    if (each->timer == timer) return each;
    if (Later(each->first, gap_) > timer) break;  // and so are those behind it
  }
  return nullptr;
}

void KeySessions::remove_gone(std::byte* payload) {
  Head* head = HeadOf(payload);
  Session* first = Inline(payload);
  if (head->more == nullptr) return;
  uint32_t* numbers = head->more->numbers();
  uint32_t gone = 0;
  while (gone < head->more->count && at(numbers[gone])->timer == Session::kGone) {
    arena_.release(numbers[gone++]);
  }
  if (gone > 0) std::copy(numbers + gone, numbers + head->more->count, numbers);
  head->more->count -= gone;
  if (first->timer == Session::kGone && head->more->count > 0) {
    // The latest one moves into the payload: it is the likeliest to get more rows.
    const uint32_t number = numbers[--head->more->count];
    std::memcpy(static_cast<void*>(first), at(number), static_cast<size_t>(session_bytes_));
    arena_.release(number);
  }
  if (head->more->count == 0) free_more(head);
}

}  // namespace frazil
