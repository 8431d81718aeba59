#include "operator/join/interval_join.h"

#include <arrow/api.h>

#include <algorithm>
#include <cstring>
#include <string>

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

Result<std::unique_ptr<IntervalJoin>> IntervalJoin::Make(
    const nlohmann::json& spec, const std::vector<std::shared_ptr<arrow::Schema>>& inputs,
    const OperatorContext& context) {
  static const std::vector<std::string> hows = {"inner", "left", "right", "full", "semi", "anti"};
  const auto how = std::find(hows.begin(), hows.end(), spec.at("how").get<std::string>());
  if (how == hows.end()) {
    return Error(ErrorKind::kConfig, "reading the plan: no such join: " + spec.at("how").dump());
  }
  FZ_ASSIGN(auto bound, BindJoinInputs(spec, inputs));
  FZ_ASSIGN(JoinOutput output, JoinOutput::Make(spec, bound[0].input, bound[1].input, context.pool));
  auto made = std::unique_ptr<IntervalJoin>(
      new IntervalJoin(static_cast<How>(how - hows.begin()), std::move(bound), std::move(output), context));
  FZ_ASSIGN(made->table_, StateTable::Make({.payload_bytes = sizeof(KeyRows)}, context.kept()));
  const auto before = spec.at("before_us").get<int64_t>(), after = spec.at("after_us").get<int64_t>();
  made->sides_[kLeft].back = made->sides_[kRight].ahead = before;
  made->sides_[kLeft].ahead = made->sides_[kRight].back = after;
  return made;
}

IntervalJoin::IntervalJoin(How how, std::array<BoundInput, 2> inputs, JoinOutput output,
                           const OperatorContext& context)
    : how_(how),
      sides_{Side(std::move(inputs[0]), context.kept()), Side(std::move(inputs[1]), context.kept())},
      output_(std::move(output)),
      pool_(context.kept()),
      encoded_(context.pool),
      lists_(context.kept()),
      saved_({sides_[kLeft].rows.schema(), sides_[kRight].rows.schema()}, context.kept()) {
  Side &left = sides_[kLeft], &right = sides_[kRight];
  left.gives_alone = how == How::kLeft || how == How::kFull || how == How::kAnti;
  right.gives_alone = how == How::kRight || how == How::kFull;
  left.looks_again = left.gives_alone || how == How::kSemi;
  right.looks_again = right.gives_alone;
  // Rows that leave look for a match just before, in rows that have to be there still.
  passes_ = how == How::kRight ? std::vector<Pass>{{kRight, false}, {kLeft, false}}
                               : std::vector<Pass>{{kLeft, false}, {kRight, false}};
  if (how == How::kFull) passes_.insert(passes_.begin(), {{kLeft, true}, {kRight, true}});
  pass_ = passes_.size();
}

IntervalJoin::~IntervalJoin() {
  StateTable::Scan scan;
  std::vector<std::byte*> keys;
  while (table_ != nullptr && !scan.done) {
    table_->scan(&scan, limits::kBatchRows, &keys);
    for (std::byte* key : keys) {
      for (auto& list : reinterpret_cast<KeyRows*>(key)->lists) lists_.clear(&list);
    }
  }
}

// Rows before this can find no further match.
Timestamp IntervalJoin::settled(int side) const {
  return Earlier(sides_[1 - side].watermark, sides_[side].ahead);
}

// Rows before this are of no use any more: neither for rows to come nor for those that look again.
Timestamp IntervalJoin::needed(int side) const {
  Timestamp other = sides_[1 - side].watermark;
  if (sides_[1 - side].looks_again) other = std::min(other, settled(1 - side));
  return Earlier(other, sides_[side].ahead);
}

Timestamp IntervalJoin::promised() const {
  const Timestamp left = sides_[kLeft].watermark, right = sides_[kRight].watermark;
  switch (how_) {
    case How::kRight:
      return std::min(right, settled(kRight));
    case How::kFull:
      return std::min(settled(kLeft), settled(kRight));
    default:
      return std::min(left, settled(kLeft));
  }
}

// Rows of a batch that is given: fewer if they are wide.
size_t IntervalJoin::batch_rows() const {
  int64_t row_bytes = 1;
  for (const Side& side : sides_) {
    if (side.rows.size() > 0) row_bytes += side.rows.row_bytes() / side.rows.size();
  }
  return static_cast<size_t>(std::clamp(limits::kBatchBytes / row_bytes, kJoinRowsMin, limits::kBatchRows));
}

Result<Progress> IntervalJoin::process(Batch, Output&) {
  return Error(ErrorKind::kInternal, "a join has two inputs");
}

Result<Progress> IntervalJoin::process(int port, Batch batch, Output& out) {
  FZ_TRY(finish_restore());
  FZ_CHECK(arriving_.rows == nullptr && found_.size() == 0);
  Side& mine = sides_[static_cast<size_t>(port)];
  arriving_.side = port;
  FZ_ASSIGN(arriving_.rows, mine.rows.with_order(batch));
  FZ_ASSIGN(arriving_.times, mine.input.time.of(*arriving_.rows, pool_));
  arriving_.keyed = mine.input.keyed(*arriving_.rows);
  const auto earliest = std::min_element(arriving_.times.begin(), arriving_.times.end());
  if (earliest != arriving_.times.end() && *earliest < mine.watermark) {
    return Error(ErrorKind::kInternal,
                 "a row for a join at " + IsoTimestamp(*earliest, arrow::TimeUnit::MICRO, true) +
                     ", behind the watermark " + IsoTimestamp(mine.watermark, arrow::TimeUnit::MICRO, true) +
                     "; if out_of_order was made larger, begin with a new checkpoint");
  }
  FZ_TRY(mine.keys.encode(mine.input.keys_of(*arriving_.rows), batch.rows(), &encoded_));
  arriving_.keys.assign(arriving_.times.size(), nullptr);
  table_->find(encoded_, arriving_.keys);
  limit_ = batch_rows();
  return look_up(out);
}

Result<Progress> IntervalJoin::look_up(Output& out) {
  while (arriving_.row < arriving_.times.size()) {
    FZ_ASSIGN(const bool found_all, look_up_row(out));
    if (!found_all) return Progress::kMore;
    arrived();
    ++arriving_.row;
    if (found_.size() < limit_) continue;
    FZ_ASSIGN(const bool go_on, flush(out));
    if (!go_on) return Progress::kMore;
  }
  FZ_TRY(flush(out));
  FZ_TRY(keep(arriving_.side, arriving_.rows, arriving_.times, arriving_.kept));
  arriving_ = {};
  count_bytes();
  return Progress::kDone;
}

// Finds the matches of one row. False: the output is full, and it is to be called again.
Result<bool> IntervalJoin::look_up_row(Output& out) {
  const size_t row = arriving_.row;
  auto* key = reinterpret_cast<KeyRows*>(arriving_.keys[row]);
  if (!arriving_.begun) arriving_.matched = false;
  if (key == nullptr || arriving_.keyed[row] == 0) return true;
  const auto& mine = sides_[static_cast<size_t>(arriving_.side)];
  const Timestamp from = Earlier(arriving_.times[row], mine.back);
  const Timestamp to = Later(arriving_.times[row], mine.ahead);
  const TimeLists::List& list = key->lists[static_cast<size_t>(1 - arriving_.side)];
  if (first_match_only()) {
    if (arriving_.side == kRight) return take_first_matches(key, from, to, out);
    arriving_.matched = TimeLists::any(list, from, to);
    return true;
  }
  if (!arriving_.begun) arriving_.place = TimeLists::lower_bound(list, {from, 0});
  arriving_.begun = true;
  const TimedRow* found = nullptr;
  while ((found = TimeLists::next(list, &arriving_.place)) != nullptr && found->time <= to) {
    arriving_.matched = true;
    found_.rows.push_back(static_cast<int32_t>(row));
    found_.others.push_back(static_cast<uint32_t>(found->row));
    if (found_.size() < limit_) continue;
    FZ_ASSIGN(const bool go_on, flush(out));
    if (!go_on) return false;
  }
  arriving_.begun = false;
  return true;
}

// A right row is the first match of the left ones: they have what they waited for.
Result<bool> IntervalJoin::take_first_matches(KeyRows* key, Timestamp from, Timestamp to, Output& out) {
  TimeLists::List* list = &key->lists[kLeft];
  for (;;) {
    TimeLists::Place place = TimeLists::lower_bound(*list, {from, 0});
    const TimedRow* found = TimeLists::next(*list, &place);
    if (found == nullptr || found->time > to) return true;
    const TimedRow left = *found;
    FZ_CHECK(lists_.remove(list, left));
    if (how_ == How::kAnti) {
      FZ_TRY(sides_[kLeft].rows.release(static_cast<uint32_t>(left.row)));
      continue;
    }
    found_.matched.push_back(static_cast<uint32_t>(left.row));
    if (found_.size() < limit_) continue;
    FZ_ASSIGN(const bool go_on, flush(out));
    if (!go_on) return false;
  }
}

// The matches of a row are found: is it to be given without one, and is it to be kept?
void IntervalJoin::arrived() {
  const auto row = static_cast<int32_t>(arriving_.row);
  const Timestamp time = arriving_.times[arriving_.row];
  const bool keyed = arriving_.keyed[arriving_.row] != 0;
  const Side& mine = sides_[static_cast<size_t>(arriving_.side)];
  if (first_match_only() && arriving_.matched) {
    if (how_ == How::kSemi) found_.alone.push_back(row);
    return;
  }
  if (!arriving_.matched && mine.gives_alone && (!keyed || time < settled(arriving_.side))) {
    found_.alone.push_back(row);
  }
  if (keyed && time >= needed(arriving_.side)) arriving_.kept.push_back(row);
}

// Takes rows into the state; encoded_ has their keys.
Status IntervalJoin::keep(int side, const std::shared_ptr<arrow::RecordBatch>& rows,
                          const std::vector<Timestamp>& times, const std::vector<int32_t>& which) {
  Side& mine = sides_[static_cast<size_t>(side)];
  FZ_ASSIGN(const std::vector<uint32_t> numbers, mine.rows.hold(rows, which));
  std::vector<std::byte*> keys(which.size());
  std::vector<uint8_t> inserted(which.size());
  FZ_TRY(table_->probe(encoded_, which, keys, inserted));
  for (size_t i = 0; i < which.size(); ++i) {
    if (inserted[i] != 0) std::memset(keys[i], 0, sizeof(KeyRows));
  }
  const bool apart = passes_.front().judging;
  for (size_t i = 0; i < which.size(); ++i) {
    auto* key = reinterpret_cast<KeyRows*>(keys[i]);
    const Timestamp time = times[static_cast<size_t>(which[i])];
    FZ_TRY(lists_.insert(&key->lists[static_cast<size_t>(side)], {time, numbers[i]}));
    FZ_TRY(mine.leaving.add({time, keys[i], numbers[i]}));
    ++key->timers;
    if (!apart || time < settled(side)) continue;
    FZ_TRY(mine.judging.add({time, keys[i], numbers[i]}));
    ++key->timers;
  }
  return Status::OK();
}

// Gives what was found, and tells whether the output has room for more.
Result<bool> IntervalJoin::flush(Output& out) {
  const auto give = [&](int side, std::shared_ptr<arrow::RecordBatch> mine,
                        std::shared_ptr<arrow::RecordBatch> theirs) -> Status {
    if (side == kRight) std::swap(mine, theirs);
    FZ_ASSIGN(Batch batch, output_.rows(mine, theirs));
    return out.push(std::move(batch));
  };
  const int side = arriving_.side;
  if (!found_.rows.empty()) {
    FZ_ASSIGN(auto mine, TakeRows(arriving_.rows, found_.rows, pool_));
    FZ_ASSIGN(auto theirs, sides_[static_cast<size_t>(1 - side)].rows.gather(found_.others));
    FZ_TRY(give(side, std::move(mine), std::move(theirs)));
  }
  if (!found_.alone.empty()) {
    FZ_ASSIGN(auto mine, TakeRows(arriving_.rows, found_.alone, pool_));
    FZ_TRY(give(side, std::move(mine), nullptr));
  }
  if (!found_.matched.empty()) {
    FZ_ASSIGN(auto mine, sides_[kLeft].rows.gather(found_.matched));
    FZ_TRY(give(kLeft, std::move(mine), nullptr));
    for (const uint32_t number : found_.matched) FZ_TRY(sides_[kLeft].rows.release(number));
  }
  if (!found_.held.empty()) {
    const Pass& pass = passes_[pass_];
    JoinSide& rows = sides_[static_cast<size_t>(pass.side)].rows;
    FZ_ASSIGN(auto mine, rows.gather(found_.held));
    FZ_TRY(give(pass.side, std::move(mine), nullptr));
    for (const uint32_t number : found_.held) {
      if (!pass.judging) FZ_TRY(rows.release(number));
    }
  }
  found_ = {};
  return !out.full();
}

Result<Progress> IntervalJoin::advance(int port, Timestamp to, Output& out) {
  FZ_TRY(finish_restore());
  Side& mine = sides_[static_cast<size_t>(port)];
  mine.watermark = std::max(mine.watermark, to);
  pass_ = 0;
  limit_ = batch_rows();
  return go_on(out);
}

Result<Progress> IntervalJoin::resume(Output& out) {
  return arriving_.rows != nullptr ? look_up(out) : go_on(out);
}

// Goes on with what a watermark brought.
Result<Progress> IntervalJoin::go_on(Output& out) {
  for (; pass_ < passes_.size(); ++pass_) {
    FZ_ASSIGN(const bool done, pass(out));
    if (!done) return Progress::kMore;
  }
  promise_ = std::max(promise_, promised());
  count_bytes();
  return Progress::kDone;
}

Result<bool> IntervalJoin::pass(Output& out) {
  const auto [side, judging] = passes_[pass_];
  Side& mine = sides_[static_cast<size_t>(side)];
  for (;;) {
    if (due_done_ == due_.size()) {
      due_done_ = 0;
      if (judging) {
        mine.judging.take(settled(side), limits::kBatchRows, &due_);
      } else {
        mine.leaving.take(needed(side), limits::kBatchRows, &due_);
      }
      if (due_.empty()) break;
      note_due_ = true;
    }
    const RowTimers::Timer timer = due_[due_done_++];
    if (judging) {
      if (!has_match(side, timer)) found_.held.push_back(timer.row);
      FZ_TRY(forget_timer(timer.key));
    } else {
      FZ_TRY(leave(side, timer));
    }
    if (found_.size() < limit_) continue;
    FZ_ASSIGN(const bool go_on, flush(out));
    if (!go_on) return false;
  }
  FZ_TRY(flush(out));
  return true;
}

bool IntervalJoin::has_match(int side, const RowTimers::Timer& timer) const {
  const Side& mine = sides_[static_cast<size_t>(side)];
  const auto& lists = reinterpret_cast<const KeyRows*>(timer.key)->lists;
  return TimeLists::any(lists[static_cast<size_t>(1 - side)], Earlier(timer.time, mine.back),
                        Later(timer.time, mine.ahead));
}

// A row's time is over. One that has found its first match has gone already.
Status IntervalJoin::leave(int side, const RowTimers::Timer& timer) {
  Side& mine = sides_[static_cast<size_t>(side)];
  auto* key = reinterpret_cast<KeyRows*>(timer.key);
  if (lists_.remove(&key->lists[static_cast<size_t>(side)], {timer.time, timer.row})) {
    const bool apart = passes_.front().judging;
    if (mine.gives_alone && !apart && !has_match(side, timer)) {
      found_.held.push_back(timer.row);  // let go when it is given
    } else {
      FZ_TRY(mine.rows.release(timer.row));
    }
  }
  return forget_timer(timer.key);
}

Status IntervalJoin::forget_timer(std::byte* key) {
  auto* rows = reinterpret_cast<KeyRows*>(key);
  if (--rows->timers > 0) return Status::OK();
  FZ_CHECK(TimeLists::empty(rows->lists[0]) && TimeLists::empty(rows->lists[1]));
  return table_->erase(key);
}

void IntervalJoin::count_bytes() {
  int64_t bytes = table_->bytes() + lists_.bytes();
  for (const Side& side : sides_) bytes += side.rows.bytes() + side.judging.bytes() + side.leaving.bytes();
  bytes_.store(bytes, std::memory_order_relaxed);
}

}  // namespace frazil
