#include "operator/time/assign_window.h"

#include <arrow/api.h>

#include <algorithm>
#include <utility>

#include "base/limits.h"
#include "state/take_rows.h"

namespace frazil {
namespace {

std::shared_ptr<arrow::DataType> TimeType() { return arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"); }

Result<std::shared_ptr<arrow::Array>> Times(const std::vector<int64_t>& values, arrow::MemoryPool* pool) {
  arrow::TimestampBuilder builder(TimeType(), pool);
  FZ_TRY(builder.AppendValues(values));
  return builder.Finish();
}

}  // namespace

std::shared_ptr<arrow::Schema> AssignedSchema(const arrow::Schema& input) {
  arrow::FieldVector fields = input.fields();
  fields.push_back(arrow::field("window_start", TimeType(), false));
  fields.push_back(arrow::field("window_end", TimeType(), false));
  return arrow::schema(std::move(fields));
}

Result<std::unique_ptr<AssignWindow>> AssignWindow::Make(const nlohmann::json& spec,
                                                         const arrow::Schema& input,
                                                         const OperatorContext& context) {
  FZ_ASSIGN(const WindowSpec window, ParseWindow(spec.at("window")));
  if (window.kind == WindowSpec::Kind::kSession) {
    return Error(ErrorKind::kConfig, "reading the plan: assign_window of sessions");
  }
  FZ_ASSIGN(const RowTime time, RowTime::Make(spec, input));
  auto made = std::unique_ptr<AssignWindow>(new AssignWindow(window, time, AssignedSchema(input), context));
  made->lateness_ = spec.value("lateness_us", int64_t{0});
  return made;
}

Result<Progress> AssignWindow::process(Batch batch, Output& out) {
  FZ_ASSIGN(times_, time_.of(*batch.columns, pool_));
  batch_ = std::move(batch);
  next_ = 0;
  return resume(out);
}

Result<Progress> AssignWindow::resume(Output& out) {
  const auto mark = MarkOf(batch_, kRowWatermarkMark);
  const auto* watermarks = static_cast<const arrow::Int64Array*>(mark.get());
  while (next_ < batch_.rows()) {
    if (out.full()) return Progress::kMore;
    rows_.clear();
    starts_.clear();
    ends_.clear();
    while (next_ < batch_.rows() && rows_.size() < static_cast<size_t>(limits::kBatchRows)) {
      assign(watermarks);
    }
    FZ_TRY(gate_.flush(batch_, /*windows=*/true));
    if (rows_.empty()) continue;
    FZ_ASSIGN(Batch given, assigned());
    FZ_TRY(out.push(std::move(given)));
  }
  batch_ = {};
  return Progress::kDone;
}

void AssignWindow::assign(const arrow::Int64Array* watermarks) {
  const int64_t row = next_++;
  const bool behind = watermarks != nullptr && watermarks->IsValid(row);
  const Timestamp pane = panes_.pane(times_[static_cast<size_t>(row)]);
  const Timestamp last = panes_.last_end(pane);
  for (Timestamp end = panes_.first_end(pane); end <= last; end += panes_.every()) {
    if (behind && end <= Earlier(watermarks->Value(row), lateness_)) {
      gate_.refuse(row, watermarks->Value(row), panes_.start(end), end);
      continue;
    }
    rows_.push_back(static_cast<int32_t>(row));
    starts_.push_back(panes_.start(end));
    ends_.push_back(end);
  }
}

Result<Batch> AssignWindow::assigned() const {
  const auto count = static_cast<int64_t>(rows_.size());
  const auto skips = [](int32_t row, int32_t next) { return next != row + 1; };
  const bool same = count == batch_.rows() && rows_.front() == 0 &&
                    std::adjacent_find(rows_.begin(), rows_.end(), skips) == rows_.end();
  const auto pick =
      [&](const std::shared_ptr<arrow::RecordBatch>& from) -> Result<std::shared_ptr<arrow::RecordBatch>> {
    if (same || from == nullptr) return from;
    return TakeRows(from, rows_, pool_);
  };
  Batch given{nullptr, batch_.origin, nullptr};
  FZ_ASSIGN(const auto rows, pick(VisibleColumns(batch_)));
  FZ_ASSIGN(given.marks, pick(batch_.marks));
  arrow::ArrayVector columns = rows->columns();
  for (const auto* bounds : {&starts_, &ends_}) {
    FZ_ASSIGN(auto column, Times(*bounds, pool_));
    columns.push_back(std::move(column));
  }
  given.columns = arrow::RecordBatch::Make(output_, count, std::move(columns));
  SetMark(&given, kRowWatermarkMark, nullptr);
  return given;
}

}  // namespace frazil
