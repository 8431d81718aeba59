#include "operator/ordered/pattern.h"

#include <arrow/api.h>

#include <algorithm>
#include <span>
#include <string>

#include "base/calendar.h"
#include "base/limits.h"
#include "operator/filter.h"
#include "operator/ordered/row_order.h"
#include "operator/place.h"
#include "state/take_rows.h"

namespace frazil {
namespace {

constexpr const char* kWhat = "pattern";
constexpr size_t kStepsMax = 16;  // frazil/pattern.py refuses more where they are written

std::shared_ptr<arrow::Field> TimeField(const char* name) {
  return arrow::field(name, arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"), false);
}

Status Misread(const std::string& text) {
  return Error(ErrorKind::kConfig, "reading the plan: pattern " + text);
}

Result<int> ColumnOf(const nlohmann::json& name, const arrow::Schema& input) {
  const int column = input.GetFieldIndex(name.get<std::string>());
  if (column < 0) return Misread("has no column " + name.dump());
  return column;
}

// Columns of the input that are held: those of the key, then what steps give.
Result<std::vector<int>> HeldColumns(const nlohmann::json& spec, const arrow::Schema& input) {
  std::vector<int> columns;
  for (const auto& key : spec.at("keys")) {
    FZ_ASSIGN(const int column, ColumnOf(key, input));
    columns.push_back(column);
  }
  for (const auto& step : spec.at("steps")) {
    for (const auto& pair : step.at("columns")) {
      FZ_ASSIGN(const int column, ColumnOf(pair.at(0), input));
      if (std::find(columns.begin(), columns.end(), column) == columns.end()) columns.push_back(column);
    }
  }
  if (columns.empty()) {  // rows without columns cannot be held
    FZ_ASSIGN(const int column, ColumnOf(spec.at("time").at("column"), input));
    columns.push_back(column);
  }
  return columns;
}

// Calls each(row) for the rows for which a predicate is true.
template <typename Each>
Status EachTrue(const BoundExpr& predicate, const Batch& batch, arrow::MemoryPool* pool, Each each) {
  auto values = predicate.Evaluate(*batch.columns, pool);
  if (!values.ok()) return Prefixed(values.status(), kWhat + PlaceOf(batch.origin));
  const auto& truths = static_cast<const arrow::BooleanArray&>(**values);
  for (int64_t i = 0; i < truths.length(); ++i) {
    if (truths.IsValid(i) && truths.Value(i)) each(static_cast<size_t>(i));
  }
  return Status::OK();
}

}  // namespace

Result<std::shared_ptr<arrow::Schema>> PatternSchema(const nlohmann::json& spec, const arrow::Schema& input) {
  arrow::FieldVector fields;
  for (const auto& key : spec.at("keys")) {
    FZ_ASSIGN(const int column, ColumnOf(key, input));
    fields.push_back(input.field(column));
  }
  fields.push_back(TimeField("match_start"));
  fields.push_back(TimeField("match_end"));
  for (const auto& step : spec.at("steps")) {
    for (const auto& pair : step.at("columns")) {
      FZ_ASSIGN(const int column, ColumnOf(pair.at(0), input));
      fields.push_back(input.field(column)->WithName(pair.at(1).get<std::string>()));
    }
  }
  return arrow::schema(std::move(fields));
}

Result<std::unique_ptr<Pattern>> Pattern::Make(const nlohmann::json& spec, const arrow::Schema& input,
                                               const OperatorContext& context) {
  FZ_ASSIGN(KeyColumns keys, KeyColumns::Make(spec, input));
  FZ_ASSIGN(const RowTime time, RowTime::Make(spec, input));
  FZ_ASSIGN(const std::vector<int> columns, HeldColumns(spec, input));
  const auto within = spec.at("within_us").get<int64_t>();
  const auto open_max = spec.at("open_max").get<int64_t>();
  if (within < 1 || open_max < 1) return Misread("within " + std::to_string(within) + " us");
  arrow::FieldVector held;
  for (const int column : columns) held.push_back(input.field(column));
  std::vector<Step> steps;
  for (const auto& given : spec.at("steps")) {
    const auto name = given.at("name").get<std::string>();
    FZ_ASSIGN(BoundExpr when, BindPredicate(given.at("when"), input));
    Step step{name, std::move(when), {}, {}};
    for (const auto& each : given.at("without")) {
      FZ_ASSIGN(BoundExpr without, BindPredicate(each, input));
      step.without.push_back(std::move(without));
    }
    for (const auto& pair : given.at("columns")) {
      FZ_ASSIGN(const int column, ColumnOf(pair.at(0), input));
      step.columns.push_back(
          static_cast<int>(std::find(columns.begin(), columns.end(), column) - columns.begin()));
    }
    steps.push_back(std::move(step));
  }
  if (steps.empty() || steps.size() > kStepsMax || (steps.size() == 1 && steps.front().without.empty())) {
    return Misread("of " + std::to_string(steps.size()) + " steps");
  }
  auto made = std::unique_ptr<Pattern>(
      new Pattern(std::move(keys), time, std::move(steps), within, arrow::schema(std::move(held)), context));
  made->open_max_ = open_max;
  made->held_columns_ = columns;
  made->key_count_ = static_cast<int>(spec.at("keys").size());
  FZ_ASSIGN(made->output_, PatternSchema(spec, input));
  FZ_ASSIGN(made->table_,
            StateTable::Make(
                {.payload_bytes = made->matches_.payload_bytes(), .track_changes = true, .tombstones = true},
                context.kept()));
  return made;
}

Pattern::Pattern(KeyColumns keys, RowTime time, std::vector<Step> steps, int64_t within,
                 std::shared_ptr<arrow::Schema> held, const OperatorContext& context)
    : keys_(std::move(keys)),
      time_(time),
      steps_(std::move(steps)),
      pool_(context.kept()),
      rows_(std::move(held), context.kept()),
      matches_(static_cast<int>(steps_.size()), !steps_.back().without.empty(), within, &rows_),
      encoded_(context.pool) {
  arrow::FieldVector saved;
  for (const auto& field : rows_.schema()->fields()) saved.push_back(field->WithNullable(true));
  saved_schema_ = KeyedSchema({arrow::field("starts", arrow::list(arrow::int64()), false),
                               arrow::field("taken", arrow::list(arrow::int32()), false),
                               arrow::field("rows", arrow::list(arrow::struct_(saved)), false)});
}

void Pattern::count_bytes() {
  bytes_.store(table_->bytes() + rows_.bytes() + matches_.bytes(), std::memory_order_relaxed);
}

Status Pattern::put_in_order() {
  if (in_order_) return Status::OK();
  in_order_ = true;
  matches_.put_in_order();
  return Status::OK();
}

Result<Progress> Pattern::process(Batch batch, Output& out) {
  if (batch.rows() == 0) return Progress::kDone;
  FZ_TRY(put_in_order());
  FZ_ASSIGN(const std::vector<Timestamp> times, time_.of(*batch.columns, pool_));
  FZ_TRY(CheckInOrder(times, promise_, kWhat));
  FZ_ASSIGN(const std::vector<Marks> rows, marks(batch));
  FZ_TRY(walk(batch, times, rows));
  return emit(out);
}

Result<std::vector<Pattern::Marks>> Pattern::marks(const Batch& batch) const {
  std::vector<Marks> marks(static_cast<size_t>(batch.rows()));
  for (size_t j = 0; j < steps_.size(); ++j) {
    const uint32_t bit = uint32_t{1} << j;
    FZ_TRY(EachTrue(steps_[j].when, batch, pool_, [&](size_t row) { marks[row].is |= bit; }));
    for (const BoundExpr& without : steps_[j].without) {
      FZ_TRY(EachTrue(without, batch, pool_, [&](size_t row) { marks[row].without |= bit; }));
    }
  }
  return marks;
}

// The payload of each row's key: null if it has no match and the row begins none.
Status Pattern::find(const std::vector<Marks>& marks, std::vector<std::byte*>* payloads) {
  std::vector<int32_t> starts, others;
  for (size_t i = 0; i < marks.size(); ++i) {
    if ((marks[i].is & 1) != 0) {
      starts.push_back(static_cast<int32_t>(i));
    } else if (marks[i].is != 0 || marks[i].without != 0) {
      others.push_back(static_cast<int32_t>(i));
    }
  }
  payloads->assign(marks.size(), nullptr);
  std::vector<std::byte*> found(starts.size());
  std::vector<uint8_t> inserted(starts.size());
  FZ_TRY(table_->probe(encoded_, starts, found, inserted));
  for (size_t i = 0; i < starts.size(); ++i) {
    if (inserted[i] != 0) matches_.create(found[i]);
    (*payloads)[static_cast<size_t>(starts[i])] = found[i];
  }
  found.assign(others.size(), nullptr);
  table_->find(encoded_, others, found);
  for (size_t i = 0; i < others.size(); ++i) (*payloads)[static_cast<size_t>(others[i])] = found[i];
  return Status::OK();
}

// Holds the rows that are a step of something; `ids` has them, and what it likes for the others.
Status Pattern::hold(const Batch& batch, const std::vector<Marks>& marks, std::vector<SharedRows::Id>* ids) {
  std::vector<int32_t> which;
  for (size_t i = 0; i < marks.size(); ++i) {
    if (marks[i].is != 0) which.push_back(static_cast<int32_t>(i));
  }
  ids->assign(marks.size(), 0);
  if (which.empty()) return Status::OK();
  arrow::ArrayVector columns;
  for (const int column : held_columns_) columns.push_back(batch.columns->column(column));
  FZ_ASSIGN(auto rows, TakeRows(arrow::RecordBatch::Make(rows_.schema(), batch.rows(), std::move(columns)),
                                which, pool_));
  std::vector<SharedRows::Id> held;
  FZ_TRY(rows_.add(std::move(rows), &held));
  for (size_t i = 0; i < which.size(); ++i) (*ids)[static_cast<size_t>(which[i])] = held[i];
  return Status::OK();
}

Status Pattern::walk(const Batch& batch, const std::vector<Timestamp>& times,
                     const std::vector<Marks>& marks) {
  FZ_TRY(keys_.encode(batch, &encoded_));
  std::vector<std::byte*> payloads;
  FZ_TRY(find(marks, &payloads));
  std::vector<SharedRows::Id> ids;
  FZ_TRY(hold(batch, marks, &ids));
  for (size_t i = 0; i < marks.size(); ++i) {
    std::byte* payload = payloads[i];
    if (payload == nullptr) continue;
    FZ_TRY(expire(times[i]));
    FZ_ASSIGN(const bool changed,
              matches_.take(payload, marks[i].is, marks[i].without, ids[i], times[i], &complete_));
    if (changed) {
      FZ_TRY(table_->touch(payload));
      touched_.push_back(payload);
    }
    if ((marks[i].is & 1) == 0) continue;
    if (OpenMatches::count(payload) == open_max_) {
      std::string key;
      for (const int column : std::span(held_columns_).first(static_cast<size_t>(key_count_))) {
        FZ_ASSIGN(const auto value, batch.columns->column(column)->GetScalar(static_cast<int64_t>(i)));
        key += (key.empty() ? "" : ", ") + batch.columns->schema()->field(column)->name() + " " +
               value->ToString();
      }
      return NamedError("DataError", "pattern: more than " + std::to_string(open_max_) + " open matches" +
                                         (key.empty() ? "" : " of " + key) + ", at " +
                                         IsoTimestamp(times[i], arrow::TimeUnit::MICRO, true) +
                                         "\nmake within shorter, let fewer rows be step \"" +
                                         steps_.front().name +
                                         "\", or end matches that begin anew: without(the same) behind it");
    }
    matches_.begin(payload, ids[i], times[i]);
  }
  for (size_t i = 0; i < marks.size(); ++i) {
    if (marks[i].is != 0) FZ_TRY(rows_.let_go(ids[i]));
  }
  return forget_empty();
}

Status Pattern::expire(Timestamp now) {
  return matches_.expire(now, &complete_, [this](std::byte* payload) {
    touched_.push_back(payload);
    return table_->touch(payload);
  });
}

Status Pattern::forget_empty() {
  std::sort(touched_.begin(), touched_.end());
  touched_.erase(std::unique(touched_.begin(), touched_.end()), touched_.end());
  for (std::byte* payload : touched_) {
    if (OpenMatches::count(payload) == 0) FZ_TRY(table_->erase(payload));
  }
  touched_.clear();
  return Status::OK();
}

Result<Progress> Pattern::advance(int, Timestamp to, Output& out) {
  FZ_TRY(put_in_order());
  due_ = std::max(due_, to);
  FZ_TRY(expire(due_));
  FZ_TRY(forget_empty());
  return emit(out);
}

Result<Progress> Pattern::emit(Output& out) {
  while (given_ < complete_.size()) {
    if (out.full()) return Progress::kMore;
    const size_t to = std::min(complete_.size(), given_ + static_cast<size_t>(limits::kBatchRows));
    FZ_ASSIGN(Batch batch, made(given_, to));
    for (; given_ < to; ++given_) FZ_TRY(matches_.forget(complete_[given_].match));
    FZ_TRY(out.push(std::move(batch)));
  }
  complete_.clear();
  given_ = 0;
  promise_ = due_;
  count_bytes();
  return Progress::kDone;
}

Result<Batch> Pattern::made(size_t from, size_t to) const {
  arrow::ArrayVector columns(static_cast<size_t>(key_count_));
  arrow::TimestampBuilder starts(TimeField("")->type(), pool_), ends(TimeField("")->type(), pool_);
  for (size_t i = from; i < to; ++i) {
    FZ_TRY(starts.Append(matches_.start(complete_[i].match)));
    FZ_TRY(ends.Append(complete_[i].end));
  }
  FZ_TRY(starts.Finish(&columns.emplace_back()));
  FZ_TRY(ends.Finish(&columns.emplace_back()));
  std::vector<SharedRows::Id> ids;
  for (size_t step = 0; step < steps_.size(); ++step) {
    ids.clear();
    for (size_t i = from; i < to; ++i) {
      ids.push_back(matches_.row(complete_[i].match, static_cast<int>(step)));
    }
    FZ_ASSIGN(const auto rows, rows_.gather(ids));
    if (step == 0) {
      for (int key = 0; key < key_count_; ++key) columns[static_cast<size_t>(key)] = rows->column(key);
    }
    for (const int column : steps_[step].columns) columns.push_back(rows->column(column));
  }
  return Batch{
      arrow::RecordBatch::Make(output_, static_cast<int64_t>(to - from), std::move(columns)), {}, nullptr};
}

}  // namespace frazil
