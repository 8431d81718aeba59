#include "operator/time/window_aggregate.h"

#include <arrow/api.h>
#include <arrow/compute/api.h>

#include <algorithm>
#include <numeric>

#include "base/calendar.h"
#include "base/check.h"
#include "base/limits.h"
#include "operator/time/event_time.h"

namespace frazil {
namespace {

// Rows of windows that are given in one step.
constexpr int64_t kStepRows = 8 * limits::kBatchRows;

// The floor under which the running table of a cumulating window's period is kept.
constexpr Timestamp kRunning = kWatermarkMax;

}  // namespace

Result<std::unique_ptr<WindowAggregate>> WindowAggregate::Make(const nlohmann::json& spec,
                                                               const arrow::Schema& input,
                                                               const OperatorContext& context) {
  FZ_ASSIGN(const WindowSpec window, ParseWindow(spec.at("window")));
  FZ_ASSIGN(Accumulators accumulators, Accumulators::OfSaved(spec.at("aggregates"), input));
  arrow::DataTypeVector types;
  const size_t key_count = spec.at("keys").size();
  for (size_t i = 0; i < key_count; ++i) types.push_back(input.field(static_cast<int>(i))->type());
  FZ_ASSIGN(KeyCodec keys, KeyCodec::Make(std::move(types)));
  arrow::FieldVector saved = {
      arrow::field("hash", arrow::uint64()), arrow::field("what", arrow::int8(), false),
      arrow::field("pane", arrow::int64(), false), arrow::field("floor", arrow::int64(), false),
      arrow::field("key", arrow::binary())};
  for (auto& field : accumulators.saved_fields()) saved.push_back(std::move(field));
  auto made = std::unique_ptr<WindowAggregate>(
      new WindowAggregate(window, std::move(accumulators), std::move(keys), context));
  if (window.kind == WindowSpec::Kind::kHopping) {
    FZ_ASSIGN(made->hopping_, HoppingMerge::Make(&made->accumulators_, context.kept()));
  }
  FZ_ASSIGN(made->output_, WindowSchema(spec, input));
  made->saved_schema_ = arrow::schema(std::move(saved));
  made->key_count_ = key_count;
  made->lateness_ = spec.value("lateness_us", int64_t{0});
  return made;
}

WindowAggregate::~WindowAggregate() {
  for (auto& [name, pane] : tables_) destroy(pane.table.get());
  if (emission_ != nullptr && emission_->made != nullptr) destroy(emission_->made.get());
  for (const Saving& each : saving_) {
    if (each.closed != nullptr) destroy(each.closed.get());
  }
}

void WindowAggregate::destroy(StateTable* table) {
  if (accumulators_.plain()) return;
  StateTable::Scan scan;
  std::vector<std::byte*> rows;
  while (!scan.done) {
    table->scan(&scan, limits::kBatchRows, &rows);
    for (std::byte* row : rows) accumulators_.destroy(row);
  }
}

Result<std::unique_ptr<StateTable>> WindowAggregate::table(bool tracked) const {
  return StateTable::Make({.payload_bytes = accumulators_.width(), .track_changes = tracked}, kept_);
}

Result<WindowAggregate::Pane*> WindowAggregate::pane(const Name& name) {
  Pane& pane = tables_[name];
  if (pane.table == nullptr) {
    FZ_ASSIGN(pane.table, table(true));
  }
  return &pane;
}

void WindowAggregate::count_bytes() {
  int64_t bytes = accumulators_.heap_bytes();
  for (const auto& [name, pane] : tables_) bytes += pane.table->bytes();
  if (hopping_ != nullptr) bytes += hopping_->bytes();
  for (const Saving& each : saving_) bytes += each.closed == nullptr ? 0 : each.closed->bytes();
  bytes_.store(bytes, std::memory_order_relaxed);
}

Result<Progress> WindowAggregate::process(Batch batch, Output&) {
  const auto& columns = *batch.columns;
  const auto& panes = static_cast<const arrow::Int64Array&>(*columns.column(static_cast<int>(key_count_)));
  const auto& floors =
      static_cast<const arrow::Int64Array&>(*columns.column(static_cast<int>(key_count_) + 1));
  std::map<Name, std::vector<int32_t>> rows;
  auto at = rows.end();
  for (int64_t i = 0; i < batch.rows(); ++i) {
    const Name name{panes.Value(i), floors.Value(i)};
    if (at == rows.end() || at->first != name) at = rows.try_emplace(name).first;
    at->second.push_back(static_cast<int32_t>(i));
  }
  const arrow::ArrayVector keys(columns.columns().begin(),
                                columns.columns().begin() + static_cast<std::ptrdiff_t>(key_count_));
  const arrow::ArrayVector saved(columns.columns().begin() + static_cast<std::ptrdiff_t>(key_count_) + 2,
                                 columns.columns().end());
  std::span<const uint64_t> hashes;
  if (const auto mark = MarkOf(batch, kHashMark); mark != nullptr) {
    hashes = {static_cast<const arrow::UInt64Array&>(*mark).raw_values(), static_cast<size_t>(batch.rows())};
  }
  FZ_TRY(keys_.encode(keys, batch.rows(), &encoded_, hashes));
  for (const auto& [name, selected] : rows) {
    // The late gate lets no row through whose window may have closed.
    if (std::max(panes_.first_end(name.first), name.second) <= closed_) {
      return Error(ErrorKind::kInternal,
                   "a row for a window that has closed already: pane " +
                       IsoTimestamp(name.first, arrow::TimeUnit::MICRO, true) + ", closed up to " +
                       IsoTimestamp(closed_, arrow::TimeUnit::MICRO, true) +
                       "; if out_of_order was made larger, begin with a new checkpoint");
    }
    FZ_ASSIGN(Pane * pane, this->pane(name));
    if (selected.size() == static_cast<size_t>(batch.rows())) {
      FZ_TRY(merge(pane->table.get(), encoded_, selected, saved));
      continue;
    }
    arrow::ArrayVector some;
    const auto count = static_cast<int64_t>(selected.size());
    if (selected.back() - selected.front() + 1 == count) {
      for (const auto& column : saved) some.push_back(column->Slice(selected.front(), count));
      FZ_TRY(merge(pane->table.get(), encoded_, selected, some));
      continue;
    }
    const auto indices = std::make_shared<arrow::Int32Array>(count, arrow::Buffer::Wrap(selected));
    for (const auto& column : saved) {
      FZ_ASSIGN(const arrow::Datum taken, arrow::compute::Take(column, indices));
      some.push_back(taken.make_array());
    }
    FZ_TRY(merge(pane->table.get(), encoded_, selected, some));
  }
  count_bytes();
  return Progress::kDone;
}

Status WindowAggregate::merge(StateTable* into, const EncodedKeys& keys, const std::vector<int32_t>& rows,
                              const arrow::ArrayVector& saved) {
  std::vector<std::byte*> payloads(rows.size());
  std::vector<uint8_t> inserted(rows.size());
  FZ_TRY(into->probe(keys, rows, payloads, inserted));
  for (size_t i = 0; i < rows.size(); ++i) {
    if (inserted[i] != 0) accumulators_.create(payloads[i]);
  }
  return accumulators_.merge(payloads, saved);
}

Status WindowAggregate::merge(StateTable* into, const StateTable& from) {
  StateTable::Scan scan;
  std::vector<std::byte*> rows;
  std::vector<std::string_view> names;
  std::vector<int32_t> all;
  EncodedKeys keys(pool_);
  while (!scan.done) {
    from.scan(&scan, limits::kBatchRows, &rows);
    if (rows.empty()) continue;
    names.clear();
    for (const std::byte* row : rows) names.push_back(from.key(row));
    FZ_TRY(keys.assign(names));
    all.resize(rows.size());
    std::iota(all.begin(), all.end(), 0);
    FZ_ASSIGN(const auto saved, accumulators_.save(rows, pool_));
    FZ_TRY(merge(into, keys, all, saved));
  }
  return Status::OK();
}

Result<Progress> WindowAggregate::advance(int, Timestamp to, Output& out) {
  due_ = std::max(due_, Earlier(to, lateness_));
  return emit(out);
}

// Closes windows in the order of their ends, a batch at a time.
Result<Progress> WindowAggregate::emit(Output& out) {
  std::vector<std::byte*> rows;
  // Also where nothing fills the output, because a filter takes no row, a step has an end.
  for (int64_t given = 0; true;) {
    if (emission_ == nullptr) {
      const auto end = next_end();
      if (!end.has_value()) break;
      FZ_TRY(begin(*end));
    }
    while (!emission_->scan.done) {
      if (out.full() || given >= kStepRows) return Progress::kMore;
      emission_->table->scan(&emission_->scan, limits::kBatchRows, &rows);
      if (rows.empty()) continue;
      given += static_cast<int64_t>(rows.size());
      FZ_ASSIGN(Batch batch, slice(rows));
      if (batch.rows() > 0) FZ_TRY(out.push(std::move(batch)));
    }
    finish_window();
  }
  closed_ = std::max(closed_, due_);
  promise_ = closed_;
  count_bytes();
  return Progress::kDone;
}

// The end of the first window that is due and not closed.
std::optional<Timestamp> WindowAggregate::next_end() const {
  std::optional<Timestamp> next;
  if (closed_ == kWatermarkMax) return next;
  for (const auto& [name, pane] : tables_) {
    const auto [start, floor] = name;
    if (next.has_value() && panes_.first_end(start) > *next) break;  // panes are in order
    Timestamp end = std::max(panes_.first_end(start), floor == kRunning ? kWatermarkMin : floor);
    if (end <= closed_) {
      // Their distance may be more than an int64 holds; the next end is not.
      const auto every = static_cast<uint64_t>(panes_.every());
      const uint64_t behind = static_cast<uint64_t>(closed_) - static_cast<uint64_t>(end);
      end = static_cast<Timestamp>(static_cast<uint64_t>(end) + (behind / every + 1) * every);
    }
    if (end > due_ || end > panes_.last_end(start)) continue;
    if (!next.has_value() || end < *next) next = end;
  }
  return next;
}

Status WindowAggregate::begin(Timestamp end) {
  switch (window_.kind) {
    case WindowSpec::Kind::kHopping:
      return begin_hopping(end);
    case WindowSpec::Kind::kCumulating:
      return begin_cumulating(end);
    default: {
      const auto found = tables_.find({panes_.start(end), kWatermarkMin});
      FZ_CHECK(found != tables_.end());
      emission_ = std::make_unique<Emission>(Emission{end, found->second.table.get(), nullptr, {}});
      return Status::OK();
    }
  }
}

Status WindowAggregate::begin_hopping(Timestamp end) {
  const auto first = tables_.lower_bound({panes_.start(end), kWatermarkMin});
  std::vector<HoppingMerge::Pane> panes;
  bool apart = false;  // there are late rows that not all windows take
  for (auto at = first; at != tables_.end() && at->first.first < end; ++at) {
    const auto [start, floor] = at->first;
    if (floor == kWatermarkMin) panes.push_back({start, at->second.table.get()});
    apart = apart || (floor != kWatermarkMin && floor <= end);
  }
  FZ_TRY(hopping_->move_to(panes_.start(end), panes));
  emission_ = std::make_unique<Emission>();
  emission_->end = end;
  emission_->merged = !apart;
  emission_->table = &hopping_->keys();
  if (!apart) return Status::OK();
  FZ_ASSIGN(emission_->made, table(false));
  emission_->table = emission_->made.get();
  for (auto at = first; at != tables_.end() && at->first.first < end; ++at) {
    if (at->first.second <= end) FZ_TRY(merge(emission_->made.get(), *at->second.table));
  }
  return Status::OK();
}

// The running table is that of the period, under its start; panes that end by now go into it.
Status WindowAggregate::begin_cumulating(Timestamp end) {
  FZ_ASSIGN(Pane * running, pane({panes_.start(end), kRunning}));
  for (auto at = tables_.lower_bound({panes_.start(end), kWatermarkMin});
       at != tables_.end() && at->first.first < end;) {
    if (at->first.second == kRunning) {
      ++at;
      continue;
    }
    FZ_TRY(merge(running->table.get(), *at->second.table));
    drop(at++);
  }
  emission_ = std::make_unique<Emission>(Emission{end, running->table.get(), nullptr, {}});
  return Status::OK();
}

Result<Batch> WindowAggregate::slice(const std::vector<std::byte*>& rows) {
  HoppingMerge::Results merged{rows, rows};
  if (emission_->merged) FZ_TRY(hopping_->results(rows, &merged));
  std::vector<WindowResult> results;
  const Timestamp start = panes_.start(emission_->end);
  for (size_t i = 0; i < merged.keys.size(); ++i) {
    const std::byte* key = merged.keys[i];
    results.push_back({emission_->table->key(key), emission_->table->hash(key), start, emission_->end,
                       merged.accumulators[i]});
  }
  return WindowRows(output_, results, keys_, accumulators_, pool_);
}

void WindowAggregate::finish_window() {
  const Timestamp end = emission_->end;
  if (emission_->made != nullptr) destroy(emission_->made.get());
  emission_.reset();
  closed_ = std::max(closed_, end);
  emitted_ = true;
  for (auto at = tables_.begin(); at != tables_.end() && at->first.first < end;) {
    if (panes_.last_end(at->first.first) <= end) {
      drop(at++);
    } else {
      ++at;
    }
  }
  if (hopping_ != nullptr && tables_.empty()) hopping_->clear();
}

void WindowAggregate::drop(std::map<Name, Pane>::iterator pane) {
  auto& table = pane->second.table;
  if (pane->second.saved) dropped_.push_back(pane->first);
  if (table->frozen()) {
    const auto saving = std::find_if(saving_.begin(), saving_.end(),
                                     [&](const Saving& each) { return each.table == table.get(); });
    saving->closed = std::move(table);
  } else {
    destroy(table.get());
  }
  tables_.erase(pane);
}

// Notes come first: what is dropped by them is older than the rows.
Status WindowAggregate::freeze(bool full) {
  for (auto& [name, pane] : tables_) {
    if (!full && pane.table->changes() == 0) continue;
    StateTable* table = pane.table.get();
    FZ_TRY(table->freeze(full, [this, name = name, table](std::span<const StateTable::Change> rows) {
      return save_rows(name, *table, rows);
    }));
    pane.saved = pane.saved || table->size() > 0;
    saving_.push_back({table, nullptr});
  }
  if (!saving_.empty() || !dropped_.empty() || emitted_ || (full && closed_ != kWatermarkMin)) {
    FZ_ASSIGN(auto noted, notes());
    saved_.push_back(std::move(noted));
  }
  dropped_.clear();
  emitted_ = false;
  return Status::OK();
}

Result<bool> WindowAggregate::save(int64_t rows_max, StateRows* rows) {
  while (!saving_.empty() && rows_max > 0) {
    Saving& first = saving_.front();
    FZ_ASSIGN(const bool done, first.table->save_slice(&rows_max));
    if (!done) break;
    if (first.closed != nullptr) destroy(first.closed.get());
    saving_.pop_front();
  }
  rows->insert(rows->end(), saved_.begin(), saved_.end());
  saved_.clear();
  count_bytes();
  return saving_.empty();
}

Status WindowAggregate::save_rows(const Name& name, const StateTable& table,
                                  std::span<const StateTable::Change> rows) {
  const auto count = static_cast<int64_t>(rows.size());
  std::vector<std::byte*> payloads;
  payloads.reserve(rows.size());
  arrow::UInt64Builder hashes(kept_);
  arrow::BinaryBuilder keys(kept_);
  FZ_TRY(hashes.Reserve(count));
  for (const StateTable::Change& row : rows) {
    payloads.push_back(row.payload);
    hashes.UnsafeAppend(table.hash(row.payload));
    FZ_TRY(keys.Append(table.key(row.payload)));
  }
  arrow::ArrayVector columns(5);
  FZ_TRY(hashes.Finish(&columns[0]));
  FZ_ASSIGN(columns[1], arrow::MakeArrayFromScalar(arrow::Int8Scalar(0), count, kept_));
  FZ_ASSIGN(columns[2], arrow::MakeArrayFromScalar(arrow::Int64Scalar(name.first), count, kept_));
  FZ_ASSIGN(columns[3], arrow::MakeArrayFromScalar(arrow::Int64Scalar(name.second), count, kept_));
  FZ_TRY(keys.Finish(&columns[4]));
  FZ_ASSIGN(auto saved, accumulators_.save(payloads, kept_));
  columns.insert(columns.end(), saved.begin(), saved.end());
  saved_.push_back(arrow::RecordBatch::Make(saved_schema_, count, std::move(columns)));
  return Status::OK();
}

// Tables that are gone, and how far windows are closed.
Result<std::shared_ptr<arrow::RecordBatch>> WindowAggregate::notes() const {
  arrow::Int8Builder what(pool_);
  arrow::Int64Builder panes(pool_), floors(pool_);
  for (const auto& [pane, floor] : dropped_) {
    FZ_TRY(what.Append(1));
    FZ_TRY(panes.Append(pane));
    FZ_TRY(floors.Append(floor));
  }
  FZ_TRY(what.Append(2));
  FZ_TRY(panes.Append(closed_));
  FZ_TRY(floors.Append(0));
  const auto count = static_cast<int64_t>(dropped_.size()) + 1;
  arrow::ArrayVector columns(5);
  FZ_ASSIGN(columns[0], arrow::MakeArrayOfNull(arrow::uint64(), count, pool_));
  FZ_TRY(what.Finish(&columns[1]));
  FZ_TRY(panes.Finish(&columns[2]));
  FZ_TRY(floors.Finish(&columns[3]));
  for (int i = 4; i < saved_schema_->num_fields(); ++i) {
    FZ_ASSIGN(auto nulls, arrow::MakeArrayOfNull(saved_schema_->field(i)->type(), count, pool_));
    columns.resize(static_cast<size_t>(i) + 1);
    columns[static_cast<size_t>(i)] = std::move(nulls);
  }
  return arrow::RecordBatch::Make(saved_schema_, count, std::move(columns));
}

// False for a pane that no rows made: of a damaged state.
bool WindowAggregate::possible(const Name& name) const {
  constexpr Timestamp kMost = kEventTimeMax + kEventTimeMax / 2;  // windows reach beyond their rows
  const auto [start, floor] = name;
  if (start < -kMost || start > kMost) return false;
  if (floor == kWatermarkMin) return true;
  const Timestamp first = panes_.first_end(start), last = panes_.last_end(start);
  if (window_.kind == WindowSpec::Kind::kCumulating) return floor == kRunning && panes_.start(last) == start;
  // Late rows, which the first windows do not take.
  return window_.kind == WindowSpec::Kind::kHopping && floor > first && floor <= last &&
         (floor - first) % panes_.every() == 0;
}

Status WindowAggregate::restore(const std::shared_ptr<arrow::RecordBatch>& rows) {
  if (!rows->schema()->Equals(*saved_schema_, /*check_metadata=*/false)) {
    return Error(ErrorKind::kState,
                 "restoring a window: the state has other columns: " + rows->schema()->ToString() +
                     ", expected " + saved_schema_->ToString());
  }
  const auto& what = static_cast<const arrow::Int8Array&>(*rows->column(1));
  const auto& panes = static_cast<const arrow::Int64Array&>(*rows->column(2));
  const auto& floors = static_cast<const arrow::Int64Array&>(*rows->column(3));
  const auto& keys = static_cast<const arrow::BinaryArray&>(*rows->column(4));
  for (int i = 1; i < 4; ++i) {
    if (rows->column(i)->null_count() > 0) {
      return Error(ErrorKind::kState, "restoring a window: a row without what it is");
    }
  }
  for (int64_t from = 0; from < rows->num_rows();) {
    const Name name{panes.Value(from), floors.Value(from)};
    if (what.Value(from) == 2) {
      closed_ = std::max(closed_, name.first);
      ++from;
      continue;
    }
    if (what.Value(from) == 1) {
      if (const auto found = tables_.find(name); found != tables_.end()) drop(found);
      ++from;
      continue;
    }
    int64_t to = from;
    std::vector<std::string_view> names;
    while (to < rows->num_rows() && what.Value(to) == 0 && panes.Value(to) == name.first &&
           floors.Value(to) == name.second && !keys.IsNull(to)) {
      names.push_back(keys.GetView(to++));
    }
    if (to == from) return Error(ErrorKind::kState, "restoring a window: a row without a key");
    if (!possible(name)) {
      return Error(ErrorKind::kState, "restoring a window: one that begins at " + std::to_string(name.first) +
                                          " us and takes rows from " + std::to_string(name.second) +
                                          " us on, which cannot be");
    }
    if (name.second != kRunning && panes_.pane(name.first) != name.first) {
      // Of a calendar, by another version of the time zones.
      return Error(ErrorKind::kState,
                   "restoring a window: one is open that began at " +
                       IsoTimestamp(name.first, arrow::TimeUnit::MICRO, true) +
                       ", and now that one begins at " +
                       IsoTimestamp(panes_.pane(name.first), arrow::TimeUnit::MICRO, true) +
                       "; if the system's time zones were updated, go back to what they were, let the window "
                       "close, and update then");
    }
    arrow::ArrayVector saved;
    for (int i = 5; i < rows->num_columns(); ++i) saved.push_back(rows->column(i)->Slice(from, to - from));
    FZ_ASSIGN(Pane * pane, this->pane(name));
    FZ_TRY(overwrite(pane->table.get(), names, saved));
    pane->saved = true;
    from = to;
  }
  due_ = std::max(due_, closed_);
  dropped_.clear();
  count_bytes();
  return Status::OK();
}

Status WindowAggregate::overwrite(StateTable* into, const std::vector<std::string_view>& keys,
                                  const arrow::ArrayVector& saved) {
  EncodedKeys encoded(pool_);
  FZ_TRY(encoded.assign(keys));
  std::vector<std::byte*> payloads(keys.size());
  std::vector<uint8_t> inserted(keys.size());
  FZ_TRY(into->probe(encoded, payloads, inserted));
  for (size_t i = 0; i < payloads.size(); ++i) {
    if (inserted[i] == 0) accumulators_.destroy(payloads[i]);
    accumulators_.create(payloads[i]);
  }
  FZ_TRY(accumulators_.merge(payloads, saved));
  into->clear_changes();
  return Status::OK();
}

}  // namespace frazil
