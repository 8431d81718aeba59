#include "operator/ordered/deduplicate_last.h"

#include <arrow/api.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <span>
#include <string>

#include "base/check.h"
#include "base/limits.h"
#include "operator/ordered/row_order.h"
#include "operator/time/window.h"

namespace frazil {
namespace {

constexpr const char* kWhat = "deduplicate";
constexpr Timestamp kNone = kWatermarkMax;  // beginning of a group without rows

arrow::FieldVector SavedFields(const arrow::Schema& input) {
  arrow::FieldVector fields = {arrow::field("begin", arrow::int64()), arrow::field("done", arrow::int64())};
  for (auto& field : SavedRowFields(input)) fields.push_back(std::move(field));
  return fields;
}

}  // namespace

Result<std::unique_ptr<DeduplicateLast>> DeduplicateLast::Make(const nlohmann::json& spec,
                                                               const std::shared_ptr<arrow::Schema>& input,
                                                               const OperatorContext& context) {
  FZ_ASSIGN(KeyColumns keys, KeyColumns::Make(spec, *input));
  FZ_ASSIGN(const RowTime time, RowTime::Make(spec, *input));
  const auto within = spec.at("within_us").get<int64_t>();
  if (within <= 0) return Error(ErrorKind::kConfig, "reading the plan: within_us " + std::to_string(within));
  FZ_ASSIGN(auto table,
            StateTable::Make({.payload_bytes = sizeof(Group), .track_changes = true}, context.kept()));
  return std::unique_ptr<DeduplicateLast>(
      new DeduplicateLast(std::move(keys), time, within, std::move(table), input, context));
}

DeduplicateLast::DeduplicateLast(KeyColumns keys, RowTime time, int64_t within,
                                 std::unique_ptr<StateTable> table,
                                 const std::shared_ptr<arrow::Schema>& input, const OperatorContext& context)
    : keys_(std::move(keys)),
      time_(time),
      within_(within),
      pool_(context.kept()),
      input_(input),
      saved_schema_(KeyedSchema(SavedFields(*input))),
      rows_(HeldSchema(*input), context.kept()),
      table_(std::move(table)),
      encoded_(context.pool) {}

void DeduplicateLast::count_bytes() {
  bytes_.store(table_->bytes() + rows_.bytes() + static_cast<int64_t>(opened_.size() * sizeof(Opened)),
               std::memory_order_relaxed);
}

bool DeduplicateLast::due(Timestamp begin, Timestamp now) const { return begin <= Earlier(now, within_); }

Result<Progress> DeduplicateLast::process(Batch batch, Output& out) {
  if (batch.rows() == 0) return Progress::kDone;
  FZ_TRY(put_in_order());
  FZ_ASSIGN(const std::vector<Timestamp> times, time_.of(*batch.columns, pool_));
  FZ_TRY(CheckInOrder(times, done_, kWhat));
  FZ_TRY(keys_.encode(batch, &encoded_));
  std::vector<std::byte*> payloads(times.size());
  std::vector<uint8_t> inserted(times.size());
  FZ_TRY(table_->probe(encoded_, payloads, inserted));
  FZ_ASSIGN(auto held, ToHeld(batch, rows_.schema()));
  FZ_ASSIGN(const uint32_t block, rows_.add(std::move(held)));
  for (size_t i = 0; i < times.size(); ++i) {
    auto* group = reinterpret_cast<Group*>(payloads[i]);
    const HeldRow row{block, static_cast<uint32_t>(i)};
    if (inserted[i] != 0) new (group) Group{kNone, {}};
    if (group->begin != kNone && !due(group->begin, times[i])) {
      FZ_TRY(rows_.release(group->last));
      group->last = row;
      continue;
    }
    if (group->begin != kNone) closing_.push_back(group->last);
    *group = Group{times[i], row};
    opened_.push_back({times[i], payloads[i]});
  }
  return emit(out);
}

Result<Progress> DeduplicateLast::advance(int, Timestamp to, Output& out) {
  FZ_TRY(put_in_order());
  due_ = std::max(due_, to);
  std::vector<std::byte*> gone;
  while (!opened_.empty() && due(opened_.front().begin, due_)) {
    const Opened opened = opened_.front();
    opened_.pop_front();
    const auto* group = reinterpret_cast<const Group*>(opened.payload);
    // If it is another group by now, that one is further behind and the row of the table is still there.
    if (group->begin != opened.begin) continue;
    closing_.push_back(group->last);
    gone.push_back(opened.payload);
  }
  if (table_->frozen()) FZ_TRY(table_->touch(gone));
  for (std::byte* payload : gone) FZ_TRY(table_->erase(payload));
  return emit(out);
}

Result<Progress> DeduplicateLast::emit(Output& out) {
  while (given_ < closing_.size()) {
    if (out.full()) return Progress::kMore;
    const size_t to = std::min(closing_.size(), given_ + static_cast<size_t>(limits::kBatchRows));
    const std::span rows(closing_.data() + given_, to - given_);
    FZ_ASSIGN(const auto gathered, rows_.gather(rows));
    for (const HeldRow& row : rows) FZ_TRY(rows_.release(row));
    given_ = to;
    FZ_TRY(out.push(FromHeld(gathered, input_)));
  }
  closing_.clear();
  given_ = 0;
  done_ = due_;
  promise_ = Earlier(done_, within_);
  count_bytes();
  return Progress::kDone;
}

Status DeduplicateLast::freeze(bool full) {
  FZ_CHECK(closing_.empty());
  FZ_TRY(Freeze(table_.get(), full, [this](auto rows) { return save_rows(PayloadsOf(rows)); }));
  if (done_ != noted_ || (full && done_ != kWatermarkMin)) {
    FZ_ASSIGN(auto note, SavedNote(saved_schema_, "done", done_, pool_));
    saved_.push_back(std::move(note));
    noted_ = done_;
  }
  return Status::OK();
}

Result<bool> DeduplicateLast::save(int64_t rows_max, StateRows* rows) {
  FZ_ASSIGN(const bool done, SaveSlice(table_.get(), rows_max, &saved_, rows));
  // Not while rows are to be given: their places would be others.
  if (done && closing_.empty()) {
    rows_.settle();
    FZ_TRY(compact());
  }
  return done;
}

Status DeduplicateLast::save_rows(const std::vector<std::byte*>& payloads) {
  const auto count = static_cast<int64_t>(payloads.size());
  FZ_ASSIGN(arrow::ArrayVector columns, SavedKeys(*table_, payloads, pool_));
  arrow::Int64Builder begins(pool_);
  std::vector<HeldRow> last;
  for (const std::byte* payload : payloads) {
    const auto* group = reinterpret_cast<const Group*>(payload);
    FZ_TRY(begins.Append(group->begin));
    last.push_back(group->last);
  }
  FZ_TRY(begins.Finish(&columns.emplace_back()));
  FZ_ASSIGN(auto done, arrow::MakeArrayOfNull(arrow::int64(), count, pool_));
  columns.push_back(std::move(done));
  FZ_ASSIGN(const auto held, rows_.gather(last));
  for (auto& column : SavedRows(held, SavedRowFields(*input_))) columns.push_back(std::move(column));
  saved_.push_back(arrow::RecordBatch::Make(saved_schema_, count, std::move(columns)));
  return Status::OK();
}

Status DeduplicateLast::compact() {
  if (!rows_.sparse()) return Status::OK();
  std::vector<HeldRow*> rows;
  FZ_TRY(EachSlice(*table_, /*full=*/true, [&](const std::vector<std::byte*>& payloads) -> Status {
    for (std::byte* payload : payloads) rows.push_back(&reinterpret_cast<Group*>(payload)->last);
    return Status::OK();
  }));
  FZ_TRY(rows_.compact(rows));
  count_bytes();
  return Status::OK();
}

Status DeduplicateLast::restore(const std::shared_ptr<arrow::RecordBatch>& rows) {
  FZ_TRY(CheckRestored(*rows, *saved_schema_, kWhat));
  const auto& keys = static_cast<const arrow::BinaryArray&>(*rows->column(1));
  const auto& begins = static_cast<const arrow::Int64Array&>(*rows->column(2));
  const auto& done = static_cast<const arrow::Int64Array&>(*rows->column(3));
  std::vector<std::string_view> names;
  std::vector<int32_t> which;
  for (int64_t i = 0; i < rows->num_rows(); ++i) {
    if (done.IsValid(i)) {
      due_ = done_ = noted_ = std::max(done_, done.Value(i));
      promise_ = Earlier(done_, within_);
      continue;
    }
    if (keys.IsNull(i) || begins.IsNull(i)) return RestoreError(kWhat, "a group without a key or beginning");
    names.push_back(keys.GetView(i));
    which.push_back(static_cast<int32_t>(i));
  }
  in_order_ = false;
  if (which.empty()) return Status::OK();
  FZ_ASSIGN(auto held, RestoredRows(*rows, rows_.schema(), which, kWhat, pool_));
  FZ_TRY(encoded_.assign(names));
  std::vector<std::byte*> payloads(names.size());
  std::vector<uint8_t> inserted(names.size());
  FZ_TRY(table_->probe(encoded_, payloads, inserted));
  FZ_ASSIGN(const uint32_t block, rows_.add(std::move(held)));
  for (size_t i = 0; i < payloads.size(); ++i) {
    auto* group = reinterpret_cast<Group*>(payloads[i]);
    if (inserted[i] == 0) FZ_TRY(rows_.release(group->last));
    new (group) Group{begins.Value(which[i]), {block, static_cast<uint32_t>(i)}};
  }
  table_->clear_changes();
  rows_.settle();
  count_bytes();
  return Status::OK();
}

// After state was restored: forgets the groups that have been given, and lists the others.
Status DeduplicateLast::put_in_order() {
  if (in_order_) return Status::OK();
  in_order_ = true;
  opened_.clear();
  std::vector<Opened> open;
  FZ_TRY(EachSlice(*table_, /*full=*/true, [&](const std::vector<std::byte*>& payloads) -> Status {
    for (std::byte* payload : payloads) {
      const auto* group = reinterpret_cast<const Group*>(payload);
      if (due(group->begin, done_)) {
        FZ_TRY(rows_.release(group->last));
        FZ_TRY(table_->erase(payload));
      } else {
        open.push_back({group->begin, payload});
      }
    }
    return Status::OK();
  }));
  std::sort(open.begin(), open.end(), [](const Opened& a, const Opened& b) { return a.begin < b.begin; });
  opened_.assign(open.begin(), open.end());
  return Status::OK();
}

}  // namespace frazil
