#include "operator/ordered/row_order.h"

#include <arrow/api.h>
#include <arrow/compute/api.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "base/calendar.h"
#include "base/check.h"
#include "operator/time/order_mark.h"

namespace frazil {

Status CheckNotBefore(const std::vector<Timestamp>& times, Timestamp watermark, std::string_view what) {
  const auto least = std::min_element(times.begin(), times.end());
  if (least == times.end() || *least >= watermark) return Status::OK();
  return Error(ErrorKind::kInternal, std::string(what) + ": a row at " +
                                         IsoTimestamp(*least, arrow::TimeUnit::MICRO, true) +
                                         ", which is before the watermark " +
                                         IsoTimestamp(watermark, arrow::TimeUnit::MICRO, true) +
                                         "; if out_of_order was made larger, begin with a new checkpoint");
}

Status CheckInOrder(const std::vector<Timestamp>& times, Timestamp watermark, std::string_view what) {
  FZ_CHECK(std::is_sorted(times.begin(), times.end()));
  return CheckNotBefore(times, watermark, what);
}

Result<std::vector<OrderKey>> OrderKeysOf(const Batch& batch, const std::vector<Timestamp>& times) {
  const auto mark = MarkOf(batch, kOrderMark);
  FZ_CHECK(mark != nullptr);
  const auto& marks = static_cast<const arrow::FixedSizeBinaryArray&>(*mark);
  std::vector<OrderKey> keys(times.size());
  for (size_t i = 0; i < times.size(); ++i) {
    uint64_t halves[kOrderBytes / sizeof(uint64_t)];
    std::memcpy(halves, marks.GetValue(static_cast<int64_t>(i)), kOrderBytes);
    // As numbers they compare as the bytes do, the second one but for its sign.
    keys[i] = {times[i], __builtin_bswap64(halves[0]),
               static_cast<int64_t>(__builtin_bswap64(halves[1]) ^ (uint64_t{1} << 63))};
  }
  return keys;
}

Result<arrow::ArrayVector> Together(const std::vector<arrow::ArrayVector>& pieces,
                                    const std::vector<int32_t>& rows, arrow::MemoryPool* pool) {
  std::vector<int32_t> places(rows.size());
  for (size_t i = 0; i < rows.size(); ++i) places[static_cast<size_t>(rows[i])] = static_cast<int32_t>(i);
  const arrow::Int32Array order(static_cast<int64_t>(places.size()), arrow::Buffer::Wrap(places));
  arrow::compute::ExecContext context(pool);
  arrow::ArrayVector columns;
  for (size_t column = 0; column < pieces.front().size(); ++column) {
    arrow::ArrayVector parts;
    for (const arrow::ArrayVector& piece : pieces) parts.push_back(piece[column]);
    FZ_ASSIGN(const auto whole, arrow::Concatenate(parts, pool));
    FZ_ASSIGN(auto taken,
              arrow::compute::Take(*whole, order, arrow::compute::TakeOptions::NoBoundsCheck(), &context));
    columns.push_back(std::move(taken));
  }
  return columns;
}

}  // namespace frazil
