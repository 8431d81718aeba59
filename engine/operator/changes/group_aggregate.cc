#include "operator/changes/group_aggregate.h"

#include <arrow/api.h>

#include <algorithm>
#include <new>
#include <string>

#include "base/calendar.h"
#include "base/check.h"
#include "base/limits.h"
#include "operator/changes/kinds.h"
#include "operator/changes/row_pairs.h"
#include "operator/ordered/row_order.h"
#include "operator/time/window.h"

namespace frazil {
namespace {

constexpr Timestamp kNoWindow = kWatermarkMax;

}  // namespace

Result<std::shared_ptr<arrow::Schema>> GroupSchema(const nlohmann::json& spec, const arrow::Schema& input) {
  FZ_ASSIGN(const Accumulators accumulators,
            Accumulators::OfRows(spec.at("aggregates"), input, HasKinds(input)));
  arrow::FieldVector fields;
  for (const auto& key : spec.at("keys")) {
    auto field = input.GetFieldByName(key.get<std::string>());
    if (field == nullptr) return Error(ErrorKind::kConfig, "reading the plan: no key column " + key.dump());
    fields.push_back(std::move(field));
  }
  for (auto& field : accumulators.result_fields()) fields.push_back(std::move(field));
  fields.push_back(KindField());
  return arrow::schema(std::move(fields));
}

Result<std::unique_ptr<GroupAggregate>> GroupAggregate::Make(const nlohmann::json& spec,
                                                             const arrow::Schema& input,
                                                             const OperatorContext& context) {
  FZ_ASSIGN(KeyColumns keys, KeyColumns::Make(spec, input));
  FZ_ASSIGN(Accumulators accumulators, Accumulators::OfRows(spec.at("aggregates"), input, HasKinds(input)));
  auto made = std::unique_ptr<GroupAggregate>(
      new GroupAggregate(std::move(keys), std::move(accumulators), HasKinds(input), context));
  if (made->accumulators_.needs_order()) {
    FZ_ASSIGN(made->time_, RowTime::Make(spec, input));
  }
  if (!spec.at("window_end").is_null()) {
    made->end_column_ = input.GetFieldIndex(spec.at("window_end").get<std::string>());
    const auto type = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
    if (made->end_column_ < 0 || !input.field(made->end_column_)->type()->Equals(type)) {
      return Error(ErrorKind::kConfig, "reading the plan: no end of windows " + spec.at("window_end").dump());
    }
  }
  made->lateness_ = spec.at("lateness_us").get<int64_t>();
  if (!spec.at("early_us").is_null()) made->early_ = spec.at("early_us").get<int64_t>();
  if (made->lateness_ < 0 || (made->early_.has_value() && *made->early_ <= 0)) {
    return Error(ErrorKind::kConfig, "reading the plan: lateness and early of an aggregate");
  }
  if (made->changing_ && (made->end_column_ >= 0 || made->early_.has_value() || made->time_.has_value())) {
    return Error(ErrorKind::kConfig,
                 "reading the plan: an aggregate of changes in windows or by their order");
  }
  FZ_ASSIGN(made->output_, GroupSchema(spec, input));
  arrow::FieldVector saved = {arrow::field("what", arrow::int8(), false),
                              arrow::field("end", arrow::int64(), false),
                              arrow::field("state", arrow::int8(), false)};
  if (made->changing_) saved.push_back(arrow::field("rows", arrow::int64()));
  for (auto& field : made->accumulators_.saved_fields()) saved.push_back(std::move(field));
  if (made->early_.has_value()) {
    for (auto& field : made->accumulators_.saved_fields()) {
      saved.push_back(field->WithName("given " + field->name()));
    }
  }
  made->saved_schema_ = KeyedSchema(saved);
  return made;
}

GroupAggregate::~GroupAggregate() {
  for (auto& [end, groups] : groups_) destroy(groups.table.get());
  for (const auto& table : saving_) {
    if (table.use_count() == 1) destroy(table.get());  // its groups are forgotten
  }
}

void GroupAggregate::create(std::byte* payload) {
  if (changing_) RowsOf(payload) = 0;
  accumulators_.create(accumulators_of(payload));
  if (early_.has_value()) accumulators_.create(given_of(payload));
}

void GroupAggregate::destroy(std::byte* payload) {
  accumulators_.destroy(accumulators_of(payload));
  if (early_.has_value()) accumulators_.destroy(given_of(payload));
}

void GroupAggregate::destroy(StateTable* table) {
  if (accumulators_.plain()) return;
  const Status done = EachSlice(*table, /*full=*/true, [this](const Payloads& payloads) {
    for (std::byte* payload : payloads) destroy(payload);
    return Status::OK();
  });
  static_cast<void>(done);  // nothing in it can fail
}

void GroupAggregate::count_bytes() {
  int64_t bytes = accumulators_.heap_bytes();
  for (const auto& [end, groups] : groups_) {
    bytes += groups.table->bytes() + static_cast<int64_t>(groups.waiting.capacity() * sizeof(std::byte*));
  }
  for (const auto& table : saving_) bytes += table.use_count() == 1 ? table->bytes() : 0;
  bytes_.store(bytes, std::memory_order_relaxed);
}

Result<GroupAggregate::Groups*> GroupAggregate::groups(Timestamp end) {
  Groups& groups = groups_[end];
  if (groups.table == nullptr) {
    const int32_t width = header_bytes() + accumulators_.width() * (early_.has_value() ? 2 : 1);
    FZ_ASSIGN(
        groups.table,
        StateTable::Make({.payload_bytes = width, .track_changes = true, .tombstones = changing_}, kept_));
  }
  return &groups;
}

GroupAggregate::Payloads GroupAggregate::all(const Payloads& groups, bool given) const {
  Payloads accumulators;
  accumulators.reserve(groups.size());
  for (std::byte* payload : groups) {
    accumulators.push_back(given ? given_of(payload) : accumulators_of(payload));
  }
  return accumulators;
}

// The payload of each row's group.
Status GroupAggregate::find(const Batch& batch) {
  FZ_TRY(keys_.encode(batch, &encoded_));
  payloads_.assign(static_cast<size_t>(batch.rows()), nullptr);
  std::map<Timestamp, std::vector<int32_t>> rows;
  const auto* ends =
      end_column_ < 0
          ? nullptr
          : static_cast<const arrow::TimestampArray&>(*batch.columns->column(end_column_)).raw_values();
  for (int64_t i = 0; i < batch.rows(); ++i) {
    rows[ends == nullptr ? kNoWindow : ends[i]].push_back(static_cast<int32_t>(i));
  }
  for (const auto& [end, some] : rows) FZ_TRY(find_some(end, some));
  return Status::OK();
}

Status GroupAggregate::find_some(Timestamp end, const std::vector<int32_t>& rows) {
  if (end != kNoWindow && (end <= forgotten_ || Later(end, lateness_) <= watermark_)) {
    return Error(ErrorKind::kInternal,
                 "a row for the window that ends at " + IsoTimestamp(end, arrow::TimeUnit::MICRO, true) +
                     ", which has been forgotten; if out_of_order was made larger, begin with a new "
                     "checkpoint");
  }
  FZ_ASSIGN(Groups * groups, this->groups(end));
  Payloads payloads(rows.size());
  std::vector<uint8_t> inserted(rows.size());
  FZ_TRY(groups->table->probe(encoded_, rows, payloads, inserted));
  for (size_t i = 0; i < rows.size(); ++i) {
    if (inserted[i] != 0) {
      new (payloads[i]) Header{0, 0, 0};
      create(payloads[i]);
    }
    payloads_[static_cast<size_t>(rows[i])] = payloads[i];
    if (early_.has_value() && HeaderOf(payloads[i])->waiting == 0) {
      HeaderOf(payloads[i])->waiting = 1;
      groups->waiting.push_back(payloads[i]);
    }
  }
  return Status::OK();
}

Status GroupAggregate::add(const Batch& batch) {
  std::vector<OrderKey> order;
  if (time_.has_value()) {
    FZ_ASSIGN(const auto times, time_->of(*batch.columns, pool_));
    FZ_ASSIGN(order, OrderKeysOf(batch, times));
  }
  return accumulators_.add(batch, all(payloads_, /*given=*/false), order, pool_);
}

// Adds and takes away; all that is added comes first, so what the order of rows within the batch is does not
// matter.
Status GroupAggregate::change(const Batch& batch) {
  FZ_ASSIGN(const auto kinds, KindsOf(batch));
  FZ_CHECK(kinds != nullptr);
  Payloads added(payloads_.size()), taken(payloads_.size());
  for (size_t i = 0; i < payloads_.size(); ++i) {
    const auto kind = static_cast<RowKind>(kinds->Value(static_cast<int64_t>(i)));
    const bool adds = kind == RowKind::kInsert || kind == RowKind::kUpdateAfter;
    (adds ? added : taken)[i] = accumulators_of(payloads_[i]);
    RowsOf(payloads_[i]) += adds ? 1 : -1;
  }
  for (std::byte* payload : payloads_) {
    if (RowsOf(payload) >= 0) continue;
    FZ_ASSIGN(const std::string where, this->where(payload));
    return NamedError("DataError", where +
                                       ": a row is taken back that is not there; the steps before it gave "
                                       "other values for the same row");
  }
  const Status done = accumulators_.change(batch, added, taken, pool_);
  const int64_t failed = accumulators_.failed_row();
  if (done.ok() || failed < 0) return done;
  FZ_ASSIGN(const std::string where, this->where(payloads_[static_cast<size_t>(failed)]));
  return NamedError("DataError", MessageOf(Prefixed(done, where)));
}

Status GroupAggregate::bury(const Payloads& groups) {
  for (std::byte* payload : groups) {
    if (!dead(payload)) continue;
    destroy(payload);
    FZ_TRY(groups_.at(kNoWindow).table->erase(payload));
  }
  return Status::OK();
}

// The groups of the batch at hand, each once, and their keys.
GroupAggregate::Payloads GroupAggregate::touched() const {
  Payloads touched;
  for (std::byte* payload : payloads_) {
    if (HeaderOf(payload)->touched != 0) continue;
    HeaderOf(payload)->touched = 1;
    touched.push_back(payload);
  }
  for (std::byte* payload : touched) HeaderOf(payload)->touched = 0;
  return touched;
}

Result<Progress> GroupAggregate::process(Batch batch, Output& out) {
  if (batch.rows() == 0) return Progress::kDone;
  FZ_TRY(find(batch));
  if (early_.has_value()) {
    FZ_TRY(add(batch));
    count_bytes();
    return Progress::kDone;
  }
  const Payloads groups = touched();
  Payloads known;
  for (std::byte* payload : groups) {
    if (HeaderOf(payload)->given != 0) known.push_back(payload);
  }
  FZ_ASSIGN(const arrow::ArrayVector before, finish(known, all(known, /*given=*/false)));
  FZ_TRY(changing_ ? change(batch) : add(batch));
  FZ_ASSIGN(const arrow::ArrayVector after, finish(groups, all(groups, /*given=*/false)));
  FZ_ASSIGN(Batch made, changes(groups, before, after));
  FZ_TRY(note_given(groups));
  FZ_TRY(bury(groups));
  count_bytes();
  if (made.rows() > 0) FZ_TRY(out.push(std::move(made)));
  return Progress::kDone;
}

Result<arrow::ArrayVector> GroupAggregate::finish(const Payloads& groups, const Payloads& accumulators) {
  int64_t failed = -1;
  auto finished = accumulators_.finish(accumulators, pool_, &failed);
  if (finished.ok() || failed < 0) return finished;
  FZ_ASSIGN(const std::string where, this->where(groups[static_cast<size_t>(failed)]));
  return NamedError("DataError", MessageOf(Prefixed(finished.status(), where)));
}

Result<std::string> GroupAggregate::where(std::byte* payload) const {
  const std::string_view key = groups_.begin()->second.table->key(payload);
  FZ_ASSIGN(const arrow::ArrayVector columns, keys_.codec().decode({&key, 1}, pool_));
  std::string where = "aggregating";
  for (size_t i = 0; i < columns.size(); ++i) {
    FZ_ASSIGN(const auto value, columns[i]->GetScalar(0));
    where += (i == 0 ? " " : ", ") + output_->field(static_cast<int>(i))->name() + "=" + value->ToString();
  }
  return where;
}

Result<Batch> GroupAggregate::changes(const Payloads& groups, const arrow::ArrayVector& before,
                                      const arrow::ArrayVector& after) {
  RowPairs pairs(before, after);
  names_.clear();
  int64_t next = 0;  // of those that are given
  for (size_t i = 0; i < groups.size(); ++i) {
    const bool gone = dead(groups[i]);
    if (HeaderOf(groups[i])->given == 0) {
      if (!gone) pairs.insert(static_cast<int64_t>(i));
    } else if (gone) {
      pairs.remove(next++);
    } else {
      pairs.update(next++, static_cast<int64_t>(i));
    }
    // Any table knows the key of a payload.
    names_.resize(pairs.size(), groups_.begin()->second.table->key(groups[i]));
  }
  FZ_ASSIGN(arrow::ArrayVector columns, keys_.codec().decode(names_, pool_));
  FZ_ASSIGN(arrow::ArrayVector results, pairs.columns(pool_));
  columns.insert(columns.end(), results.begin(), results.end());
  const auto count = static_cast<int64_t>(pairs.size());
  return Batch{arrow::RecordBatch::Make(output_, count, std::move(columns)), {}, nullptr};
}

// Consumers know the results that the groups have now.
Status GroupAggregate::note_given(const Payloads& groups) {
  for (std::byte* payload : groups) {
    HeaderOf(payload)->given = 1;
    HeaderOf(payload)->waiting = 0;
  }
  if (!early_.has_value()) return Status::OK();
  FZ_ASSIGN(const arrow::ArrayVector saved, accumulators_.save(all(groups, /*given=*/false), pool_));
  const Payloads given = all(groups, /*given=*/true);
  for (std::byte* accumulators : given) {
    accumulators_.destroy(accumulators);
    accumulators_.create(accumulators);
  }
  return accumulators_.merge(given, saved);
}

Result<Progress> GroupAggregate::advance(int, Timestamp to, Output& out) {
  const Timestamp from = std::exchange(watermark_, std::max(watermark_, to));
  if (early_.has_value())
    make_due(from != kWatermarkMin && FloorDivide(watermark_, *early_) > FloorDivide(from, *early_));
  return emit_due(out);
}

// Changes of all groups, or of those whose window has ended.
void GroupAggregate::make_due(bool all) {
  for (auto& [end, groups] : groups_) {
    if (!all && end > watermark_) break;
    if (!groups.waiting.empty()) due_.push_back({end, std::move(groups.waiting), 0});
    groups.waiting.clear();
  }
}

Result<Progress> GroupAggregate::emit_due(Output& out) {
  while (!due_.empty()) {
    Due& due = due_.front();
    while (due.next < due.groups.size()) {
      if (out.full()) return Progress::kMore;
      const size_t count =
          std::min(due.groups.size() - due.next, static_cast<size_t>(limits::kBatchRows) / 2);
      const auto first = due.groups.begin() + static_cast<std::ptrdiff_t>(due.next);
      const Payloads groups(first, first + static_cast<std::ptrdiff_t>(count));
      Payloads known;
      for (std::byte* payload : groups) {
        if (HeaderOf(payload)->given != 0) known.push_back(payload);
      }
      FZ_ASSIGN(const arrow::ArrayVector before, finish(known, all(known, /*given=*/true)));
      FZ_ASSIGN(const arrow::ArrayVector after, finish(groups, all(groups, /*given=*/false)));
      FZ_ASSIGN(Batch made, changes(groups, before, after));
      FZ_TRY(groups_.at(due.end).table->touch(groups));
      FZ_TRY(note_given(groups));
      due.next += count;
      if (made.rows() > 0) FZ_TRY(out.push(std::move(made)));
    }
    due_.pop_front();
  }
  forget();
  promise_ = Earlier(watermark_, lateness_);
  count_bytes();
  return Progress::kDone;
}

void GroupAggregate::forget() {
  while (!groups_.empty() && groups_.begin()->first != kNoWindow &&
         Later(groups_.begin()->first, lateness_) <= watermark_) {
    const auto first = groups_.begin();
    if (!first->second.table->frozen()) destroy(first->second.table.get());
    forgotten_ = std::max(forgotten_, first->first);
    forgot_ = forgot_ || first->second.saved;
    groups_.erase(first);
  }
}

}  // namespace frazil
