#include "operator/failed_rows.h"

#include <arrow/api.h>

#include <utility>

#include "base/check.h"
#include "base/limits.h"
#include "format/json_encode.h"
#include "operator/changes/kinds.h"

namespace frazil {
namespace {

constexpr size_t kExampleBytes = 500;  // of the description of a row that errors show

// The row as a JSON object; null if a column has a type that JSON cannot hold.
std::shared_ptr<std::string> JsonOf(const arrow::RecordBatch& shown, int64_t row) {
  auto text = std::make_shared<std::string>();
  if (!AppendJsonLines(*shown.Slice(row, 1), text.get()).ok()) return nullptr;
  text->pop_back();  // the end of the line
  return text;
}

bool IsNew(const arrow::UInt8Array* kinds, int64_t row) {
  if (kinds == nullptr) return true;
  const auto kind = static_cast<RowKind>(kinds->Value(row));
  return kind == RowKind::kInsert || kind == RowKind::kUpdateAfter;
}

int64_t NewRows(const arrow::UInt8Array* kinds, int64_t rows) {
  if (kinds == nullptr) return rows;
  int64_t count = 0;
  for (int64_t i = 0; i < rows; ++i) count += IsNew(kinds, i) ? 1 : 0;
  return count;
}

}  // namespace

Result<std::shared_ptr<arrow::BooleanArray>> FailedRows::take(const Batch& batch,
                                                              const std::vector<Failure>& failed) {
  FZ_ASSIGN(const auto kinds, KindsOf(batch));
  const int64_t given = NewRows(kinds.get(), batch.rows());
  given_ += given;
  if (failed.empty()) {
    good_ += given;
    return nullptr;
  }
  std::vector<bool> good(static_cast<size_t>(batch.rows()), true);
  std::vector<Failure> lost;
  for (size_t i = 0; i < failed.size(); ++i) {
    const int64_t row = failed[i].row;
    FZ_CHECK(row >= 0 && row < batch.rows() && (i == 0 || row > failed[i - 1].row));
    good[static_cast<size_t>(row)] = false;
    if (IsNew(kinds.get(), row)) lost.push_back(failed[i]);
  }
  failed_ += static_cast<int64_t>(lost.size());
  good_ += given - static_cast<int64_t>(lost.size());
  if (!lost.empty()) FZ_TRY(describe(batch, lost));
  arrow::BooleanBuilder mask;
  FZ_TRY(mask.AppendValues(good));
  FZ_ASSIGN(auto array, mask.Finish());
  return std::static_pointer_cast<arrow::BooleanArray>(array);
}

// The columns that the user knows.
Result<std::shared_ptr<arrow::RecordBatch>> FailedRows::shown(const Batch& batch) const {
  std::vector<int> columns;
  for (const std::string& name : spec_.given) {
    const int found = batch.columns->schema()->GetFieldIndex(name);
    FZ_CHECK(found >= 0);
    columns.push_back(found);
  }
  return batch.columns->SelectColumns(columns);
}

Status FailedRows::describe(const Batch& batch, const std::vector<Failure>& failures) {
  const Origin& origin = batch.origin;
  const bool known = origin.partition >= 0 && spec_.partitions != nullptr;
  const auto source = sources_.find(origin.source);
  const std::string name = known && source != sources_.end() ? source->second : "";
  const std::string partition = known ? spec_.partitions->name(origin.source, origin.partition) : "";
  const auto marks = MarkOf(batch, kPositionMark);
  const auto* positions = known ? static_cast<const arrow::Int64Array*>(marks.get()) : nullptr;
  const auto at = [&](int64_t row) {
    return positions == nullptr ? -1 : positions->Value(row) - origin.position_base;
  };
  if (example_.empty()) {
    const int64_t position = at(failures.front().row);
    example_ = position < 0 ? "" : partition + "@" + std::to_string(position) + ": ";
    example_ = (example_ + failures.front().reason).substr(0, kExampleBytes);
    // It goes through JSON, which is UTF-8; what was cut may be none.
    for (char& byte : example_) {
      if (static_cast<unsigned char>(byte) >= 0x80) byte = '?';
    }
  }
  if (spec_.given.empty() || aside_ == nullptr) return Status::OK();
  FZ_ASSIGN(const auto rows, shown(batch));
  FZ_ASSIGN(auto builder,
            arrow::RecordBatchBuilder::Make(spec_.schema, spec_.pool, static_cast<int64_t>(failures.size())));
  for (const Failure& failure : failures) {
    const auto text = JsonOf(*rows, failure.row);
    FZ_TRY(builder->GetFieldAs<arrow::StringBuilder>(0)->Append(name));
    FZ_TRY(builder->GetFieldAs<arrow::StringBuilder>(1)->Append(partition));
    FZ_TRY(builder->GetFieldAs<arrow::Int64Builder>(2)->Append(at(failure.row)));
    FZ_TRY(builder->GetFieldAs<arrow::StringBuilder>(3)->Append(failure.reason));
    auto* column = builder->GetFieldAs<arrow::StringBuilder>(4);
    FZ_TRY(failure.column.empty() ? column->AppendNull() : column->Append(failure.column));
    auto* raw = builder->GetFieldAs<arrow::BinaryBuilder>(5);
    const auto cut = static_cast<size_t>(limits::kRejectedRawBytes);
    FZ_TRY(text == nullptr ? raw->AppendNull() : raw->Append(text->substr(0, cut)));
    const auto size = text == nullptr ? 0 : static_cast<int64_t>(text->size());
    FZ_TRY(builder->GetFieldAs<arrow::Int64Builder>(6)->Append(size));
    FZ_TRY(builder->GetFieldAs<arrow::StringBuilder>(7)->Append(spec_.kind));
    FZ_TRY(builder->GetFieldAs<arrow::Int64Builder>(8)->Append(epoch_));
    FZ_TRY(builder->GetFieldAs<arrow::StringBuilder>(9)->Append(spec_.pipeline));
    FZ_TRY(builder->GetFieldAs<arrow::StringBuilder>(10)->Append(spec_.log));
  }
  FZ_ASSIGN(auto letters, builder->Flush());
  return aside_->push(Batch{std::move(letters), origin, nullptr});
}

}  // namespace frazil
