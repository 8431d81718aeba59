#include "operator/time/late_gate.h"

#include <arrow/api.h>
#include <arrow/compute/api.h>

#include <string>
#include <utility>

#include "operator/time/window.h"

namespace frazil {
namespace {

Result<std::shared_ptr<arrow::Array>> Times(const std::vector<int64_t>& values, arrow::MemoryPool* pool) {
  arrow::TimestampBuilder builder(arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"), pool);
  FZ_TRY(builder.AppendValues(values));
  return builder.Finish();
}

}  // namespace

Status LateGate::flush(const Batch& batch, bool windows) {
  if (rows_.empty()) return Status::OK();
  count_.fetch_add(static_cast<int64_t>(rows_.size()), std::memory_order_relaxed);
  if (aside_ != nullptr) {
    FZ_ASSIGN(Batch late, rows_of(batch, windows));
    FZ_TRY(aside_->push(std::move(late)));
  }
  rows_.clear();
  watermarks_.clear();
  starts_.clear();
  ends_.clear();
  return Status::OK();
}

Result<Batch> LateGate::rows_of(const Batch& batch, bool windows) const {
  const auto count = static_cast<int64_t>(rows_.size());
  const auto indices = std::make_shared<arrow::Int32Array>(count, arrow::Buffer::Wrap(rows_));
  FZ_ASSIGN(const arrow::Datum taken, arrow::compute::Take(batch.columns, indices));
  arrow::ArrayVector columns = taken.record_batch()->columns();
  const auto time = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
  for (const auto* bounds : {&starts_, &ends_}) {
    FZ_ASSIGN(auto column, windows ? Times(*bounds, pool_) : arrow::MakeArrayOfNull(time, count, pool_));
    columns.push_back(std::move(column));
  }
  FZ_ASSIGN(auto watermarks, Times(watermarks_, pool_));
  columns.push_back(std::move(watermarks));
  const std::string name =
      partitions_ == nullptr ? "" : partitions_->name(batch.origin.source, batch.origin.partition);
  FZ_ASSIGN(auto names, arrow::MakeArrayFromScalar(arrow::StringScalar(name), count, pool_));
  columns.push_back(std::move(names));
  if (auto positions = MarkOf(batch, kPositionMark); positions != nullptr) {
    FZ_ASSIGN(const arrow::Datum taken, arrow::compute::Take(positions, indices));
    FZ_ASSIGN(const arrow::Datum at,
              arrow::compute::Subtract(taken, arrow::Datum(batch.origin.position_base)));
    columns.push_back(at.make_array());
  } else {
    FZ_ASSIGN(auto none, arrow::MakeArrayFromScalar(arrow::Int64Scalar(-1), count, pool_));
    columns.push_back(std::move(none));
  }
  return Batch{arrow::RecordBatch::Make(LateSchema(*batch.columns->schema()), count, std::move(columns)),
               batch.origin, nullptr};
}

}  // namespace frazil
