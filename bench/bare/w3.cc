// W3 without an engine: sessions of each user, 30 s apart -> Parquet, by a hand-written hash table of users.
// A row behind the watermark of its partition, before it, is refused; a session is written when the watermark
// of all partitions is more than a gap past its last row, looked at once a second of event time. Usage:
// input.h.
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <climits>
#include <map>
#include <string_view>

#include "input.h"

namespace bare {
namespace {

constexpr int64_t kGap = 30'000;        // ms
constexpr int64_t kOutOfOrder = 5'000;  // ms
constexpr int64_t kTick = 1'000;        // ms; sessions are looked at together that are due in the same
constexpr int64_t kNever = INT64_MIN / 2;
constexpr int64_t kBatchRows = 16 * 1024;

struct Session {
  int64_t first, last, events;
};

struct User {
  uint64_t hash;
  uint32_t at, size;             // in texts
  bool armed = false;            // it is in a tick
  bool open = false;             // `session` is one
  Session session{};             // the only one, for most users at most times
  std::vector<Session> further;  // others, none within a gap of another
};

// Open addressing, linear probing, at most half full; users stay.
class Users {
 public:
  uint32_t find(std::string_view name) {
    const uint64_t hash = XXH3_64bits(name.data(), name.size());
    for (size_t slot = hash & (slots_.size() - 1);; slot = (slot + 1) & (slots_.size() - 1)) {
      const uint32_t number = slots_[slot];
      if (number == 0) {
        slots_[slot] = static_cast<uint32_t>(users_.size()) + 1;
        users_.push_back({hash, static_cast<uint32_t>(texts_.size()), static_cast<uint32_t>(name.size())});
        texts_.append(name);
        if (2 * users_.size() > slots_.size()) grow();
        return static_cast<uint32_t>(users_.size()) - 1;
      }
      const User& known = users_[number - 1];
      if (known.hash == hash && text(known) == name) return number - 1;
    }
  }
  User& operator[](uint32_t number) { return users_[number]; }
  std::string_view text(const User& user) const { return {texts_.data() + user.at, user.size}; }

 private:
  void grow() {
    slots_.assign(2 * slots_.size(), 0);
    for (size_t i = 0; i < users_.size(); ++i) {
      size_t slot = users_[i].hash & (slots_.size() - 1);
      while (slots_[slot] != 0) slot = (slot + 1) & (slots_.size() - 1);
      slots_[slot] = static_cast<uint32_t>(i) + 1;
    }
  }

  std::vector<uint32_t> slots_ = std::vector<uint32_t>(1024, 0);  // number of a user + 1, or 0
  std::vector<User> users_;
  std::string texts_;
};

bool Touch(const Session& session, int64_t first, int64_t last) {
  return first <= session.last + kGap && session.first <= last + kGap;
}

void Merge(const Session& other, Session* session) {
  session->first = std::min(session->first, other.first);
  session->last = std::max(session->last, other.last);
  session->events += other.events;
}

// Puts a row into the user's sessions; those that it brings together become one.
void Add(int64_t ts, User* user) {
  Session row{ts, ts, 1};
  if (!user->open) {
    user->session = row;
    user->open = true;
    return;
  }
  if (user->further.empty() && Touch(user->session, ts, ts)) {
    Merge(row, &user->session);
    return;
  }
  std::vector<Session> apart;
  user->further.push_back(user->session);
  for (const Session& each : user->further) {
    if (Touch(each, row.first, row.last)) {
      Merge(each, &row);
    } else {
      apart.push_back(each);
    }
  }
  user->session = row;
  user->further = std::move(apart);
}

std::shared_ptr<arrow::Schema> OutputSchema() {
  const auto time = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
  return arrow::schema({arrow::field("user", arrow::utf8()), arrow::field("window_start", time),
                        arrow::field("window_end", time), arrow::field("events", arrow::int64())});
}

class Loop {
 public:
  explicit Loop(const std::string& path) : out_(path, *OutputSchema(), {}, {}) {}

  void Begin(int partitions) { latest_.assign(static_cast<size_t>(partitions), kNever); }

  void Row(const char* data, size_t size, size_t capacity, int partition) {
    auto document = parser_.iterate(data, size, capacity);
    auto object = document.get_object();
    const int64_t ts = object["ts"].get_int64();
    const std::string_view name = object["user"].get_string();
    int64_t& latest = latest_[static_cast<size_t>(partition)];
    if (ts < latest - kOutOfOrder) return;
    const uint32_t number = users_.find(name);
    User& user = users_[number];
    Add(ts, &user);
    if (!user.armed) Arm(number);
    if (ts > latest) {
      latest = ts;
      if (ts - kOutOfOrder > due_) Close(*std::min_element(latest_.begin(), latest_.end()) - kOutOfOrder);
    }
  }

  void Finish() {
    Close(INT64_MAX);
    Flush();
    out_.close();
  }

 private:
  void Arm(uint32_t number) {
    User& user = users_[number];
    int64_t last = user.session.last;
    for (const Session& each : user.further) last = std::min(last, each.last);
    const int64_t tick = (last + kGap) / kTick;
    ticks_[tick].push_back(number);
    user.armed = true;
    due_ = std::min(due_, (tick + 1) * kTick);
  }

  void Close(int64_t watermark) {
    while (!ticks_.empty() && (ticks_.begin()->first + 1) * kTick < watermark) {
      const std::vector<uint32_t> numbers = std::move(ticks_.begin()->second);
      ticks_.erase(ticks_.begin());
      for (const uint32_t number : numbers) CloseUser(number, watermark);
    }
    due_ = ticks_.empty() ? INT64_MAX : (ticks_.begin()->first + 1) * kTick;
  }

  void CloseUser(uint32_t number, int64_t watermark) {
    User& user = users_[number];
    std::vector<Session> sessions = std::move(user.further);
    sessions.push_back(user.session);
    user.further.clear();
    user.open = user.armed = false;
    for (const Session& each : sessions) {
      if (each.last + kGap < watermark) {
        Write(user, each);
      } else if (!user.open) {
        user.session = each;
        user.open = true;
      } else {
        user.further.push_back(each);
      }
    }
    if (user.open) Arm(number);
  }

  void Write(const User& user, const Session& session) {
    Check(user_.Append(users_.text(user)));
    Check(from_.Append(session.first * 1000));
    Check(to_.Append((session.last + kGap) * 1000));
    Check(events_.Append(session.events));
    if (events_.length() >= kBatchRows) Flush();
  }

  void Flush() {
    const int64_t rows = events_.length();
    if (rows == 0) return;
    out_.write(*arrow::RecordBatch::Make(
        OutputSchema(), rows,
        {Get(user_.Finish()), Get(from_.Finish()), Get(to_.Finish()), Get(events_.Finish())}));
  }

  simdjson::ondemand::parser parser_;
  std::vector<int64_t> latest_;  // time of each partition, ms
  Users users_;
  std::map<int64_t, std::vector<uint32_t>> ticks_;  // users to look at
  int64_t due_ = INT64_MAX;                         // before this watermark nothing is to be closed
  arrow::StringBuilder user_;
  arrow::TimestampBuilder from_{OutputSchema()->field(1)->type(), arrow::default_memory_pool()};
  arrow::TimestampBuilder to_{OutputSchema()->field(1)->type(), arrow::default_memory_pool()};
  arrow::Int64Builder events_;
  File out_;
};

}  // namespace
}  // namespace bare

int main(int argc, char** argv) { return bare::Main<bare::Loop>(argc, argv); }
