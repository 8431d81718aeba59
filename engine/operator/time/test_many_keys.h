#pragma once

#include <arrow/api.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include "base/limits.h"
#include "operator/time/window_aggregate.h"
#include "operator/time/window_partial.h"

// For tests and measurements: a minute of int64 keys, counted and summed up, all in one open window.
namespace frazil {

class ManyKeys {
 public:
  explicit ManyKeys(arrow::MemoryPool* pool) : pool_(pool) {
    const auto time = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
    input_ = arrow::schema({arrow::field("key", arrow::int64()), arrow::field("ts", time, false),
                            arrow::field("amount", arrow::float64())});
    const nlohmann::json spec = {
        {"keys", {"key"}},
        {"time", {{"column", "ts"}}},
        {"window", {{"kind", "tumbling"}, {"size_us", 60'000'000}, {"offset_us", 0}}},
        {"lateness_us", 0},
        {"aggregates",
         {{{"name", "events"}, {"fn", "count"}, {"args", nlohmann::json::array()}},
          {{"name", "revenue"}, {"fn", "sum"}, {"args", {{{"col", "amount"}}}}}}}};
    const OperatorContext context{pool_, nullptr, nullptr};
    partial_ = Must(WindowPartial::Make(spec, *input_, context));
    const auto between = Must(PartialSchema(spec, *input_));
    window_ = Must(WindowAggregate::Make(spec, *between, context));
  }

  // A row for each of the keys [from, to).
  void add(int64_t from, int64_t to) {
    To behind(window_.get());
    while (from < to) {
      const int64_t rows = std::min<int64_t>(limits::kBatchRows, to - from);
      arrow::Int64Builder keys(pool_);
      arrow::DoubleBuilder amounts(pool_);
      for (int64_t i = from; i < from + rows; ++i) {
        Must(keys.Append(i));
        Must(amounts.Append(static_cast<double>(i) / 8));
      }
      const auto times =
          Must(arrow::MakeArrayFromScalar(arrow::TimestampScalar(0, input_->field(1)->type()), rows, pool_));
      Batch batch{
          arrow::RecordBatch::Make(input_, rows, {Must(keys.Finish()), times, Must(amounts.Finish())}),
          {},
          nullptr};
      Must(partial_->process(std::move(batch), behind));
      from += rows;
    }
  }

  WindowAggregate& window() { return *window_; }

  template <typename T>
  static T Must(Result<T> result) {
    Must(result.status());
    return std::move(result).ValueUnsafe();
  }
  static void Must(const Status& status) {
    if (!status.ok()) status.Abort();
  }

 private:
  struct To : Output {
    explicit To(Operator* window) : next(window) {}
    Status push(Batch batch) override { return next->process(std::move(batch), *this).status(); }
    bool full() const override { return false; }
    Operator* next;
  };

  arrow::MemoryPool* pool_;
  std::shared_ptr<arrow::Schema> input_;
  std::unique_ptr<WindowPartial> partial_;
  std::unique_ptr<WindowAggregate> window_;
};

}  // namespace frazil
