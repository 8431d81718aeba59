#include "operator/ordered/top_n.h"

#include <arrow/api.h>

#include <algorithm>
#include <numeric>

#include "base/limits.h"
#include "operator/ordered/ordered_rows.h"
#include "operator/ordered/row_order.h"
#include "operator/ordered/sort_key.h"
#include "operator/time/order_mark.h"
#include "state/take_rows.h"

namespace frazil {
namespace {

constexpr const char* kWhat = "top_n";

Result<std::shared_ptr<arrow::RecordBatch>> OneOf(const arrow::RecordBatchVector& batches,
                                                  arrow::MemoryPool* pool) {
  if (batches.size() == 1) return batches.front();
  return arrow::ConcatenateRecordBatches(batches, pool);
}

}  // namespace

Result<std::shared_ptr<arrow::Schema>> TopNSchema(const nlohmann::json& spec, const arrow::Schema& input) {
  arrow::FieldVector fields = input.fields();
  if (spec.contains("rank") && !spec.at("rank").is_null()) {
    fields.push_back(arrow::field(spec.at("rank").get<std::string>(), arrow::int64(), false));
  }
  return arrow::schema(std::move(fields));
}

Result<std::unique_ptr<TopN>> TopN::Make(const nlohmann::json& spec,
                                         const std::shared_ptr<arrow::Schema>& input,
                                         const OperatorContext& context) {
  FZ_ASSIGN(KeyColumns keys, KeyColumns::Make(spec, *input));
  FZ_ASSIGN(const RowTime time, RowTime::Make(spec, *input));
  auto made = std::unique_ptr<TopN>(new TopN(std::move(keys), time, input, context));
  made->n_ = spec.at("n").get<int64_t>();
  if (made->n_ < 1)
    return Error(ErrorKind::kConfig, "reading the plan: top_n of " + std::to_string(made->n_));
  for (const auto& by : spec.at("by")) {
    const int column = input->GetFieldIndex(by.at("column").get<std::string>());
    if (column < 0 || !Sortable(*input->field(column)->type())) {
      return Error(ErrorKind::kConfig, "reading the plan: top_n by " + by.dump());
    }
    made->by_.push_back({column, by.at("descending").get<bool>()});
  }
  FZ_ASSIGN(made->output_, TopNSchema(spec, *input));
  return made;
}

TopN::TopN(KeyColumns keys, RowTime time, const std::shared_ptr<arrow::Schema>& input,
           const OperatorContext& context)
    : keys_(std::move(keys)),
      time_(time),
      pool_(context.kept()),
      input_(input),
      held_schema_(HeldSchema(*input)) {
  arrow::FieldVector fields = {arrow::field("hash", arrow::uint64()), arrow::field("done", arrow::int64())};
  for (auto& field : SavedRowFields(*input)) fields.push_back(std::move(field));
  saved_schema_ = arrow::schema(std::move(fields));
}

void TopN::count_bytes() {
  int64_t bytes = 0;
  for (const auto& [time, held] : held_) bytes += held.bytes;
  bytes_.store(bytes, std::memory_order_relaxed);
}

Result<Progress> TopN::process(Batch batch, Output&) {
  if (batch.rows() == 0) return Progress::kDone;
  FZ_ASSIGN(const auto rows, ToHeld(batch, held_schema_));
  FZ_TRY(hold(rows, /*fresh=*/true));
  count_bytes();
  return Progress::kDone;
}

Status TopN::hold(const std::shared_ptr<arrow::RecordBatch>& rows, bool fresh) {
  FZ_ASSIGN(const std::vector<Timestamp> times, time_.of(*rows, pool_));
  FZ_TRY(CheckNotBefore(times, done_, kWhat));
  std::map<Timestamp, std::vector<int32_t>> by_time;
  for (size_t i = 0; i < times.size(); ++i) by_time[times[i]].push_back(static_cast<int32_t>(i));
  for (const auto& [time, which] : by_time) {
    // A copy: what is held of a batch may be a small part of it.
    FZ_ASSIGN(auto some, TakeRows(rows, which, pool_));
    Held* held = &held_[time];
    add(held, std::move(some), fresh);
    if (held->saved_rows + held->fresh_rows >= limits::kBatchRows + 2 * held->needed) FZ_TRY(prune(held));
  }
  return Status::OK();
}

void TopN::add(Held* held, std::shared_ptr<arrow::RecordBatch> rows, bool fresh) {
  if (rows->num_rows() == 0) return;
  held->bytes += BatchBytes({rows, {}, nullptr});
  (fresh ? held->fresh_rows : held->saved_rows) += rows->num_rows();
  (fresh ? held->fresh : held->saved).push_back(std::move(rows));
}

Result<TopN::Best> TopN::best(const Held& held) const {
  arrow::RecordBatchVector batches = held.saved;
  batches.insert(batches.end(), held.fresh.begin(), held.fresh.end());
  Best best;
  FZ_ASSIGN(best.rows, OneOf(batches, pool_));
  EncodedKeys keys(pool_);
  FZ_TRY(keys_.encode({best.rows, {}, nullptr}, &keys));
  const auto& marks =
      static_cast<const arrow::FixedSizeBinaryArray&>(*best.rows->column(input_->num_fields()));
  std::string bytes;
  std::vector<size_t> ends;
  for (int64_t row = 0; row < best.rows->num_rows(); ++row) {
    for (const By& by : by_) AppendSortKey(*best.rows->column(by.column), row, by.descending, &bytes);
    bytes.append(reinterpret_cast<const char*>(marks.GetValue(row)), kOrderBytes);
    ends.push_back(bytes.size());
  }
  const auto place = [&](int32_t row) {
    const size_t from = row == 0 ? 0 : ends[static_cast<size_t>(row) - 1];
    return std::string_view(bytes).substr(from, ends[static_cast<size_t>(row)] - from);
  };
  std::vector<int32_t> rows(ends.size());
  std::iota(rows.begin(), rows.end(), 0);
  std::sort(rows.begin(), rows.end(), [&](int32_t a, int32_t b) {
    if (keys.hash(a) != keys.hash(b)) return keys.hash(a) < keys.hash(b);
    const int order = keys.key(a).compare(keys.key(b));
    return order != 0 ? order < 0 : place(a) < place(b);
  });
  int64_t rank = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    const bool follows = i > 0 && keys.key(rows[i]) == keys.key(rows[i - 1]);
    rank = follows ? rank + 1 : 1;
    if (rank > n_) continue;
    best.which.push_back(rows[i]);
    best.ranks.push_back(rank);
  }
  return best;
}

// Lets the rows go that are beyond the first n of their key: nothing that comes can change that.
Status TopN::prune(Held* held) {
  FZ_ASSIGN(Best best, this->best(*held));
  held->needed = static_cast<int64_t>(best.which.size());
  if (held->needed == best.rows->num_rows()) return Status::OK();
  std::sort(best.which.begin(), best.which.end());
  const auto first_fresh =
      std::lower_bound(best.which.begin(), best.which.end(), static_cast<int32_t>(held->saved_rows));
  FZ_ASSIGN(auto saved, TakeRows(best.rows, std::vector<int32_t>(best.which.begin(), first_fresh), pool_));
  FZ_ASSIGN(auto fresh, TakeRows(best.rows, std::vector<int32_t>(first_fresh, best.which.end()), pool_));
  const int64_t needed = held->needed;
  *held = {};
  held->needed = needed;
  add(held, std::move(saved), /*fresh=*/false);
  add(held, std::move(fresh), /*fresh=*/true);
  return Status::OK();
}

Result<Progress> TopN::advance(int, Timestamp to, Output& out) {
  due_ = std::max(due_, to);
  return emit(out);
}

Result<Progress> TopN::emit(Output& out) {
  while (giving_ != nullptr || !held_.empty()) {
    if (giving_ == nullptr) {
      const auto first = held_.begin();
      if (due_ != kWatermarkMax && first->first >= due_) break;
      FZ_ASSIGN(Best made, best(first->second));
      giving_ = std::make_unique<Best>(std::move(made));
      given_ = 0;
      held_.erase(first);
    }
    while (given_ < giving_->which.size()) {
      if (out.full()) return Progress::kMore;
      const size_t to = std::min(giving_->which.size(), given_ + static_cast<size_t>(limits::kBatchRows));
      FZ_ASSIGN(Batch batch, slice(given_, to));
      given_ = to;
      FZ_TRY(out.push(std::move(batch)));
    }
    giving_.reset();
  }
  done_ = due_;
  promise_ = done_;
  count_bytes();
  return Progress::kDone;
}

Result<Batch> TopN::slice(size_t from, size_t to) const {
  FZ_ASSIGN(const auto rows,
            TakeRows(giving_->rows, std::span(giving_->which.data() + from, to - from), pool_));
  Batch batch = FromHeld(rows, input_);
  if (output_->num_fields() == input_->num_fields()) return batch;
  arrow::ArrayVector columns = batch.columns->columns();
  arrow::Int64Builder ranks(pool_);
  FZ_TRY(ranks.AppendValues(giving_->ranks.data() + from, static_cast<int64_t>(to - from)));
  FZ_TRY(ranks.Finish(&columns.emplace_back()));
  batch.columns = arrow::RecordBatch::Make(output_, rows->num_rows(), std::move(columns));
  return batch;
}

Result<StateRows> TopN::state_changes(bool full) {
  StateRows out;
  for (auto& [time, held] : held_) {
    if (held.fresh_rows > 0) FZ_TRY(prune(&held));
    for (const auto* batches : {&held.saved, &held.fresh}) {
      if (batches == &held.saved && !full) continue;
      for (const auto& rows : *batches) {
        FZ_ASSIGN(auto batch, saved(rows));
        out.push_back(std::move(batch));
      }
    }
    held.saved.insert(held.saved.end(), held.fresh.begin(), held.fresh.end());
    held.saved_rows += held.fresh_rows;
    held.fresh.clear();
    held.fresh_rows = 0;
  }
  if (done_ != noted_ || (full && done_ != kWatermarkMin)) {
    FZ_ASSIGN(auto note, SavedNote(saved_schema_, "done", done_, pool_));
    out.push_back(std::move(note));
    noted_ = done_;
  }
  count_bytes();
  return out;
}

Result<std::shared_ptr<arrow::RecordBatch>> TopN::saved(
    const std::shared_ptr<arrow::RecordBatch>& rows) const {
  EncodedKeys keys(pool_);
  FZ_TRY(keys_.encode({rows, {}, nullptr}, &keys));
  arrow::UInt64Builder hashes(pool_);
  FZ_TRY(hashes.AppendValues(keys.hashes().data(), rows->num_rows()));
  arrow::ArrayVector columns(1);
  FZ_TRY(hashes.Finish(columns.data()));
  FZ_ASSIGN(auto done, arrow::MakeArrayOfNull(arrow::int64(), rows->num_rows(), pool_));
  columns.push_back(std::move(done));
  for (auto& column : SavedRows(rows, SavedRowFields(*input_))) columns.push_back(std::move(column));
  return arrow::RecordBatch::Make(saved_schema_, rows->num_rows(), std::move(columns));
}

Status TopN::restore(const std::shared_ptr<arrow::RecordBatch>& rows) {
  FZ_TRY(CheckRestored(*rows, *saved_schema_, kWhat));
  const auto& done = static_cast<const arrow::Int64Array&>(*rows->column(1));
  std::vector<int32_t> which;
  for (int64_t i = 0; i < rows->num_rows(); ++i) {
    if (done.IsValid(i)) {
      due_ = done_ = noted_ = std::max(done_, done.Value(i));
    } else {
      which.push_back(static_cast<int32_t>(i));
    }
  }
  promise_ = done_;
  // What was given already is forgotten, be it of earlier files or of this one.
  while (!held_.empty() && (done_ == kWatermarkMax || held_.begin()->first < done_))
    held_.erase(held_.begin());
  FZ_ASSIGN(auto held, RestoredRows(*rows, held_schema_, which, kWhat, pool_));
  if (held->column(time_.column)->null_count() > 0) return RestoreError(kWhat, "a row without a time");
  FZ_ASSIGN(const std::vector<Timestamp> times, time_.of(*held, pool_));
  which.clear();
  for (size_t i = 0; i < times.size(); ++i) {
    if (times[i] >= done_) which.push_back(static_cast<int32_t>(i));
  }
  FZ_ASSIGN(held, TakeRows(held, which, pool_));
  FZ_TRY(hold(held, /*fresh=*/false));
  count_bytes();
  return Status::OK();
}

}  // namespace frazil
