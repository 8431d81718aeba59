#define XXH_INLINE_ALL
#include "operator/time/window_partial.h"

#include <arrow/api.h>
#include <arrow/compute/api.h>
#include <xxhash.h>

#include <numeric>
#include <utility>

#include "base/check.h"
#include "operator/time/event_time.h"

namespace frazil {
namespace {

Result<arrow::FieldVector> KeyFields(const nlohmann::json& spec, const arrow::Schema& input) {
  arrow::FieldVector fields;
  for (const auto& key : spec.at("keys")) {
    auto field = input.GetFieldByName(key.get<std::string>());
    if (field == nullptr) {
      return Error(ErrorKind::kConfig,
                   "reading the plan: no key column " + key.dump() + " in a window's input");
    }
    fields.push_back(std::move(field));
  }
  return fields;
}

arrow::DataTypeVector TypesOf(const arrow::FieldVector& fields) {
  arrow::DataTypeVector types;
  for (const auto& field : fields) types.push_back(field->type());
  return types;
}

std::shared_ptr<arrow::Schema> OutputSchema(arrow::FieldVector fields, const Accumulators& accumulators) {
  fields.push_back(arrow::field("pane", arrow::int64(), false));
  fields.push_back(arrow::field("floor", arrow::int64(), false));
  for (auto& field : accumulators.saved_fields()) fields.push_back(std::move(field));
  return arrow::schema(std::move(fields));
}

}  // namespace

Result<std::shared_ptr<arrow::Schema>> PartialSchema(const nlohmann::json& spec, const arrow::Schema& input) {
  FZ_ASSIGN(auto fields, KeyFields(spec, input));
  FZ_ASSIGN(const Accumulators accumulators, Accumulators::OfRows(spec.at("aggregates"), input));
  return OutputSchema(std::move(fields), accumulators);
}

Result<std::unique_ptr<WindowPartial>> WindowPartial::Make(const nlohmann::json& spec,
                                                           const arrow::Schema& input,
                                                           const OperatorContext& context) {
  FZ_ASSIGN(const WindowSpec window, ParseWindow(spec.at("window")));
  FZ_ASSIGN(Accumulators accumulators, Accumulators::OfRows(spec.at("aggregates"), input));
  FZ_ASSIGN(const arrow::FieldVector fields, KeyFields(spec, input));
  FZ_ASSIGN(BatchGroups groups, BatchGroups::Make(TypesOf(fields), accumulators.width(), context.pool));
  auto output = OutputSchema(fields, accumulators);
  auto made = std::unique_ptr<WindowPartial>(
      new WindowPartial(window, std::move(accumulators), std::move(groups), context));
  made->output_ = std::move(output);
  for (const auto& field : fields) made->key_columns_.push_back(input.GetFieldIndex(field->name()));
  const auto& time = spec.at("time");
  made->time_column_ = input.GetFieldIndex(time.at("column").get<std::string>());
  if (made->time_column_ < 0 || input.field(made->time_column_)->type()->id() != arrow::Type::TIMESTAMP) {
    return Error(ErrorKind::kConfig, "reading the plan: a window's time " + time.dump() + " is no timestamp");
  }
  made->minus_ = time.value("minus_us", int64_t{0});
  made->lateness_ = spec.value("lateness_us", int64_t{0});
  return made;
}

Result<Progress> WindowPartial::process(Batch batch, Output& out) {
  FZ_ASSIGN(const auto times, MicrosOf(batch.columns->column(time_column_), pool_));
  FZ_CHECK(times->null_count() == 0);
  FZ_TRY(assign(batch, *times));
  FZ_TRY(gate_.flush(batch, true));
  if (accepted_.empty()) return Progress::kDone;
  const std::vector<OrderKey> keys =
      accumulators_.needs_order() ? order(batch, *times) : std::vector<OrderKey>();
  FZ_TRY(aggregate(batch, keys, out));
  return Progress::kDone;
}

// Pane and floor of every row, and which rows some window takes.
Status WindowPartial::assign(const Batch& batch, const arrow::Int64Array& times) {
  const auto rows = static_cast<size_t>(batch.rows());
  pane_.resize(rows);
  floor_.assign(rows, kWatermarkMin);
  accepted_.resize(rows);
  std::iota(accepted_.begin(), accepted_.end(), 0);
  const int64_t* at = times.raw_values();
  for (size_t i = 0; i < rows; ++i) pane_[i] = panes_.pane(at[i] - minus_);
  const auto marks = MarkOf(batch, kRowWatermarkMark);
  if (marks == nullptr) return Status::OK();
  const auto& watermarks = static_cast<const arrow::Int64Array&>(*marks);
  accepted_.clear();
  for (size_t i = 0; i < rows; ++i) {
    const auto row = static_cast<int64_t>(i);
    if (!watermarks.IsNull(row)) {
      assign_late(row, watermarks.Value(row));
      if (floor_[i] == kWatermarkMax) continue;
    }
    accepted_.push_back(static_cast<int32_t>(i));
  }
  return Status::OK();
}

// A row behind its watermark: the windows that have left it behind refuse it.
void WindowPartial::assign_late(int64_t row, Timestamp watermark) {
  const auto i = static_cast<size_t>(row);
  const Timestamp pane = pane_[i];
  const Timestamp last = panes_.last_end(pane);
  Timestamp end = panes_.first_end(pane);
  bool missed = false;
  for (; end <= last && end <= watermark - lateness_; end += panes_.every()) {
    gate_.refuse(row, watermark, panes_.start(end), end);
    missed = true;
  }
  if (end > last) {
    floor_[i] = kWatermarkMax;  // no window takes it
  } else if (missed && window_.kind == WindowSpec::Kind::kCumulating) {
    pane_[i] = end - panes_.every();  // windows only grow: it counts as if it came in a later pane
  } else if (missed) {
    floor_[i] = end;
  }
}

// Behind an exchange the partition is unknown, and the mark alone tells rows of one time apart.
std::vector<OrderKey> WindowPartial::order(const Batch& batch, const arrow::Int64Array& times) const {
  uint64_t partition = 0;
  if (batch.origin.partition >= 0 && partitions_ != nullptr) {
    const std::string name = std::to_string(batch.origin.source) + "/" +
                             partitions_->name(batch.origin.source, batch.origin.partition);
    partition = XXH3_64bits(name.data(), name.size());
  }
  const auto mark = MarkOf(batch, kPositionMark);
  const auto* positions =
      mark == nullptr ? nullptr : static_cast<const arrow::Int64Array&>(*mark).raw_values();
  std::vector<OrderKey> keys(static_cast<size_t>(batch.rows()));
  for (size_t i = 0; i < keys.size(); ++i) {
    keys[i] = {times.Value(static_cast<int64_t>(i)) - minus_, partition,
               positions == nullptr ? 0 : positions[i]};
  }
  return keys;
}

Status WindowPartial::aggregate(const Batch& batch, const std::vector<OrderKey>& order, Output& out) {
  arrow::ArrayVector keys;
  for (const int column : key_columns_) keys.push_back(batch.columns->column(column));
  FZ_TRY(groups_.group(keys, pane_, floor_, accepted_));
  for (std::byte* group : groups_.payloads()) accumulators_.create(group);
  Status status = accumulators_.add(batch, groups_.of_rows(), order, pool_);
  if (status.ok()) status = emit(std::move(keys), out);
  for (std::byte* group : groups_.payloads()) accumulators_.destroy(group);
  return status;
}

// A row for each group.
Status WindowPartial::emit(arrow::ArrayVector columns, Output& out) {
  const auto rows = static_cast<int64_t>(groups_.rows().size());
  const arrow::Int32Array first(rows, arrow::Buffer::Wrap(groups_.rows().data(), groups_.rows().size()));
  arrow::compute::ExecContext context(pool_);
  for (auto& column : columns) {
    FZ_ASSIGN(column,
              arrow::compute::Take(*column, first, arrow::compute::TakeOptions::NoBoundsCheck(), &context));
  }
  arrow::Int64Builder panes(pool_), floors(pool_);
  arrow::UInt64Builder hashes(pool_);
  FZ_TRY(panes.Reserve(rows));
  FZ_TRY(floors.Reserve(rows));
  for (const int32_t row : groups_.rows()) {
    panes.UnsafeAppend(pane_[static_cast<size_t>(row)]);
    floors.UnsafeAppend(floor_[static_cast<size_t>(row)]);
  }
  FZ_TRY(hashes.AppendValues(groups_.hashes().data(), rows));
  columns.resize(columns.size() + 2);
  FZ_TRY(panes.Finish(&columns[columns.size() - 2]));
  FZ_TRY(floors.Finish(&columns.back()));
  FZ_ASSIGN(auto saved, accumulators_.save(groups_.payloads(), pool_));
  columns.insert(columns.end(), saved.begin(), saved.end());
  Batch partial{arrow::RecordBatch::Make(output_, rows, std::move(columns)), {}, nullptr};
  FZ_ASSIGN(auto hash, hashes.Finish());
  SetMark(&partial, kHashMark, std::move(hash));
  return out.push(std::move(partial));
}

}  // namespace frazil
