#include "operator/changes/row_pairs.h"

#include <arrow/api.h>
#include <arrow/compute/api.h>

namespace frazil {

RowPairs::RowPairs(const arrow::ArrayVector& before, const arrow::ArrayVector& after)
    : before_(before), after_(after), rows_before_(before.front()->length()) {}

void RowPairs::give(int64_t place, RowKind kind) {
  places_.push_back(static_cast<int32_t>(place));
  kinds_.push_back(static_cast<uint8_t>(kind));
}

bool RowPairs::same(int64_t before, int64_t after) const {
  static const arrow::EqualOptions options = arrow::EqualOptions::Defaults().nans_equal(true);
  for (size_t i = 0; i < before_.size(); ++i) {
    if (!before_[i]->RangeEquals(*after_[i], before, before + 1, after, options)) return false;
  }
  return true;
}

void RowPairs::update(int64_t before, int64_t after) {
  if (same(before, after)) return;
  give(before, RowKind::kUpdateBefore);
  give(rows_before_ + after, RowKind::kUpdateAfter);
}

Result<arrow::ArrayVector> RowPairs::columns(arrow::MemoryPool* pool) const {
  const arrow::Int32Array places(static_cast<int64_t>(places_.size()), arrow::Buffer::Wrap(places_));
  arrow::compute::ExecContext context(pool);
  arrow::ArrayVector columns;
  for (size_t i = 0; i < after_.size(); ++i) {
    FZ_ASSIGN(const auto both, arrow::Concatenate({before_[i], after_[i]}, pool));
    FZ_ASSIGN(auto taken,
              arrow::compute::Take(*both, places, arrow::compute::TakeOptions::NoBoundsCheck(), &context));
    columns.push_back(std::move(taken));
  }
  arrow::UInt8Builder kinds(pool);
  FZ_TRY(kinds.AppendValues(kinds_));
  FZ_TRY(kinds.Finish(&columns.emplace_back()));
  return columns;
}

}  // namespace frazil
