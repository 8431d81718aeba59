#include "operator/time/window_rows.h"

#include <arrow/api.h>

#include <string>
#include <utility>
#include <vector>

#include "base/calendar.h"

namespace frazil {
namespace {

const auto kTime = [] { return arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"); };

Result<std::shared_ptr<arrow::Array>> Times(std::span<const WindowResult> results,
                                            Timestamp WindowResult::*which, arrow::MemoryPool* pool) {
  arrow::TimestampBuilder builder(kTime(), pool);
  FZ_TRY(builder.Reserve(static_cast<int64_t>(results.size())));
  for (const WindowResult& result : results) builder.UnsafeAppend(result.*which);
  return builder.Finish();
}

// "window 2026-01-31T12:00:00Z of user=u7": for errors.
std::string GroupText(const arrow::Schema& schema, size_t keys, const arrow::ArrayVector& columns,
                      const WindowResult& result, int64_t row) {
  std::string text = "window " + IsoTimestamp(result.start, arrow::TimeUnit::MICRO, true);
  for (size_t i = 0; i < keys; ++i) {
    const auto value = columns[i]->GetScalar(row);
    text += (i == 0 ? " of " : ", ") + schema.field(static_cast<int>(i))->name() + "=" +
            (value.ok() ? (*value)->ToString() : "?");
  }
  return text;
}

}  // namespace

Result<std::shared_ptr<arrow::Schema>> WindowSchema(const nlohmann::json& spec,
                                                    const arrow::Schema& partial) {
  FZ_ASSIGN(const Accumulators accumulators, Accumulators::OfSaved(spec.at("aggregates"), partial));
  arrow::FieldVector fields;
  for (size_t i = 0; i < spec.at("keys").size(); ++i) fields.push_back(partial.field(static_cast<int>(i)));
  fields.push_back(arrow::field("window_start", kTime(), false));
  fields.push_back(arrow::field("window_end", kTime(), false));
  for (auto& field : accumulators.result_fields()) fields.push_back(std::move(field));
  return arrow::schema(std::move(fields));
}

Result<Batch> WindowRows(const std::shared_ptr<arrow::Schema>& schema, std::span<const WindowResult> results,
                         const KeyCodec& keys, const Accumulators& accumulators, arrow::MemoryPool* pool) {
  std::vector<std::string_view> names;
  std::vector<std::byte*> payloads;
  arrow::Int64Builder marks(pool);
  FZ_TRY(marks.Reserve(static_cast<int64_t>(results.size())));
  for (const WindowResult& result : results) {
    names.push_back(result.key);
    payloads.push_back(result.accumulators);
    marks.UnsafeAppend(static_cast<int64_t>(result.hash));
  }
  FZ_ASSIGN(arrow::ArrayVector columns, keys.decode(names, pool));
  for (const auto which : {&WindowResult::start, &WindowResult::end}) {
    FZ_ASSIGN(auto column, Times(results, which, pool));
    columns.push_back(std::move(column));
  }
  int64_t failed = -1;
  auto finished = accumulators.finish(payloads, pool, &failed);
  if (!finished.ok()) {
    if (failed < 0) return finished.status();
    const std::string where =
        GroupText(*schema, keys.types().size(), columns, results[static_cast<size_t>(failed)], failed);
    return NamedError("DataError", MessageOf(Prefixed(finished.status(), where)));
  }
  columns.insert(columns.end(), finished->begin(), finished->end());
  const auto count = static_cast<int64_t>(results.size());
  Batch batch{arrow::RecordBatch::Make(schema, count, std::move(columns)), {}, nullptr};
  FZ_ASSIGN(auto mark, marks.Finish());
  SetMark(&batch, kPositionMark, std::move(mark));
  return batch;
}

}  // namespace frazil
