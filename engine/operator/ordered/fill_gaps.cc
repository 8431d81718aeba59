#include "operator/ordered/fill_gaps.h"

#include <arrow/api.h>

#include <algorithm>
#include <new>
#include <numeric>
#include <set>
#include <string>

#include "base/limits.h"
#include "operator/ordered/row_order.h"

namespace frazil {
namespace {

constexpr const char* kWhat = "fill_gaps";

Status Misread(const std::string& text) {
  return Error(ErrorKind::kConfig, "reading the plan: fill_gaps " + text);
}

// Names of the columns that made up rows have of the row before: keys, then those of "previous".
Result<std::vector<int>> HeldColumns(const nlohmann::json& spec, const arrow::Schema& input) {
  std::vector<int> columns;
  const auto add = [&](const nlohmann::json& name) -> Status {
    columns.push_back(input.GetFieldIndex(name.get<std::string>()));
    return columns.back() < 0 ? Misread("has no column " + name.dump()) : Status::OK();
  };
  for (const auto& key : spec.at("keys")) FZ_TRY(add(key));
  for (const auto& fill : spec.at("fills")) {
    if (fill.at("how") == "previous") FZ_TRY(add(fill.at("column")));
  }
  if (columns.empty()) FZ_TRY(add("window_end"));  // rows without columns cannot be held
  return columns;
}

Result<std::shared_ptr<arrow::Scalar>> ConstantOf(const std::string& how, const arrow::Field& field) {
  if (how == "null") return arrow::MakeNullScalar(field.type());
  if (how != "zero") return Misread("fills by \"" + how + "\"");
  if (field.type()->id() == arrow::Type::DECIMAL128) {
    return std::make_shared<arrow::Decimal128Scalar>(arrow::Decimal128(0), field.type());
  }
  FZ_ASSIGN(auto zero, arrow::MakeScalar(field.type(), 0));
  return zero;
}

}  // namespace

Result<std::shared_ptr<arrow::Schema>> FilledSchema(const nlohmann::json& spec, const arrow::Schema& input) {
  std::set<std::string> nullable;
  for (const auto& fill : spec.at("fills")) {
    if (fill.at("how") == "null") nullable.insert(fill.at("column").get<std::string>());
  }
  arrow::FieldVector fields;
  for (const auto& field : input.fields()) {
    fields.push_back(nullable.contains(field->name()) ? field->WithNullable(true) : field);
  }
  return arrow::schema(std::move(fields));
}

Result<std::unique_ptr<FillGaps>> FillGaps::Make(const nlohmann::json& spec, const arrow::Schema& input,
                                                 const OperatorContext& context) {
  FZ_ASSIGN(KeyColumns keys, KeyColumns::Make(spec, input));
  FZ_ASSIGN(const RowTime time, RowTime::Make(spec, input));
  FZ_ASSIGN(const WindowSpec window, ParseWindow(spec.at("window")));
  FZ_ASSIGN(const std::vector<int> columns, HeldColumns(spec, input));
  const auto most = spec.at("most").get<int64_t>();
  if (most < 1 || window.kind == WindowSpec::Kind::kSession) return Misread("of such windows");
  arrow::FieldVector held;
  for (const int column : columns) held.push_back(input.field(column));
  auto made = std::unique_ptr<FillGaps>(
      new FillGaps(std::move(keys), time, window, arrow::schema(std::move(held)), context));
  made->most_ = most;
  made->held_columns_ = columns;
  FZ_ASSIGN(made->output_, FilledSchema(spec, input));
  made->from_.resize(static_cast<size_t>(input.num_fields()));
  for (const auto& fill : spec.at("fills")) {
    const int column = input.GetFieldIndex(fill.at("column").get<std::string>());
    if (column < 0) return Misread("has no column " + fill.at("column").dump());
    const auto how = fill.at("how").get<std::string>();
    if (how == "previous") continue;
    FZ_ASSIGN(made->from_[static_cast<size_t>(column)].constant, ConstantOf(how, *input.field(column)));
  }
  for (size_t i = 0; i < columns.size(); ++i) {
    made->from_[static_cast<size_t>(columns[i])] = {From::Kind::kHeld, static_cast<int>(i), nullptr};
  }
  // Behind the held ones, of which window_end may be one.
  const int start = input.GetFieldIndex("window_start"), end = input.GetFieldIndex("window_end");
  if (start < 0 || end < 0) return Misread("of rows without window_start and window_end");
  made->from_[static_cast<size_t>(start)].kind = From::Kind::kStart;
  made->from_[static_cast<size_t>(end)].kind = From::Kind::kEnd;
  for (const From& from : made->from_) {
    if (from.kind == From::Kind::kConstant && from.constant == nullptr) return Misread("leaves a column out");
  }
  FZ_ASSIGN(made->table_,
            StateTable::Make({.payload_bytes = sizeof(Key), .track_changes = true, .tombstones = true},
                             context.pool));
  return made;
}

FillGaps::FillGaps(KeyColumns keys, RowTime time, const WindowSpec& window,
                   std::shared_ptr<arrow::Schema> held, const OperatorContext& context)
    : keys_(std::move(keys)),
      time_(time),
      panes_(window),
      pool_(context.pool),
      rows_(std::move(held), context.pool),
      encoded_(context.pool) {
  arrow::FieldVector row;
  for (const auto& field : rows_.schema()->fields()) row.push_back(field->WithNullable(true));
  saved_schema_ = KeyedSchema({arrow::field("end", arrow::int64()), arrow::field("filled", arrow::int64()),
                               arrow::field("row", arrow::struct_(std::move(row)))});
}

void FillGaps::count_bytes() {
  int64_t bytes = table_->bytes() + rows_.bytes();
  for (const auto& [end, keys] : waiting_)
    bytes += static_cast<int64_t>(keys.capacity() * sizeof(std::byte*));
  bytes_.store(bytes, std::memory_order_relaxed);
}

// The time of a row is a microsecond before the end of its window.
bool FillGaps::due(Timestamp end, Timestamp now) const { return now == kWatermarkMax || end - 1 < now; }

void FillGaps::wait(std::byte* payload) {
  Key* key = KeyOf(payload);
  key->next = panes_.first_end(panes_.pane(key->end));
  waiting_[key->next].push_back(payload);
}

Result<Progress> FillGaps::process(Batch batch, Output& out) {
  if (batch.rows() == 0) return Progress::kDone;
  FZ_TRY(put_in_order());
  FZ_ASSIGN(current_.times, time_.of(*batch.columns, pool_));
  FZ_TRY(CheckInOrder(current_.times, promise_, kWhat));
  FZ_TRY(keys_.encode(batch, &encoded_));
  current_.rows = VisibleColumns(batch);
  current_.at = 0;
  arrow::ArrayVector columns;
  for (const int column : held_columns_) columns.push_back(current_.rows->column(column));
  FZ_ASSIGN(current_.block,
            rows_.add(arrow::RecordBatch::Make(rows_.schema(), batch.rows(), std::move(columns))));
  return run(out);
}

Result<Progress> FillGaps::advance(int, Timestamp to, Output& out) {
  FZ_TRY(put_in_order());
  due_ = std::max(due_, to);
  return run(out);
}

// Gives what is to be given in the order of time: made up rows, then those of the batch that are next.
Result<Progress> FillGaps::run(Output& out) {
  while (true) {
    const Timestamp now = current_.rows == nullptr ? due_ : current_.times[static_cast<size_t>(current_.at)];
    while (!waiting_.empty() && due(waiting_.begin()->first, now)) {
      if (out.full()) return Progress::kMore;
      FZ_TRY(fill(out));
    }
    if (current_.rows == nullptr) break;
    if (out.full()) return Progress::kMore;
    FZ_TRY(pass_on(out));
  }
  promise_ = due_;
  count_bytes();
  return Progress::kDone;
}

// The rows of the batch that have the same time.
Status FillGaps::pass_on(Output& out) {
  const auto begin = current_.times.begin() + current_.at;
  const Timestamp time = *begin;
  const auto end = std::upper_bound(begin, current_.times.end(), time);
  std::vector<int32_t> which(static_cast<size_t>(end - begin));
  std::iota(which.begin(), which.end(), static_cast<int32_t>(current_.at));
  std::vector<std::byte*> payloads(which.size());
  std::vector<uint8_t> inserted(which.size());
  FZ_TRY(table_->probe(encoded_, which, payloads, inserted));
  for (size_t i = 0; i < which.size(); ++i) {
    FZ_TRY(note(payloads[i], inserted[i] != 0, time + 1, {current_.block, static_cast<uint32_t>(which[i])}));
  }
  const auto rows = current_.rows->Slice(current_.at, static_cast<int64_t>(which.size()));
  current_.at += static_cast<int64_t>(which.size());
  if (current_.at == current_.rows->num_rows()) current_.rows.reset();
  return out.push({arrow::RecordBatch::Make(output_, rows->num_rows(), rows->columns()), {}, nullptr});
}

// A key had a row in the window that ends then.
Status FillGaps::note(std::byte* payload, bool inserted, Timestamp end, HeldRow row) {
  Key* key = KeyOf(payload);
  const bool again = !inserted && key->end == end;
  if (!inserted) FZ_TRY(rows_.release(key->row));
  if (inserted) new (key) Key{};
  key->row = row;
  key->filled = 0;
  key->end = end;
  if (!again) wait(payload);
  return Status::OK();
}

struct FillGaps::Made {
  std::vector<HeldRow> rows;
  Timestamp start = 0, end = 0;
};

// Up to a batch of rows for the keys that had none in the first of the windows that wait.
Status FillGaps::fill(Output& out) {
  const auto first = waiting_.begin();
  std::vector<std::byte*>& keys = first->second;
  Made made{{}, panes_.start(first->first), first->first};
  std::vector<std::byte*> filled;
  while (!keys.empty() && static_cast<int64_t>(filled.size()) < limits::kBatchRows) {
    std::byte* payload = keys.back();
    keys.pop_back();
    if (KeyOf(payload)->next != made.end) continue;
    filled.push_back(payload);
    made.rows.push_back(KeyOf(payload)->row);
  }
  const bool all = keys.empty();
  if (!filled.empty()) {
    FZ_ASSIGN(const auto held, rows_.gather(made.rows));
    arrow::ArrayVector columns;
    for (size_t i = 0; i < from_.size(); ++i) {
      const From& from = from_[i];
      const auto& type = output_->field(static_cast<int>(i))->type();
      if (from.kind == From::Kind::kHeld) {
        columns.push_back(held->column(from.held));
        continue;
      }
      const Timestamp bound = from.kind == From::Kind::kStart ? made.start : made.end;
      const auto value = from.kind == From::Kind::kConstant
                             ? from.constant
                             : std::make_shared<arrow::TimestampScalar>(bound, type);
      FZ_ASSIGN(auto column, arrow::MakeArrayFromScalar(*value, held->num_rows(), pool_));
      columns.push_back(std::move(column));
    }
    for (std::byte* payload : filled) {
      Key* key = KeyOf(payload);
      if (++key->filled == most_) {
        FZ_TRY(rows_.release(key->row));
        FZ_TRY(table_->erase(payload));
        continue;
      }
      key->end = made.end;
      wait(payload);
      FZ_TRY(table_->mark_changed(payload));
    }
    FZ_TRY(out.push({arrow::RecordBatch::Make(output_, held->num_rows(), std::move(columns)), {}, nullptr}));
  }
  if (all) waiting_.erase(first);
  return Status::OK();
}

}  // namespace frazil
