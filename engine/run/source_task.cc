#include "run/source_task.h"

#include <arrow/api.h>
#include <arrow/compute/api.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "connector/registry.h"
#include "format/registry.h"
#include "operator/time/event_time.h"

namespace frazil {
namespace {

constexpr size_t kExampleBytes = 500;  // of the description of a rejected row that errors show

Result<OnBadRow> ParseOnBadRow(const PlanNode& node) {
  const auto word = node.spec.value("on_bad_row", "fail");
  if (word == "fail") return OnBadRow::kFail;
  if (word == "drop") return OnBadRow::kDrop;
  if (word == "divert") return OnBadRow::kDivert;
  return Error(ErrorKind::kConfig,
               "source " + node.name + ": on_bad_row is fail, drop or divert, not " + word);
}

// The columns that a format decodes: all but those that the connector gives as metadata.
std::shared_ptr<arrow::Schema> DecodedSchema(const PlanNode& node, const arrow::Schema& schema) {
  std::vector<std::string> metadata;
  for (const auto& item : node.spec.at("options").value("metadata", nlohmann::json::array())) {
    metadata.push_back("_" + item.get<std::string>());
  }
  arrow::FieldVector fields;
  for (const auto& field : schema.fields()) {
    if (std::find(metadata.begin(), metadata.end(), field->name()) == metadata.end()) fields.push_back(field);
  }
  return arrow::schema(std::move(fields));
}

// Rows of the connector that gave rows: one that gave two counts once.
int64_t GoodRows(const Decoded& decoded) {
  if (decoded.kept.empty()) return decoded.rows->num_rows();
  int64_t count = 1;
  for (size_t i = 1; i < decoded.kept.size(); ++i) count += decoded.kept[i] != decoded.kept[i - 1] ? 1 : 0;
  return count;
}

}  // namespace

Result<std::unique_ptr<SourceTask>> SourceTask::Make(const PlanNode& node, arrow::MemoryPool* pool,
                                                     bool bounded, std::function<void()> waker,
                                                     SchemaBoard* schemas) {
  auto task = std::make_unique<SourceTask>();
  task->id_ = node.id;
  task->name_ = OriginName(node);
  task->pool_ = pool;
  task->bounded_ = bounded || node.spec.value("history", false);
  for (const auto& each : node.spec.value("after", nlohmann::json::array())) {
    task->after_.insert(each.get<std::string>());
  }
  task->waker_ = std::move(waker);
  task->pipeline_ = node.spec.value("pipeline", "");
  task->log_ = node.spec.value("log", "");
  FZ_ASSIGN(task->schema_, ParseSchema(node.spec.at("schema").get<std::string>()));
  FZ_ASSIGN(task->on_bad_row_, ParseOnBadRow(node));
  FZ_ASSIGN(task->source_, MakeSource(node.spec, task->schema_, pool));
  const auto format = node.spec.find("format");
  if (format != node.spec.end() && !format->is_null()) {
    FZ_ASSIGN(task->decoder_, MakeDecoder(*format, DecodedSchema(node, *task->schema_), pool,
                                          SchemaDesk{schemas, task->waker_}));
  }
  return task;
}

Status SourceTask::assign(const std::vector<Assignment>& partitions) {
  if (partitions.empty()) return Status::OK();
  assigned_ = true;
  ended_ = false;
  for (const Assignment& each : partitions) names_[each.ordinal] = each.name;
  return source_->assign(partitions, waker_);
}

Result<SourceTask::Step> SourceTask::poll(const Budget& budget) {
  if (!after_.empty()) return Step{Poll::Kind::kIdle, {}, {}};
  if (!assigned_) {
    ended_ = bounded_;
    return Step{bounded_ ? Poll::Kind::kEnd : Poll::Kind::kIdle, {}, {}};
  }
  if (held_.has_value()) {
    if (budget.holds(held_->origin.partition)) return Step{Poll::Kind::kIdle, {}, {}};
    return decode_held();
  }
  const bool may_wait = decoder_ != nullptr && decoder_->may_wait();
  if (may_wait) before_held_ = source_->positions();
  auto polled = source_->poll(budget);
  if (!polled.ok()) return Prefixed(polled.status(), "reading " + name_);
  if (polled->kind != Poll::Kind::kRows) {
    ended_ = polled->kind == Poll::Kind::kEnd;
    note_condition(source_->condition());
    return Step{polled->kind, {}, {}};
  }
  if (!may_wait || !polled->raw.has_value()) return decode(std::move(*polled));
  held_ = std::move(*polled);
  return decode_held();
}

// Decodes the rows that are held, if what they need is here.
Result<SourceTask::Step> SourceTask::decode_held() {
  auto ready = decoder_->ready(*held_->raw);
  if (!ready.ok()) return Prefixed(ready.status(), "reading " + name_);
  if (!*ready) {
    note_condition(decoder_->condition());
    return Step{Poll::Kind::kIdle, {}, {}};
  }
  note_condition({});
  Poll poll = std::move(*held_);
  held_.reset();
  return decode(std::move(poll));
}

// Rows that are held are not read yet, and nothing was read behind them; partitions may have come meanwhile.
std::vector<PartitionPosition> SourceTask::positions() const {
  auto now = source_->positions();
  if (!held_.has_value()) return now;
  for (PartitionPosition& each : now) {
    const auto before = std::find_if(before_held_.begin(), before_held_.end(),
                                     [&](const PartitionPosition& old) { return old.name == each.name; });
    if (before != before_held_.end()) each = *before;
  }
  return now;
}

void SourceTask::note_condition(std::string condition) {
  std::lock_guard lock(condition_mutex_);
  condition_ = std::move(condition);
}

void SourceTask::release(const std::set<std::string>& ended) {
  std::erase_if(after_, [&ended](const std::string& source) { return ended.contains(source); });
}

std::string SourceTask::condition() const {
  std::lock_guard lock(condition_mutex_);
  return condition_;
}

Result<SourceTask::Step> SourceTask::decode(Poll poll) {
  Step step{Poll::Kind::kRows, {}, {}};
  if (!poll.raw.has_value()) {
    FZ_CHECK(poll.columns != nullptr && poll.columns->num_columns() == schema_->num_fields());
    step.rows = Batch{poll.columns, poll.origin, nullptr};
    FZ_TRY(mark(poll, {}, &step.rows));
    read_ += step.rows.rows();
    good_ += step.rows.rows();
    RowCounts& counts = by_partition_[names_[poll.origin.partition]];
    counts.read += step.rows.rows();
    counts.good += step.rows.rows();
    bytes_ += BatchBytes(step.rows);
    return step;
  }
  FZ_CHECK(decoder_ != nullptr);
  const RawBatch& raw = *poll.raw;
  FZ_ASSIGN(Decoded decoded, decoder_->decode(raw));
  std::vector<RejectedRow> rejected = raw.rejected;
  rejected.insert(rejected.end(), decoded.rejected.begin(), decoded.rejected.end());
  FZ_CHECK(decoded.kept.empty() || static_cast<int64_t>(decoded.kept.size()) == decoded.rows->num_rows());
  const int64_t good = GoodRows(decoded);
  FZ_CHECK(good + static_cast<int64_t>(decoded.rejected.size()) + decoded.dropped == raw.rows());
  if (!rejected.empty() && on_bad_row_ == OnBadRow::kFail) return refuse(rejected.front());
  if (decoded.rows->num_rows() > 0) {
    FZ_ASSIGN(step.rows, assemble(decoded.rows, raw.metadata, decoded.kept));
    step.rows.origin = poll.origin;
    FZ_TRY(mark(poll, decoded.kept, &step.rows));
  }
  if (!rejected.empty() && on_bad_row_ == OnBadRow::kDivert) {
    // What the connector could not give comes first. A row of which the decoder names no column is no row.
    std::vector<const char*> kinds(raw.rejected.size(), "record");
    for (const RejectedRow& row : decoded.rejected) kinds.push_back(row.column.empty() ? "decode" : "value");
    FZ_ASSIGN(step.rejected, rejected_batch(rejected, kinds));
    step.rejected.origin = poll.origin;
  }
  if (!rejected.empty()) note_example(rejected.front());
  RowCounts& counts = by_partition_[names_[poll.origin.partition]];
  counts.read += raw.rows() + static_cast<int64_t>(raw.rejected.size());
  counts.good += good;
  counts.dropped += decoded.dropped;
  counts.rejected += static_cast<int64_t>(rejected.size());
  read_ += raw.rows() + static_cast<int64_t>(raw.rejected.size());
  good_ += good;
  dropped_ += decoded.dropped;
  rejected_ += static_cast<int64_t>(rejected.size());
  for (const uint32_t length : raw.length) bytes_ += length == RawBatch::kNullRow ? 0 : length;
  return step;
}

Result<Batch> SourceTask::assemble(const std::shared_ptr<arrow::RecordBatch>& decoded,
                                   std::shared_ptr<arrow::RecordBatch> metadata,
                                   const std::vector<int32_t>& kept) const {
  if (metadata != nullptr && !kept.empty()) {
    auto indices =
        std::make_shared<arrow::Int32Array>(static_cast<int64_t>(kept.size()), arrow::Buffer::Wrap(kept));
    FZ_ASSIGN(arrow::Datum taken, arrow::compute::Take(metadata, indices));
    metadata = taken.record_batch();
  }
  arrow::ArrayVector columns;
  for (const auto& field : schema_->fields()) {
    auto column = decoded->GetColumnByName(field->name());
    if (column == nullptr && metadata != nullptr) column = metadata->GetColumnByName(field->name());
    FZ_CHECK(column != nullptr);
    columns.push_back(std::move(column));
  }
  return Batch{arrow::RecordBatch::Make(schema_, decoded->num_rows(), std::move(columns)), {}, nullptr};
}

// Rows of columns stand at consecutive positions; rows of bytes say theirs.
Status SourceTask::mark(const Poll& poll, const std::vector<int32_t>& kept, Batch* rows) const {
  if (!notes_positions_) return Status::OK();
  arrow::Int64Builder positions(pool_);
  FZ_TRY(positions.Reserve(rows->rows()));
  for (int64_t i = 0; i < rows->rows(); ++i) {
    const auto row = static_cast<size_t>(kept.empty() ? i : kept[static_cast<size_t>(i)]);
    const int64_t at = poll.raw.has_value() ? poll.raw->position[row] : poll.origin.position_begin + i;
    positions.UnsafeAppend(poll.origin.position_base + at);
  }
  FZ_ASSIGN(auto array, positions.Finish());
  SetMark(rows, kPositionMark, std::move(array));
  if (!poll.raw.has_value() || poll.raw->metadata == nullptr) return Status::OK();
  auto stored = poll.raw->metadata->GetColumnByName("_timestamp");
  if (stored == nullptr) return Status::OK();
  if (!kept.empty()) {
    auto indices =
        std::make_shared<arrow::Int32Array>(static_cast<int64_t>(kept.size()), arrow::Buffer::Wrap(kept));
    FZ_ASSIGN(arrow::Datum taken, arrow::compute::Take(stored, indices));
    stored = taken.make_array();
  }
  FZ_ASSIGN(auto micros, MicrosOf(stored, pool_));
  SetMark(rows, kRecordTimeMark, std::move(micros));
  return Status::OK();
}

Result<Batch> SourceTask::reject(const std::vector<RejectedRow>& rows) {
  if (on_bad_row_ == OnBadRow::kFail) return refuse(rows.front());
  const auto count = static_cast<int64_t>(rows.size());
  good_ -= count;
  rejected_ += count;
  RowCounts& counts = by_partition_[rows.front().place];
  counts.good -= count;
  counts.rejected += count;
  note_example(rows.front());
  if (on_bad_row_ == OnBadRow::kDrop) return Batch{};
  return rejected_batch(rows, std::vector<const char*>(rows.size(), "event_time"));
}

std::string SourceTask::Described(const RejectedRow& row) {
  std::string text = row.place + "@" + std::to_string(row.position) + ": ";
  if (!row.column.empty()) text += "field \"" + row.column + "\": ";
  return text + row.reason;
}

void SourceTask::note_example(const RejectedRow& row) {
  if (!example_.empty()) return;
  // It goes through JSON, which is UTF-8; what was cut, or a name of a file, may be none.
  example_ = Described(row).substr(0, kExampleBytes);
  for (char& byte : example_) {
    if (static_cast<unsigned char>(byte) >= 0x80) byte = '?';
  }
}

Status SourceTask::refuse(const RejectedRow& row) const {
  return Error(ErrorKind::kDecode,
               "decoding " + Described(row) +
                   "\n  the row stays there: the same error comes back until it is fixed, or set aside\n" +
                   "  write " + name_ + "'s .rejected stream, or read with on_bad_row=\"drop\"");
}

// Rows of a `rejected` stream.
Result<Batch> SourceTask::rejected_batch(const std::vector<RejectedRow>& rows,
                                         const std::vector<const char*>& kinds) {
  FZ_CHECK(kinds.size() == rows.size());
  FZ_ASSIGN(auto builder,
            arrow::RecordBatchBuilder::Make(RejectedSchema(), pool_, static_cast<int64_t>(rows.size())));
  for (size_t i = 0; i < rows.size(); ++i) {
    const RejectedRow& row = rows[i];
    FZ_TRY(builder->GetFieldAs<arrow::StringBuilder>(0)->Append(name_));
    FZ_TRY(builder->GetFieldAs<arrow::StringBuilder>(1)->Append(row.place));
    FZ_TRY(builder->GetFieldAs<arrow::Int64Builder>(2)->Append(row.position));
    FZ_TRY(builder->GetFieldAs<arrow::StringBuilder>(3)->Append(row.reason));
    auto* column = builder->GetFieldAs<arrow::StringBuilder>(4);
    FZ_TRY(row.column.empty() ? column->AppendNull() : column->Append(row.column));
    FZ_TRY(builder->GetFieldAs<arrow::BinaryBuilder>(5)->Append(row.raw));
    FZ_TRY(builder->GetFieldAs<arrow::Int64Builder>(6)->Append(row.raw_bytes));
    FZ_TRY(builder->GetFieldAs<arrow::StringBuilder>(7)->Append(kinds[i]));
    FZ_TRY(builder->GetFieldAs<arrow::Int64Builder>(8)->Append(epoch_));
    FZ_TRY(builder->GetFieldAs<arrow::StringBuilder>(9)->Append(pipeline_));
    FZ_TRY(builder->GetFieldAs<arrow::StringBuilder>(10)->Append(log_));
  }
  FZ_ASSIGN(auto columns, builder->Flush());
  return Batch{std::move(columns), {}, nullptr};
}

}  // namespace frazil
