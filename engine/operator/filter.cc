#include "operator/filter.h"

#include <arrow/compute/api_vector.h>
#include <arrow/util/bit_run_reader.h>
#include <arrow/util/bitmap_ops.h>

#include "base/check.h"
#include "operator/changes/kinds.h"
#include "operator/place.h"

namespace frazil {
namespace {

// The selected rows, if they stand in one piece.
struct Run {
  int64_t begin = 0;
  int64_t length = 0;
  bool only = true;
};

Run FirstRun(const arrow::BooleanArray& mask) {
  Run run;
  const auto visit = [&](int64_t position, int64_t length) {
    if (run.length == 0) {
      run.begin = position;
      run.length = length;
    } else {
      run.only = false;
    }
  };
  const uint8_t* values = mask.values()->data();
  arrow::internal::SetBitRunReader reader(values, mask.offset(), mask.length());
  for (auto found = reader.NextRun(); found.length > 0 && run.only; found = reader.NextRun()) {
    visit(found.position, found.length);
  }
  return run;
}

// The mask with false in place of null.
Result<std::shared_ptr<arrow::BooleanArray>> WithoutNulls(std::shared_ptr<arrow::BooleanArray> mask,
                                                          arrow::MemoryPool* pool) {
  if (mask->null_count() == 0) return mask;
  FZ_ASSIGN(auto bits,
            arrow::internal::BitmapAnd(pool, mask->values()->data(), mask->offset(), mask->null_bitmap_data(),
                                       mask->offset(), mask->length(), 0));
  return std::make_shared<arrow::BooleanArray>(mask->length(), std::move(bits));
}

}  // namespace

Result<Batch> KeepRows(const Batch& batch, const std::shared_ptr<arrow::BooleanArray>& mask,
                       arrow::MemoryPool* pool) {
  const Run run = FirstRun(*mask);
  if (run.length == batch.rows()) return batch;
  const auto keep =
      [&](const std::shared_ptr<arrow::RecordBatch>& rows) -> Result<std::shared_ptr<arrow::RecordBatch>> {
    if (rows == nullptr) return nullptr;
    if (run.only) return rows->Slice(run.begin, run.length);
    arrow::compute::ExecContext context(pool);
    context.set_use_threads(false);
    FZ_ASSIGN(arrow::Datum kept, arrow::compute::Filter(arrow::Datum(rows), arrow::Datum(mask),
                                                        arrow::compute::FilterOptions::Defaults(), &context));
    return kept.record_batch();
  };
  Batch kept{nullptr, batch.origin, nullptr};
  FZ_ASSIGN(kept.columns, keep(batch.columns));
  FZ_ASSIGN(kept.marks, keep(batch.marks));
  return kept;
}

Result<Batch> FilterRows(const BoundExpr& predicate, const Batch& batch, arrow::MemoryPool* pool,
                         bool whole) {
  FZ_ASSIGN(auto values, predicate.Evaluate(*batch.columns, pool));
  FZ_CHECK(values->type_id() == arrow::Type::BOOL);
  FZ_ASSIGN(auto mask, WithoutNulls(std::static_pointer_cast<arrow::BooleanArray>(values), pool));
  return KeepChanges(batch, mask, pool, whole);
}

Result<Progress> Filter::process(Batch batch, Output& out) {
  if (batch.rows() == 0) return Progress::kDone;
  auto kept = FilterRows(predicate_, batch, pool_, whole_);
  if (!kept.ok()) return Prefixed(kept.status(), "filter" + PlaceOf(batch.origin));
  if (kept->rows() == 0) return Progress::kDone;
  FZ_TRY(out.push(std::move(*kept)));
  return Progress::kDone;
}

Result<BoundExpr> BindPredicate(const nlohmann::json& expression, const arrow::Schema& schema,
                                const std::string& where) {
  FZ_ASSIGN(BoundExpr predicate, Bind(expression, schema, where));
  if (predicate.type()->id() != arrow::Type::BOOL) {
    return NamedError("TypeMismatch", "a filter takes bool, got " + predicate.type()->ToString() + "\nin: " +
                                          predicate.text() + "\ncompare it: col(...) > 0, .is_not_null()");
  }
  return predicate;
}

}  // namespace frazil
