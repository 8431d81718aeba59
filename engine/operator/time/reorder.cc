#include "operator/time/reorder.h"

#include <arrow/api.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "base/calendar.h"
#include "base/check.h"
#include "base/limits.h"
#include "operator/time/order_mark.h"
#include "state/key.h"
#include "state/take_rows.h"

namespace frazil {
namespace {

constexpr int64_t kBucket = 1'000'000;  // us; says only what is kept together

std::shared_ptr<arrow::Field> OrderField(bool nullable) {
  return arrow::field("ord", arrow::fixed_size_binary(kOrderBytes), nullable);
}

// Columns of held rows: those of the input, then the order mark.
std::shared_ptr<arrow::Schema> HeldSchema(const arrow::Schema& input) {
  arrow::FieldVector fields = input.fields();
  fields.push_back(OrderField(false));
  return arrow::schema(std::move(fields));
}

std::shared_ptr<arrow::Schema> SavedSchema(const arrow::Schema& input) {
  arrow::FieldVector columns;
  for (const auto& field : input.fields()) columns.push_back(field->WithNullable(true));
  return arrow::schema({arrow::field("hash", arrow::uint64()), arrow::field("done", arrow::int64()),
                        OrderField(true), arrow::field("row", arrow::struct_(columns))});
}

Status Damaged(const std::string& text) {
  return Error(ErrorKind::kState,
               "restoring rows in order: " + text + "; the state is damaged or of another version");
}

}  // namespace

Result<std::unique_ptr<Reorder>> Reorder::Make(const nlohmann::json& spec,
                                               const std::shared_ptr<arrow::Schema>& input,
                                               const OperatorContext& context) {
  FZ_ASSIGN(const RowTime time, RowTime::Make(spec, *input));
  std::vector<int> keys;
  for (const auto& key : spec.at("keys")) {
    keys.push_back(input->GetFieldIndex(key.get<std::string>()));
    if (keys.back() < 0) return Error(ErrorKind::kConfig, "reading the plan: no key column " + key.dump());
  }
  return std::unique_ptr<Reorder>(new Reorder(time, std::move(keys), input, context));
}

Reorder::Reorder(RowTime time, std::vector<int> keys, const std::shared_ptr<arrow::Schema>& input,
                 const OperatorContext& context)
    : time_(time),
      keys_(std::move(keys)),
      input_(input),
      saved_schema_(SavedSchema(*input)),
      pool_(context.kept()),
      rows_(HeldSchema(*input), context.kept()) {}

Result<Progress> Reorder::process(Batch batch, Output&) {
  const auto order = MarkOf(batch, kOrderMark);
  FZ_CHECK(order != nullptr);
  arrow::ArrayVector columns = VisibleColumns(batch)->columns();
  columns.push_back(order);
  FZ_TRY(hold(arrow::RecordBatch::Make(rows_.schema(), batch.rows(), std::move(columns))));
  count_bytes();
  return Progress::kDone;
}

Status Reorder::hold(const std::shared_ptr<arrow::RecordBatch>& rows) {
  FZ_ASSIGN(const std::vector<Timestamp> times, time_.of(*rows, pool_));
  const Timestamp least = *std::min_element(times.begin(), times.end());
  // The gate lets no row through that is behind what has been given.
  if (least < done_) {
    return Error(ErrorKind::kInternal, "a row for a time that was given already: at " +
                                           IsoTimestamp(least, arrow::TimeUnit::MICRO, true) +
                                           ", given up to " +
                                           IsoTimestamp(done_, arrow::TimeUnit::MICRO, true) +
                                           "; if out_of_order was made larger, begin with a new checkpoint");
  }
  FZ_ASSIGN(const uint32_t block, rows_.add(rows));
  std::vector<Waiting>* bucket = nullptr;
  int64_t number = 0;
  for (size_t i = 0; i < times.size(); ++i) {
    const int64_t second = FloorDivide(times[i], kBucket);
    if (bucket == nullptr || second != number) bucket = &waiting_[second];
    number = second;
    bucket->push_back({times[i], {block, static_cast<uint32_t>(i)}});
  }
  count_ += static_cast<int64_t>(times.size());
  return Status::OK();
}

Result<Progress> Reorder::advance(int, Timestamp to, Output& out) {
  due_ = std::max(due_, to);
  return emit(out);
}

// Takes the rows before due_ out of those that wait, and sorts them.
void Reorder::collect_due() {
  due_rows_.clear();
  given_ = 0;
  while (!waiting_.empty()) {
    const auto first = waiting_.begin();
    std::vector<Waiting>& bucket = first->second;
    const auto later = std::partition(bucket.begin(), bucket.end(), [this](const Waiting& each) {
      return each.time < due_ || due_ == kWatermarkMax;
    });
    const bool all = later == bucket.end();
    due_rows_.insert(due_rows_.end(), bucket.begin(), later);
    bucket.erase(bucket.begin(), later);
    if (!all) break;
    waiting_.erase(first);
    if (due_rows_.size() >= static_cast<size_t>(limits::kBatchRows)) break;
  }
  count_ -= static_cast<int64_t>(due_rows_.size());
  const auto order = [this](const Waiting& each) {
    const arrow::RecordBatch& block = rows_.block(each.row.block);
    const auto& marks = static_cast<const arrow::FixedSizeBinaryArray&>(*block.column(input_->num_fields()));
    return marks.GetValue(each.row.row);
  };
  std::sort(due_rows_.begin(), due_rows_.end(), [&](const Waiting& a, const Waiting& b) {
    if (a.time != b.time) return a.time < b.time;
    return std::memcmp(order(a), order(b), kOrderBytes) < 0;
  });
}

Result<Progress> Reorder::emit(Output& out) {
  while (true) {
    if (given_ == due_rows_.size()) {
      collect_due();
      if (due_rows_.empty()) break;
    }
    if (out.full()) return Progress::kMore;
    const size_t to = std::min(due_rows_.size(), given_ + static_cast<size_t>(limits::kBatchRows));
    std::vector<HeldRow> rows;
    for (size_t i = given_; i < to; ++i) rows.push_back(due_rows_[i].row);
    FZ_ASSIGN(const auto gathered, rows_.gather(rows));
    for (const HeldRow& row : rows) FZ_TRY(rows_.release(row));
    given_ = to;
    arrow::ArrayVector columns = gathered->columns();
    auto order = std::move(columns.back());
    columns.pop_back();
    Batch batch{arrow::RecordBatch::Make(input_, gathered->num_rows(), std::move(columns)), {}, nullptr};
    SetMark(&batch, kOrderMark, std::move(order));
    FZ_TRY(out.push(std::move(batch)));
  }
  done_ = std::max(done_, due_);
  promise_ = done_;
  count_bytes();
  return Progress::kDone;
}

void Reorder::count_bytes() {
  bytes_.store(rows_.bytes() + count_ * static_cast<int64_t>(sizeof(Waiting)), std::memory_order_relaxed);
}

// Called at a barrier: nothing is being given.
Result<StateRows> Reorder::state_changes(bool full) {
  StateRows out;
  std::vector<HeldRow> rows;
  for (const auto& [second, bucket] : waiting_) {
    for (const Waiting& each : bucket) {
      if (full || rows_.is_new(each.row)) rows.push_back(each.row);
      if (static_cast<int64_t>(rows.size()) < limits::kBatchRows) continue;
      FZ_ASSIGN(auto batch, saved(rows));
      out.push_back(std::move(batch));
      rows.clear();
    }
  }
  if (!rows.empty()) {
    FZ_ASSIGN(auto batch, saved(rows));
    out.push_back(std::move(batch));
  }
  FZ_ASSIGN(auto done, note());
  out.push_back(std::move(done));
  rows_.settle();
  FZ_TRY(compact());
  return out;
}

Status Reorder::compact() {
  if (!rows_.sparse()) return Status::OK();
  std::vector<HeldRow*> rows;
  for (auto& [second, bucket] : waiting_) {
    for (Waiting& each : bucket) rows.push_back(&each.row);
  }
  FZ_TRY(rows_.compact(rows));
  count_bytes();
  return Status::OK();
}

Result<std::shared_ptr<arrow::RecordBatch>> Reorder::saved(const std::vector<HeldRow>& rows) const {
  FZ_ASSIGN(const auto gathered, rows_.gather(rows));
  arrow::ArrayVector keys, columns = gathered->columns();
  for (const int key : keys_) keys.push_back(columns[static_cast<size_t>(key)]);
  FZ_ASSIGN(const auto hashed, HashKeys(keys, gathered->num_rows()));
  arrow::UInt64Builder hashes(pool_);
  FZ_TRY(hashes.AppendValues(hashed));
  FZ_ASSIGN(auto hash, hashes.Finish());
  FZ_ASSIGN(auto done, arrow::MakeArrayOfNull(arrow::int64(), gathered->num_rows(), pool_));
  auto order = std::move(columns.back());
  columns.pop_back();
  const auto row = std::make_shared<arrow::StructArray>(saved_schema_->field(3)->type(), gathered->num_rows(),
                                                        std::move(columns));
  return arrow::RecordBatch::Make(saved_schema_, gathered->num_rows(),
                                  {std::move(hash), std::move(done), std::move(order), row});
}

Result<std::shared_ptr<arrow::RecordBatch>> Reorder::note() const {
  FZ_ASSIGN(auto done, arrow::MakeArrayFromScalar(arrow::Int64Scalar(done_), 1, pool_));
  arrow::ArrayVector columns = {nullptr, std::move(done), nullptr, nullptr};
  for (const size_t i : {0, 2, 3}) {
    FZ_ASSIGN(columns[i],
              arrow::MakeArrayOfNull(saved_schema_->field(static_cast<int>(i))->type(), 1, pool_));
  }
  return arrow::RecordBatch::Make(saved_schema_, 1, std::move(columns));
}

Status Reorder::restore(const std::shared_ptr<arrow::RecordBatch>& rows) {
  if (!rows->schema()->Equals(*saved_schema_, /*check_metadata=*/false)) {
    return Error(ErrorKind::kState,
                 "restoring rows in order: the state has other columns: " + rows->schema()->ToString() +
                     ", expected " + saved_schema_->ToString());
  }
  const auto& done = static_cast<const arrow::Int64Array&>(*rows->column(1));
  const auto& row = static_cast<const arrow::StructArray&>(*rows->column(3));
  std::vector<int32_t> held;
  for (int64_t i = 0; i < rows->num_rows(); ++i) {
    if (done.IsNull(i) == row.IsNull(i)) return Damaged("a row that is neither held nor says what is done");
    if (row.IsValid(i)) held.push_back(static_cast<int32_t>(i));
    if (done.IsValid(i)) done_ = std::max(done_, done.Value(i));
  }
  due_ = std::max(due_, done_);
  // What was given already is forgotten, be it of earlier files or of this one.
  for (collect_due(); !due_rows_.empty(); collect_due()) {
    for (const Waiting& each : due_rows_) FZ_TRY(rows_.release(each.row));
  }
  FZ_ASSIGN(arrow::ArrayVector columns, row.Flatten(pool_));
  columns.push_back(rows->column(2));
  FZ_TRY(hold_restored(arrow::RecordBatch::Make(rows_.schema(), rows->num_rows(), std::move(columns)), held));
  rows_.settle();
  count_bytes();
  return Status::OK();
}

Status Reorder::hold_restored(std::shared_ptr<arrow::RecordBatch> rows, std::vector<int32_t> which) {
  FZ_ASSIGN(rows, TakeRows(rows, which, pool_));
  for (int i = 0; i < rows->num_columns(); ++i) {
    const bool required = i == time_.column || !rows_.schema()->field(i)->nullable();
    if (required && rows->column(i)->null_count() > 0) {
      return Damaged("a row without " + rows_.schema()->field(i)->name());
    }
  }
  FZ_ASSIGN(const std::vector<Timestamp> times, time_.of(*rows, pool_));
  which.clear();
  for (size_t i = 0; i < times.size(); ++i) {
    if (times[i] >= done_) which.push_back(static_cast<int32_t>(i));
  }
  if (which.empty()) return Status::OK();
  FZ_ASSIGN(rows, TakeRows(rows, which, pool_));
  return hold(rows);
}

}  // namespace frazil
