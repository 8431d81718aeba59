#include "operator/join/asof_join.h"

#include <arrow/api.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "base/calendar.h"
#include "base/check.h"
#include "base/limits.h"
#include "operator/time/window.h"
#include "state/take_rows.h"

namespace frazil {
namespace {

constexpr int kLeft = 0;
constexpr int kRight = 1;

}  // namespace

Result<std::unique_ptr<AsofJoin>> AsofJoin::Make(const nlohmann::json& spec,
                                                 const std::vector<std::shared_ptr<arrow::Schema>>& inputs,
                                                 const OperatorContext& context) {
  const auto how = spec.at("how").get<std::string>();
  if (how != "inner" && how != "left") {
    return Error(ErrorKind::kConfig, "reading the plan: no such as-of join: " + how);
  }
  FZ_ASSIGN(auto bound, BindJoinInputs(spec, inputs));
  FZ_ASSIGN(JoinOutput output, JoinOutput::Make(spec, bound[kLeft].input, bound[kRight].input, context.pool));
  auto made = std::unique_ptr<AsofJoin>(new AsofJoin(std::move(bound), std::move(output), context));
  FZ_ASSIGN(made->table_, StateTable::Make({.payload_bytes = sizeof(KeyRows)}, context.kept()));
  made->gives_alone_ = how == "left";
  if (const auto& tolerance = spec.at("tolerance_us"); !tolerance.is_null()) {
    made->tolerance_ = tolerance.get<int64_t>();
  }
  return made;
}

AsofJoin::AsofJoin(std::array<BoundInput, 2> inputs, JoinOutput output, const OperatorContext& context)
    : sides_{Side(std::move(inputs[kLeft]), context.kept()), Side(std::move(inputs[kRight]), context.kept())},
      output_(std::move(output)),
      pool_(context.kept()),
      saved_({sides_[kLeft].rows.schema(), sides_[kRight].rows.schema()}, context.kept()),
      encoded_(context.pool),
      lists_(context.kept()),
      waiting_(context.kept()),
      superseding_(context.kept()),
      aging_(context.kept()) {}

AsofJoin::~AsofJoin() {
  StateTable::Scan scan;
  std::vector<std::byte*> keys;
  while (table_ != nullptr && !scan.done) {
    table_->scan(&scan, limits::kBatchRows, &keys);
    for (std::byte* key : keys) lists_.clear(&reinterpret_cast<KeyRows*>(key)->rights);
  }
}

Result<Progress> AsofJoin::process(Batch, Output&) {
  return Error(ErrorKind::kInternal, "a join has two inputs");
}

Result<Progress> AsofJoin::process(int port, Batch batch, Output& out) {
  FZ_TRY(finish_restore());
  Side& mine = sides_[static_cast<size_t>(port)];
  FZ_ASSIGN(const auto rows, mine.rows.with_order(batch));
  FZ_ASSIGN(const std::vector<Timestamp> times, mine.input.time.of(*rows, pool_));
  const auto earliest = std::min_element(times.begin(), times.end());
  if (earliest != times.end() && *earliest < mine.watermark) {
    return Error(ErrorKind::kInternal,
                 "a row for a join at " + IsoTimestamp(*earliest, arrow::TimeUnit::MICRO, true) +
                     ", behind the watermark " + IsoTimestamp(mine.watermark, arrow::TimeUnit::MICRO, true) +
                     "; if out_of_order was made larger, begin with a new checkpoint");
  }
  const std::vector<uint8_t> keyed = mine.input.keyed(*rows);
  std::vector<int32_t> kept, without_key;
  for (size_t i = 0; i < keyed.size(); ++i)
    (keyed[i] != 0 ? kept : without_key).push_back(static_cast<int>(i));
  FZ_TRY(mine.keys.encode(mine.input.keys_of(*rows), batch.rows(), &encoded_));
  FZ_TRY(keep(port, rows, times, kept));
  if (port == kRight) {
    count_bytes();
    return Progress::kDone;
  }
  if (!without_key.empty()) {
    FZ_ASSIGN(auto lefts, TakeRows(rows, without_key, pool_));
    FZ_TRY(give_alone(lefts, out));
  }
  return go_on(out);
}

Status AsofJoin::give_alone(const std::shared_ptr<arrow::RecordBatch>& lefts, Output& out) const {
  if (!gives_alone_) return Status::OK();
  FZ_ASSIGN(Batch batch, output_.rows(lefts, nullptr));
  return out.push(std::move(batch));
}

Status AsofJoin::keep(int side, const std::shared_ptr<arrow::RecordBatch>& rows,
                      const std::vector<Timestamp>& times, const std::vector<int32_t>& which) {
  FZ_ASSIGN(const std::vector<uint32_t> numbers, sides_[static_cast<size_t>(side)].rows.hold(rows, which));
  std::vector<std::byte*> keys(which.size());
  std::vector<uint8_t> inserted(which.size());
  FZ_TRY(table_->probe(encoded_, which, keys, inserted));
  for (size_t i = 0; i < which.size(); ++i) {
    if (inserted[i] != 0) std::memset(keys[i], 0, sizeof(KeyRows));
  }
  for (size_t i = 0; i < which.size(); ++i) {
    const Timestamp time = times[static_cast<size_t>(which[i])];
    if (side == kRight) {
      FZ_TRY(keep_right(keys[i], time, numbers[i]));
    } else {
      FZ_TRY(waiting_.add({time, keys[i], numbers[i]}));
      ++reinterpret_cast<KeyRows*>(keys[i])->timers;
    }
  }
  return Status::OK();
}

// Of rows of one key and time only the last can be the latest.
Status AsofJoin::keep_right(std::byte* key, Timestamp time, uint32_t number) {
  auto* rows = reinterpret_cast<KeyRows*>(key);
  JoinSide& rights = sides_[kRight].rows;
  TimeLists::Place place = TimeLists::lower_bound(rows->rights, {time, 0});
  const TimedRow* same = TimeLists::next(rows->rights, &place);
  if (same != nullptr && same->time == time) {
    const TimedRow other = *same;
    const auto other_number = static_cast<uint32_t>(other.row);
    if (!rights.is_behind(number, other_number)) return rights.release(number);
    FZ_CHECK(lists_.remove(&rows->rights, other));
    FZ_TRY(rights.release(other_number));
    return lists_.insert(&rows->rights, {time, number});  // the other one's timers go by time
  }
  FZ_TRY(lists_.insert(&rows->rights, {time, number}));
  FZ_TRY(superseding_.add({time, key, number}));
  ++rows->timers;
  if (tolerance_ < 0) return Status::OK();
  FZ_TRY(aging_.add({time, key, number}));
  ++rows->timers;
  return Status::OK();
}

// The right row that belongs to a left row of this time.
std::optional<uint32_t> AsofJoin::latest(const std::byte* key, Timestamp time) const {
  const TimeLists::List& rights = reinterpret_cast<const KeyRows*>(key)->rights;
  const TimedRow* found = TimeLists::previous(rights, TimeLists::lower_bound(rights, {time + 1, 0}));
  if (found == nullptr || (tolerance_ >= 0 && found->time < Earlier(time, tolerance_))) return std::nullopt;
  return static_cast<uint32_t>(found->row);
}

Result<Progress> AsofJoin::advance(int port, Timestamp to, Output& out) {
  FZ_TRY(finish_restore());
  Side& mine = sides_[static_cast<size_t>(port)];
  mine.watermark = std::max(mine.watermark, to);
  return go_on(out);
}

// Gives what may be given, and forgets what nobody needs any more.
Result<Progress> AsofJoin::go_on(Output& out) {
  FZ_ASSIGN(const bool done, give_due(out));
  if (!done) return Progress::kMore;
  FZ_TRY(forget_rights());
  promise_ = std::max(promise_, std::min(sides_[kLeft].watermark, sides_[kRight].watermark));
  count_bytes();
  return Progress::kDone;
}

// False: the output is full.
Result<bool> AsofJoin::give_due(Output& out) {
  int64_t row_bytes = 1;
  for (const Side& side : sides_) row_bytes += side.rows.row_bytes() / std::max<int64_t>(1, side.rows.size());
  const auto limit =
      static_cast<size_t>(std::clamp(limits::kBatchBytes / row_bytes, kJoinRowsMin, limits::kBatchRows));
  for (;;) {
    if (due_done_ == due_.size()) {
      due_done_ = 0;
      waiting_.take(sides_[kRight].watermark, limits::kBatchRows, &due_);
      if (due_.empty()) break;
      note_due_ = true;
      std::sort(due_.begin(), due_.end(), [](const auto& a, const auto& b) { return a.time < b.time; });
    }
    const RowTimers::Timer timer = due_[due_done_++];
    if (const auto right = latest(timer.key, timer.time)) {
      found_.lefts.push_back(timer.row);
      found_.rights.push_back(*right);
    } else {
      found_.alone.push_back(timer.row);
    }
    FZ_TRY(forget_timer(timer.key));
    if (found_.size() < limit) continue;
    FZ_TRY(flush(out));
    if (out.full()) return false;
  }
  FZ_TRY(flush(out));
  return true;
}

Status AsofJoin::flush(Output& out) {
  JoinSide& lefts = sides_[kLeft].rows;
  if (!found_.lefts.empty()) {
    FZ_ASSIGN(auto mine, lefts.gather(found_.lefts));
    FZ_ASSIGN(auto theirs, sides_[kRight].rows.gather(found_.rights));
    FZ_ASSIGN(Batch batch, output_.rows(mine, theirs));
    FZ_TRY(out.push(std::move(batch)));
  }
  if (!found_.alone.empty()) {
    FZ_ASSIGN(auto mine, lefts.gather(found_.alone));
    FZ_TRY(give_alone(mine, out));
  }
  for (const auto* given : {&found_.lefts, &found_.alone}) {
    for (const uint32_t number : *given) FZ_TRY(lefts.release(number));
  }
  found_ = {};
  return Status::OK();
}

Status AsofJoin::forget_rights() {
  const Timestamp least = std::min(sides_[kLeft].watermark, sides_[kRight].watermark);
  std::vector<RowTimers::Timer> timers;
  // No left row to come is before `least`, so none can be before a right row at it.
  for (superseding_.take(Later(least, 1), limits::kBatchRows, &timers); !timers.empty();
       superseding_.take(Later(least, 1), limits::kBatchRows, &timers)) {
    for (const RowTimers::Timer& timer : timers) FZ_TRY(forget_up_to(timer, /*inclusive=*/false));
  }
  if (tolerance_ < 0) return Status::OK();
  const Timestamp oldest = Earlier(least, tolerance_);
  for (aging_.take(oldest, limits::kBatchRows, &timers); !timers.empty();
       aging_.take(oldest, limits::kBatchRows, &timers)) {
    for (const RowTimers::Timer& timer : timers) FZ_TRY(forget_up_to(timer, /*inclusive=*/true));
  }
  return Status::OK();
}

Status AsofJoin::forget_up_to(const RowTimers::Timer& timer, bool inclusive) {
  TimeLists::List* rights = &reinterpret_cast<KeyRows*>(timer.key)->rights;
  for (;;) {
    TimeLists::Place begin;
    const TimedRow* first = TimeLists::next(*rights, &begin);
    if (first == nullptr || first->time > timer.time || (!inclusive && first->time == timer.time)) break;
    const TimedRow gone = *first;
    FZ_CHECK(lists_.remove(rights, gone));
    FZ_TRY(sides_[kRight].rows.release(static_cast<uint32_t>(gone.row)));
  }
  return forget_timer(timer.key);
}

Status AsofJoin::forget_timer(std::byte* key) {
  auto* rows = reinterpret_cast<KeyRows*>(key);
  if (--rows->timers > 0 || !TimeLists::empty(rows->rights)) return Status::OK();
  return table_->erase(key);
}

void AsofJoin::count_bytes() {
  int64_t bytes = table_->bytes() + lists_.bytes() + waiting_.bytes() + superseding_.bytes() + aging_.bytes();
  for (const Side& side : sides_) bytes += side.rows.bytes();
  bytes_.store(bytes, std::memory_order_relaxed);
}

Result<StateRows> AsofJoin::state_changes(bool full) {
  FZ_TRY(finish_restore());
  StateRows rows;
  for (int number = 0; number < 2; ++number) {
    Side& side = sides_[static_cast<size_t>(number)];
    FZ_TRY(saved_.save(number, side.rows, side.input, side.keys, full, &rows));
    FZ_TRY(side.rows.settle());
  }
  if (!rows.empty() || note_due_) {
    FZ_ASSIGN(auto note, saved_.note({sides_[kLeft].watermark, sides_[kRight].watermark}));
    rows.push_back(std::move(note));
  }
  note_due_ = false;
  count_bytes();
  return rows;
}

Status AsofJoin::restore(const std::shared_ptr<arrow::RecordBatch>& rows) {
  FZ_TRY(saved_.read(rows, &restored_));
  for (size_t side = 0; side < 2; ++side) {
    sides_[side].watermark = std::max(sides_[side].watermark, restored_.watermarks[side]);
  }
  return Status::OK();
}

// All files are read. Left rows that were given are forgotten, and right rows by the next watermark.
Status AsofJoin::finish_restore() {
  if (restored_.rows.empty()) return Status::OK();
  for (auto& [side, rows] : std::exchange(restored_.rows, {})) FZ_TRY(keep_restored(side, rows));
  FZ_TRY(forget_rights());
  for (Side& side : sides_) FZ_TRY(side.rows.settle());
  count_bytes();
  return Status::OK();
}

Status AsofJoin::keep_restored(int side, const std::shared_ptr<arrow::RecordBatch>& rows) {
  const Side& mine = sides_[static_cast<size_t>(side)];
  const std::vector<uint8_t> keyed = mine.input.keyed(*rows);
  FZ_ASSIGN(const std::vector<Timestamp> times, mine.input.time.of(*rows, pool_));
  FZ_TRY(mine.keys.encode(mine.input.keys_of(*rows), rows->num_rows(), &encoded_));
  std::vector<int32_t> which;
  for (size_t i = 0; i < times.size(); ++i) {
    if (keyed[i] == 0) return JoinSaved::Damaged("a row without a key");
    if (side == kRight || times[i] >= sides_[kRight].watermark) which.push_back(static_cast<int32_t>(i));
  }
  return keep(side, rows, times, which);
}

}  // namespace frazil
