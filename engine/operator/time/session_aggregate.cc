#include "operator/time/session_aggregate.h"

#include <arrow/api.h>

#include <algorithm>

#include "base/calendar.h"
#include "base/check.h"
#include "base/limits.h"
#include "operator/changes/kinds.h"
#include "operator/time/session_changes.h"
#include "operator/time/window.h"

namespace frazil {
namespace {

// Marks of a key that was looked at, or that was restored.
constexpr uint32_t kLookedAt = 1;
constexpr uint32_t kChanged = 2;
constexpr uint32_t kTouched = 4;  // by the batch at hand

// What a row of a checkpoint is.
constexpr int8_t kFirst = 0;
constexpr int8_t kFurther = 1;
constexpr int8_t kKeyGone = 2;
constexpr int8_t kEmitted = 3;

Status Damaged(const std::string& text) {
  return Error(ErrorKind::kState,
               "restoring sessions: " + text + "; the state is damaged or of another version");
}

}  // namespace

Result<std::unique_ptr<SessionAggregate>> SessionAggregate::Make(const nlohmann::json& spec,
                                                                 const arrow::Schema& input,
                                                                 const OperatorContext& context) {
  FZ_ASSIGN(const WindowSpec window, ParseWindow(spec.at("window")));
  FZ_CHECK(window.kind == WindowSpec::Kind::kSession);
  FZ_ASSIGN(Accumulators accumulators, Accumulators::OfSaved(spec.at("aggregates"), input));
  arrow::DataTypeVector types;
  const size_t key_count = spec.at("keys").size();
  for (size_t i = 0; i < key_count; ++i) types.push_back(input.field(static_cast<int>(i))->type());
  FZ_ASSIGN(KeyCodec keys, KeyCodec::Make(std::move(types)));
  arrow::FieldVector saved = {arrow::field("hash", arrow::uint64()),
                              arrow::field("what", arrow::int8(), false),
                              arrow::field("key", arrow::binary()), arrow::field("first", arrow::int64()),
                              arrow::field("last", arrow::int64())};
  for (auto& field : accumulators.saved_fields()) saved.push_back(std::move(field));
  auto made = std::unique_ptr<SessionAggregate>(
      new SessionAggregate(window.gap, std::move(accumulators), std::move(keys), context));
  FZ_ASSIGN(made->table_,
            StateTable::Make(
                {.payload_bytes = made->sessions_.payload_bytes(), .track_changes = true, .tombstones = true},
                context.kept()));
  FZ_ASSIGN(made->output_, WindowSchema(spec, input));
  made->saved_schema_ = arrow::schema(std::move(saved));
  made->key_count_ = key_count;
  made->lateness_ = spec.value("lateness_us", int64_t{0});
  if (spec.value("emit", "on_close") == "on_change") {
    FZ_ASSIGN(made->changes_, made->output_->AddField(made->output_->num_fields(), KindField()));
  }
  return made;
}

SessionAggregate::~SessionAggregate() {
  for (const Absorbed& each : absorbed_) {
    accumulators_.destroy(sessions_.absorbed(each.number)->accumulators());
  }
  for (const Taken& each : taken_) accumulators_.destroy(each.session->accumulators());
  StateTable::Scan scan;
  std::vector<std::byte*> keys;
  while (table_ != nullptr && !scan.done) {
    table_->scan(&scan, limits::kBatchRows, &keys);
    for (std::byte* key : keys) destroy(key);
  }
}

// Frees all a key has, but for its row.
void SessionAggregate::destroy(std::byte* key) {
  static_cast<void>(sessions_.for_each(key, [this](Session* session) {
    accumulators_.destroy(session->accumulators());
    return Status::OK();
  }));
  sessions_.release(key);
}

void SessionAggregate::count_bytes() {
  bytes_.store(table_->bytes() + sessions_.bytes() + timers_.bytes() + accumulators_.heap_bytes(),
               std::memory_order_relaxed);
}

Result<Progress> SessionAggregate::process(Batch batch, Output& out) {
  FZ_TRY(set_timers());
  const auto& columns = batch.columns->columns();
  const auto key_columns = columns.begin() + static_cast<std::ptrdiff_t>(key_count_);
  std::span<const uint64_t> hashes;
  if (const auto mark = MarkOf(batch, kHashMark); mark != nullptr) {
    hashes = {static_cast<const arrow::UInt64Array&>(*mark).raw_values(), static_cast<size_t>(batch.rows())};
  }
  FZ_TRY(keys_.encode({columns.begin(), key_columns}, batch.rows(), &encoded_, hashes));
  const auto rows = static_cast<size_t>(batch.rows());
  std::vector<std::byte*> keys(rows), targets(rows);
  std::vector<uint8_t> inserted(rows);
  FZ_TRY(table_->probe(encoded_, keys, inserted));
  for (size_t i = 0; i < rows; ++i) {
    if (inserted[i] != 0) sessions_.create(keys[i]);
  }
  const std::vector<std::byte*> touched =
      changes_ == nullptr ? std::vector<std::byte*>() : this->touched(keys);
  std::vector<size_t> owners_before, owners_after;
  FZ_ASSIGN(const Batch before, open_rows(touched, &owners_before));
  FZ_TRY(place(batch, keys, &targets));
  FZ_TRY(accumulators_.merge(targets, {key_columns + 2, columns.end()}));
  FZ_TRY(merge_absorbed());
  count_bytes();
  if (changes_ == nullptr) return Progress::kDone;
  FZ_ASSIGN(const Batch after, open_rows(touched, &owners_after));
  FZ_ASSIGN(auto rows_changed,
            SessionChanges(before, owners_before, after, owners_after, static_cast<int>(key_count_), pool_));
  if (rows_changed.empty() || rows_changed.front()->length() == 0) return Progress::kDone;
  const int64_t count = rows_changed.front()->length();
  FZ_TRY(out.push({arrow::RecordBatch::Make(changes_, count, std::move(rows_changed)), {}, nullptr}));
  return Progress::kDone;
}

// The keys, each once.
std::vector<std::byte*> SessionAggregate::touched(std::span<std::byte* const> keys) const {
  std::vector<std::byte*> touched;
  for (std::byte* key : keys) {
    uint32_t* mark = KeySessions::Mark(key);
    if ((*mark & kTouched) != 0) continue;
    *mark |= kTouched;
    touched.push_back(key);
  }
  for (std::byte* key : touched) *KeySessions::Mark(key) &= ~kTouched;
  return touched;
}

// The open sessions of keys as they would be given, and which of the keys each is of.
Result<Batch> SessionAggregate::open_rows(std::span<std::byte* const> keys, std::vector<size_t>* owners) {
  std::vector<WindowResult> results;
  for (size_t i = 0; i < keys.size(); ++i) {
    FZ_TRY(sessions_.for_each(keys[i], [&](Session* session) {
      results.push_back({table_->key(keys[i]), table_->hash(keys[i]), session->first, sessions_.end(*session),
                         session->accumulators()});
      owners->push_back(i);
      return Status::OK();
    }));
  }
  if (results.empty() && changes_ == nullptr) return Batch{};
  return WindowRows(output_, results, keys_, accumulators_, pool_);
}

// Finds or makes the session of every run, and gives where its accumulators are when all have their place.
Status SessionAggregate::place(const Batch& batch, std::span<std::byte* const> keys,
                               std::vector<std::byte*>* targets) {
  const int column = static_cast<int>(key_count_);
  const auto* first = static_cast<const arrow::Int64Array&>(*batch.columns->column(column)).raw_values();
  const auto* last = static_cast<const arrow::Int64Array&>(*batch.columns->column(column + 1)).raw_values();
  std::vector<uint32_t> absorbed;
  for (size_t i = 0; i < keys.size(); ++i) {
    // The late gate lets no row through that a session which was emitted might have had.
    if (first[i] < emitted_) {
      return Error(ErrorKind::kInternal,
                   "a row for sessions that have been emitted already: at " +
                       IsoTimestamp(first[i], arrow::TimeUnit::MICRO, true) + ", emitted up to " +
                       IsoTimestamp(emitted_, arrow::TimeUnit::MICRO, true) +
                       "; if out_of_order was made larger, begin with a new checkpoint");
    }
    FZ_ASSIGN(Session * session, sessions_.place(keys[i], first[i], last[i], &absorbed));
    for (const uint32_t number : absorbed) absorbed_.push_back({keys[i], number});
    absorbed.clear();
    if (session->timer == Session::kNone) {
      accumulators_.create(session->accumulators());
      FZ_TRY(set_timer(keys[i], session));
    }
    (*targets)[i] = session->accumulators();
  }
  for (size_t i = 0; i < keys.size() && !absorbed_.empty(); ++i) {
    Session* session = sessions_.find(keys[i], first[i]);
    FZ_CHECK(session != nullptr);
    (*targets)[i] = session->accumulators();
  }
  return Status::OK();
}

Status SessionAggregate::merge_absorbed() {
  if (absorbed_.empty()) return Status::OK();
  std::vector<std::byte*> from, into;
  for (const Absorbed& each : absorbed_) {
    Session* gone = sessions_.absorbed(each.number);
    Session* session = sessions_.find(each.key, gone->first);
    FZ_CHECK(session != nullptr);
    from.push_back(gone->accumulators());
    into.push_back(session->accumulators());
  }
  FZ_ASSIGN(const auto saved, accumulators_.save(from, pool_));
  FZ_TRY(accumulators_.merge(into, saved));
  for (std::byte* each : from) accumulators_.destroy(each);
  for (const Absorbed& each : absorbed_) sessions_.free(each.number);
  absorbed_.clear();
  return Status::OK();
}

// For the end it has by now; never one of the values that mean something else.
Status SessionAggregate::set_timer(std::byte* key, Session* session) {
  session->timer = std::clamp(sessions_.end(*session), kWatermarkMin + 1, kWatermarkMax - 1);
  FZ_TRY(timers_.add(key, session->timer));
  ++*KeySessions::Timers(key);
  return Status::OK();
}

// Of all sessions, after a restore.
Status SessionAggregate::set_timers() {
  if (timers_set_) return Status::OK();
  StateTable::Scan scan;
  std::vector<std::byte*> keys;
  while (!scan.done) {
    table_->scan(&scan, limits::kBatchRows, &keys);
    for (std::byte* key : keys) {
      FZ_TRY(sessions_.for_each(key, [&](Session* session) { return set_timer(key, session); }));
    }
  }
  timers_set_ = true;
  return Status::OK();
}

Result<Progress> SessionAggregate::advance(int, Timestamp to, Output& out) {
  FZ_TRY(set_timers());
  due_ = std::max(due_, Earlier(to, lateness_));
  return emit(out);
}

// Emits what has ended, a batch at a time.
Result<Progress> SessionAggregate::emit(Output& out) {
  while (timers_.may_have(due_)) {
    if (out.full()) return Progress::kMore;
    FZ_TRY(take_ended());
    if (looked_at_.empty()) break;
    if (!taken_.empty() && changes_ == nullptr) {
      FZ_ASSIGN(Batch batch, taken_rows());
      FZ_TRY(out.push(std::move(batch)));
    }
    FZ_TRY(forget_taken());
  }
  emitted_ = std::max(emitted_, due_);
  promise_ = emitted_;
  count_bytes();
  return Progress::kDone;
}

Status SessionAggregate::take_ended() {
  SessionTimers::Timer timer;
  while (static_cast<int64_t>(taken_.size()) < limits::kBatchRows &&
         static_cast<int64_t>(looked_at_.size()) < limits::kBatchRows && timers_.next(due_, &timer)) {
    FZ_TRY(look_at(timer));
  }
  return Status::OK();
}

Status SessionAggregate::look_at(const SessionTimers::Timer& timer) {
  std::byte* key = timer.row;
  uint32_t* mark = KeySessions::Mark(key);
  --*KeySessions::Timers(key);
  if (*mark == 0) looked_at_.push_back(key);
  *mark |= kLookedAt;
  std::vector<Session*> taken;
  const size_t room = static_cast<size_t>(limits::kBatchRows) - taken_.size();
  const bool more = sessions_.take_ended(key, due_, room, &taken);
  for (Session* session : taken) taken_.push_back({key, session});
  if (!taken.empty()) *mark |= kChanged;
  if (more) {
    FZ_TRY(timers_.add(key, timer.time));
    ++*KeySessions::Timers(key);
    return Status::OK();
  }
  Session* session = sessions_.with_timer(key, due_, timer.time);
  return session == nullptr ? Status::OK() : set_timer(key, session);
}

Result<Batch> SessionAggregate::taken_rows() const {
  std::vector<WindowResult> results;
  for (const auto& [key, session] : taken_) {
    results.push_back({table_->key(key), table_->hash(key), session->first, sessions_.end(*session),
                       session->accumulators()});
  }
  return WindowRows(output_, results, keys_, accumulators_, pool_);
}

// What is being saved has the sessions that are taken: to it they are none that are gone.
Status SessionAggregate::touch_taken() {
  std::vector<std::byte*> changed;
  for (std::byte* key : looked_at_) {
    if ((*KeySessions::Mark(key) & kChanged) != 0) changed.push_back(key);
  }
  for (const Taken& each : taken_) each.session->timer = Session::kNone;
  const Status status = table_->touch(changed);
  for (const Taken& each : taken_) each.session->timer = Session::kGone;
  return status;
}

Status SessionAggregate::forget_taken() {
  FZ_TRY(touch_taken());
  for (const Taken& each : taken_) accumulators_.destroy(each.session->accumulators());
  taken_.clear();
  for (std::byte* key : looked_at_) {
    const bool changed = (*KeySessions::Mark(key) & kChanged) != 0;
    *KeySessions::Mark(key) = 0;
    if (changed) sessions_.remove_gone(key);
    // A timer of a session that was absorbed may still be to come, but not later than this call of advance().
    if (sessions_.empty(key) && *KeySessions::Timers(key) == 0) FZ_TRY(table_->erase(key));
  }
  looked_at_.clear();
  return Status::OK();
}

Status SessionAggregate::freeze(bool full) {
  if (full || table_->changes() > 0) {
    FZ_TRY(
        table_->freeze(full, [this](std::span<const StateTable::Change> rows) { return save_rows(rows); }));
  }
  if (table_->frozen() && (!full || table_->size() > 0 || emitted_ != kWatermarkMin)) {
    FZ_TRY(note({}, /*emitted=*/true));
  }
  return Status::OK();
}

Result<bool> SessionAggregate::save(int64_t rows_max, StateRows* rows) {
  if (table_->frozen()) FZ_TRY(table_->save_slice(&rows_max));
  rows->insert(rows->end(), saved_.begin(), saved_.end());
  saved_.clear();
  count_bytes();
  return !table_->frozen();
}

Status SessionAggregate::save_rows(std::span<const StateTable::Change> rows) {
  std::vector<std::byte*> keys, gone;
  for (const auto& [key, erased] : rows) (erased ? gone : keys).push_back(key);
  if (!gone.empty()) FZ_TRY(note(gone, /*emitted=*/false));
  return save_keys(keys);
}

// All sessions of these keys, in batches that end with a key.
Status SessionAggregate::save_keys(const std::vector<std::byte*>& keys) {
  for (size_t from = 0; from < keys.size();) {
    arrow::UInt64Builder hashes(kept_);
    arrow::Int8Builder what(kept_);
    arrow::BinaryBuilder names(kept_);
    arrow::Int64Builder firsts(kept_), lasts(kept_);
    std::vector<std::byte*> accumulators;
    for (; from < keys.size() && static_cast<int64_t>(accumulators.size()) < limits::kBatchRows; ++from) {
      std::byte* key = keys[from];
      int8_t each = kFirst;
      FZ_CHECK(!sessions_.empty(key));
      FZ_TRY(sessions_.for_each(key, [&](Session* session) -> Status {
        FZ_TRY(hashes.Append(table_->hash(key)));
        FZ_TRY(what.Append(each));
        FZ_TRY(names.Append(table_->key(key)));
        FZ_TRY(firsts.Append(session->first));
        FZ_TRY(lasts.Append(session->last));
        accumulators.push_back(session->accumulators());
        each = kFurther;
        return Status::OK();
      }));
    }
    arrow::ArrayVector columns(5);
    FZ_TRY(hashes.Finish(&columns[0]));
    FZ_TRY(what.Finish(&columns[1]));
    FZ_TRY(names.Finish(&columns[2]));
    FZ_TRY(firsts.Finish(&columns[3]));
    FZ_TRY(lasts.Finish(&columns[4]));
    FZ_ASSIGN(auto saved, accumulators_.save(accumulators, kept_));
    columns.insert(columns.end(), saved.begin(), saved.end());
    const auto count = static_cast<int64_t>(accumulators.size());
    saved_.push_back(arrow::RecordBatch::Make(saved_schema_, count, std::move(columns)));
  }
  return Status::OK();
}

// Keys that are gone, or how far sessions have been emitted.
Status SessionAggregate::note(const std::vector<std::byte*>& gone, bool emitted) {
  arrow::UInt64Builder hashes(pool_);
  arrow::Int8Builder what(pool_);
  arrow::BinaryBuilder names(pool_);
  arrow::Int64Builder firsts(pool_);
  for (const std::byte* key : gone) {
    FZ_TRY(hashes.Append(table_->hash(key)));
    FZ_TRY(what.Append(kKeyGone));
    FZ_TRY(names.Append(table_->key(key)));
    FZ_TRY(firsts.AppendNull());
  }
  if (emitted) {
    FZ_TRY(hashes.AppendNull());
    FZ_TRY(what.Append(kEmitted));
    FZ_TRY(names.AppendNull());
    FZ_TRY(firsts.Append(emitted_));
  }
  arrow::ArrayVector columns(4);
  FZ_TRY(hashes.Finish(&columns[0]));
  FZ_TRY(what.Finish(&columns[1]));
  FZ_TRY(names.Finish(&columns[2]));
  FZ_TRY(firsts.Finish(&columns[3]));
  const auto count = static_cast<int64_t>(gone.size()) + (emitted ? 1 : 0);
  for (int i = 4; i < saved_schema_->num_fields(); ++i) {
    FZ_ASSIGN(auto nulls, arrow::MakeArrayOfNull(saved_schema_->field(i)->type(), count, pool_));
    columns.push_back(std::move(nulls));
  }
  saved_.push_back(arrow::RecordBatch::Make(saved_schema_, count, std::move(columns)));
  return Status::OK();
}

Status SessionAggregate::restore(const std::shared_ptr<arrow::RecordBatch>& rows) {
  if (!rows->schema()->Equals(*saved_schema_, /*check_metadata=*/false)) {
    return Error(ErrorKind::kState,
                 "restoring sessions: the state has other columns: " + rows->schema()->ToString() +
                     ", expected " + saved_schema_->ToString());
  }
  timers_set_ = false;
  const auto& what = static_cast<const arrow::Int8Array&>(*rows->column(1));
  const auto& keys = static_cast<const arrow::BinaryArray&>(*rows->column(2));
  const auto& firsts = static_cast<const arrow::Int64Array&>(*rows->column(3));
  for (int64_t from = 0, to = 0; from < rows->num_rows(); from = to) {
    const int8_t kind = what.Value(from);
    to = from + 1;
    if (kind == kEmitted) {
      if (firsts.IsNull(from)) return Damaged("no time up to which they were emitted");
      emitted_ = std::max(emitted_, firsts.Value(from));
    } else if (kind == kKeyGone) {
      if (keys.IsNull(from)) return Damaged("no key that is gone");
      FZ_TRY(restore_gone(keys.GetView(from)));
    } else {
      while (to < rows->num_rows() && (what.Value(to) == kFirst || what.Value(to) == kFurther)) ++to;
      FZ_TRY(restore_sessions(*rows->Slice(from, to - from)));
    }
  }
  table_->clear_changes();
  due_ = std::max(due_, emitted_);
  count_bytes();
  return Status::OK();
}

Status SessionAggregate::restore_gone(std::string_view key) {
  std::byte* found = table_->find(key, HashKey(key));
  if (found == nullptr) return Status::OK();
  destroy(found);
  return table_->erase(found);
}

Status SessionAggregate::restore_sessions(const arrow::RecordBatch& rows) {
  const auto& what = static_cast<const arrow::Int8Array&>(*rows.column(1));
  const auto& names = static_cast<const arrow::BinaryArray&>(*rows.column(2));
  const auto& firsts = static_cast<const arrow::Int64Array&>(*rows.column(3));
  const auto& lasts = static_cast<const arrow::Int64Array&>(*rows.column(4));
  std::vector<std::string_view> views;
  for (int64_t i = 0; i < rows.num_rows(); ++i) {
    if (names.IsNull(i) || firsts.IsNull(i) || lasts.IsNull(i) || firsts.Value(i) > lasts.Value(i)) {
      return Damaged("a session without a key or a time");
    }
    views.push_back(names.GetView(i));
  }
  FZ_TRY(encoded_.assign(views));
  std::vector<std::byte*> keys(views.size()), targets(views.size());
  std::vector<uint8_t> inserted(views.size());
  FZ_TRY(table_->probe(encoded_, keys, inserted));
  for (size_t i = 0; i < keys.size(); ++i) {
    if (inserted[i] != 0) sessions_.create(keys[i]);
  }
  std::vector<uint32_t> absorbed;
  for (size_t i = 0; i < keys.size(); ++i) {
    const auto row = static_cast<int64_t>(i);
    uint32_t* mark = KeySessions::Mark(keys[i]);
    const bool begins = what.Value(row) == kFirst;
    if (begins == (*mark != 0)) return Damaged("the sessions of a key are not together");
    if (begins) {
      destroy(keys[i]);
      *KeySessions::Mark(keys[i]) = kChanged;
    }
    FZ_ASSIGN(Session * session, sessions_.place(keys[i], firsts.Value(row), lasts.Value(row), &absorbed));
    for (const uint32_t number : absorbed) absorbed_.push_back({keys[i], number});  // so that they are freed
    if (session->timer != Session::kNone || !absorbed.empty()) return Damaged("sessions that overlap");
    accumulators_.create(session->accumulators());
    session->timer = Session::kNone + 1;  // until set_timers()
    targets[i] = session->accumulators();
  }
  for (std::byte* key : keys) *KeySessions::Mark(key) = 0;
  arrow::ArrayVector saved(rows.columns().begin() + 5, rows.columns().end());
  return accumulators_.merge(targets, saved);
}

}  // namespace frazil
