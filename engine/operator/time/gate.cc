#include "operator/time/gate.h"

#include <arrow/api.h>

#include <utility>

#include "operator/filter.h"
#include "operator/time/order_mark.h"
#include "operator/time/row_time.h"

namespace frazil {

Result<std::unique_ptr<Gate>> Gate::Make(const nlohmann::json& spec, const arrow::Schema& input,
                                         const OperatorContext& context) {
  FZ_TRY(RowTime::Make(spec, input));
  return std::unique_ptr<Gate>(new Gate(spec.value("refuses", true), context));
}

Result<Progress> Gate::process(Batch batch, Output& out) {
  // A row has this mark only if it is behind.
  if (const auto mark = MarkOf(batch, kRowWatermarkMark); mark != nullptr && refuses_) {
    const auto& watermarks = static_cast<const arrow::Int64Array&>(*mark);
    arrow::BooleanBuilder good(pool_);
    FZ_TRY(good.Reserve(batch.rows()));
    for (int64_t i = 0; i < batch.rows(); ++i) {
      good.UnsafeAppend(watermarks.IsNull(i));
      if (watermarks.IsValid(i)) gate_.refuse(i, watermarks.Value(i), 0, 0);
    }
    FZ_TRY(gate_.flush(batch, /*windows=*/false));
    std::shared_ptr<arrow::BooleanArray> mask;
    FZ_TRY(good.Finish(&mask));
    FZ_ASSIGN(batch, KeepRows(batch, mask, pool_));
    if (batch.rows() == 0) return Progress::kDone;
  }
  FZ_ASSIGN(auto order, OrderMarkOf(batch, partitions_, pool_));
  Batch ordered{std::move(batch.columns), batch.origin, nullptr};
  SetMark(&ordered, kOrderMark, std::move(order));
  FZ_TRY(out.push(std::move(ordered)));
  return Progress::kDone;
}

}  // namespace frazil
