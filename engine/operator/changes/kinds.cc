#include "operator/changes/kinds.h"

#include <arrow/api.h>

#include <string>

#include "base/truncate.h"
#include "operator/filter.h"

namespace frazil {
namespace {

constexpr auto kInsert = static_cast<uint8_t>(RowKind::kInsert);
constexpr auto kBefore = static_cast<uint8_t>(RowKind::kUpdateBefore);
constexpr auto kAfter = static_cast<uint8_t>(RowKind::kUpdateAfter);
constexpr auto kDelete = static_cast<uint8_t>(RowKind::kDelete);
constexpr auto kTruncate = static_cast<uint8_t>(kTruncateKind);

// What is kept of changes, and as what.
struct Kept {
  std::vector<uint8_t> kinds;
  std::vector<bool> rows;
  bool changed = false;  // a kind
};

Kept Judge(const arrow::UInt8Array& kinds, const arrow::BooleanArray& mask) {
  const auto count = static_cast<size_t>(kinds.length());
  Kept kept{std::vector<uint8_t>(kinds.raw_values(), kinds.raw_values() + count), std::vector<bool>(count)};
  const auto become = [&](size_t row, uint8_t kind) {
    kept.kinds[row] = kind;
    kept.rows[row] = true;
    kept.changed = true;
  };
  for (size_t i = 0; i < count; ++i) {
    const bool selected = mask.Value(static_cast<int64_t>(i));
    kept.rows[i] = selected || kept.kinds[i] == kTruncate;
    if (kept.kinds[i] == kAfter && !selected) become(i, kDelete);
    if (kept.kinds[i] != kBefore || i + 1 == count || kept.kinds[i + 1] != kAfter) continue;
    const bool next = mask.Value(static_cast<int64_t>(i) + 1);
    kept.rows[i + 1] = next;
    if (selected && !next) become(i, kDelete);
    if (next && !selected) become(i + 1, kInsert);
    ++i;
  }
  return kept;
}

// Where a row that is not selected may have been there before, whatever is known of it.
Kept JudgeAlone(const arrow::UInt8Array& kinds, const arrow::BooleanArray& mask) {
  const auto count = static_cast<size_t>(kinds.length());
  Kept kept{std::vector<uint8_t>(kinds.raw_values(), kinds.raw_values() + count),
            std::vector<bool>(count, true)};
  for (size_t i = 0; i < count; ++i) {
    if (mask.Value(static_cast<int64_t>(i)) || kept.kinds[i] == kDelete || kept.kinds[i] == kTruncate) {
      continue;
    }
    kept.kinds[i] = kDelete;
    kept.changed = true;
  }
  return kept;
}

}  // namespace

std::shared_ptr<arrow::Field> KindField() {
  return arrow::field(std::string(kKindColumn), arrow::uint8(), /*nullable=*/false);
}

bool HasKinds(const arrow::Schema& schema) { return schema.GetFieldIndex(std::string(kKindColumn)) >= 0; }

Result<std::shared_ptr<arrow::UInt8Array>> KindsOf(const Batch& batch, bool truncates) {
  const auto column = batch.columns->GetColumnByName(std::string(kKindColumn));
  if (column == nullptr) return nullptr;
  auto kinds = std::static_pointer_cast<arrow::UInt8Array>(column);
  const uint8_t last = truncates ? kTruncate : kDelete;
  for (int64_t i = 0; i < kinds->length(); ++i) {
    if (kinds->IsValid(i) && kinds->Value(i) <= last) continue;
    return Error(ErrorKind::kInternal, "a row of the kind " + std::to_string(kinds->Value(i)));
  }
  return kinds;
}

Result<Batch> WithKinds(const Batch& batch, const std::vector<uint8_t>& kinds, arrow::MemoryPool* pool) {
  arrow::UInt8Builder builder(pool);
  FZ_TRY(builder.AppendValues(kinds));
  std::shared_ptr<arrow::Array> column;
  FZ_TRY(builder.Finish(&column));
  Batch made = batch;
  const int place = batch.columns->schema()->GetFieldIndex(std::string(kKindColumn));
  FZ_ASSIGN(made.columns, batch.columns->SetColumn(place, KindField(), column));
  return made;
}

Result<Batch> KeepChanges(const Batch& batch, const std::shared_ptr<arrow::BooleanArray>& mask,
                          arrow::MemoryPool* pool, bool whole) {
  FZ_ASSIGN(const auto kinds, KindsOf(batch, /*truncates=*/true));
  if (kinds == nullptr) return KeepRows(batch, mask, pool);
  const Kept kept = whole ? Judge(*kinds, *mask) : JudgeAlone(*kinds, *mask);
  arrow::BooleanBuilder builder(pool);
  FZ_TRY(builder.AppendValues(kept.rows));
  std::shared_ptr<arrow::BooleanArray> rows;
  FZ_TRY(builder.Finish(&rows));
  if (!kept.changed) return KeepRows(batch, rows, pool);
  FZ_ASSIGN(const Batch changed, WithKinds(batch, kept.kinds, pool));
  return KeepRows(changed, rows, pool);
}

}  // namespace frazil
