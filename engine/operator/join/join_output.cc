#define XXH_INLINE_ALL
#include "operator/join/join_output.h"

#include <arrow/api.h>
#include <xxhash.h>

#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/schema_text.h"
#include "operator/time/order_mark.h"

namespace frazil {
namespace {

// The order mark of rows of a join: a hash of both.
Result<std::shared_ptr<arrow::Array>> Orders(const arrow::RecordBatch* left, const arrow::RecordBatch* right,
                                             int64_t rows, arrow::MemoryPool* pool) {
  arrow::FixedSizeBinaryBuilder builder(arrow::fixed_size_binary(kOrderBytes), pool);
  FZ_TRY(builder.Reserve(rows));
  const auto order = [](const arrow::RecordBatch* side) {
    return side == nullptr
               ? nullptr
               : &static_cast<const arrow::FixedSizeBinaryArray&>(*side->column(side->num_columns() - 1));
  };
  const arrow::FixedSizeBinaryArray* marks[] = {order(left), order(right)};
  for (int64_t i = 0; i < rows; ++i) {
    uint8_t both[2 * kOrderBytes] = {};
    for (int side = 0; side < 2; ++side) {
      if (marks[side] == nullptr) continue;
      std::memcpy(both + side * kOrderBytes, marks[side]->GetValue(i), kOrderBytes);
    }
    const XXH128_hash_t hash = XXH3_128bits(both, sizeof both);
    static_assert(sizeof hash == kOrderBytes);
    builder.UnsafeAppend(reinterpret_cast<const uint8_t*>(&hash));
  }
  return builder.Finish();
}

}  // namespace

Result<std::shared_ptr<arrow::Schema>> JoinSchema(const nlohmann::json& spec) {
  return ParseSchema(spec.at("schema").get<std::string>());
}

Result<JoinOutput> JoinOutput::Make(const nlohmann::json& spec, const JoinInput& left, const JoinInput& right,
                                    arrow::MemoryPool* pool) {
  JoinOutput made(left, right, pool);
  FZ_ASSIGN(made.schema_, JoinSchema(spec));
  const auto& columns = spec.at("columns");
  const auto wrong = [&](const nlohmann::json& column) {
    return Error(ErrorKind::kConfig, "reading the plan: a join's column " + column.dump() +
                                         " is not there, or is of another type");
  };
  if (columns.size() != static_cast<size_t>(made.schema_->num_fields())) return wrong(columns);
  for (const auto& column : columns) {
    const auto source = column.at(0).get<std::string>();
    const auto& type = *made.schema_->field(static_cast<int>(made.columns_.size()))->type();
    Column bound;
    if (source == "left" || source == "right") {
      bound.source = source == "left" ? Column::Source::kLeft : Column::Source::kRight;
      const arrow::Schema& schema = source == "left" ? *left.schema : *right.schema;
      bound.number = schema.GetFieldIndex(column.at(1).get<std::string>());
      if (bound.number < 0 || !schema.field(bound.number)->type()->Equals(type)) return wrong(column);
    } else if (source == "either") {
      bound.source = Column::Source::kEither;
      bound.number = column.at(1).get<int>();
      if (bound.number < 0 || static_cast<size_t>(bound.number) >= left.keys.size()) return wrong(column);
      const auto key = static_cast<size_t>(bound.number);
      if (!left.key_types[key]->Equals(type) || !right.key_types[key]->Equals(type)) return wrong(column);
    } else if (source == "time") {
      bound.source = Column::Source::kTime;
      if (!type.Equals(*arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"))) return wrong(column);
    } else {
      return wrong(column);
    }
    made.columns_.push_back(bound);
  }
  return made;
}

Result<std::shared_ptr<arrow::Array>> JoinOutput::times(const JoinInput& input,
                                                        const arrow::RecordBatch& rows) const {
  FZ_ASSIGN(const std::vector<Timestamp> times, input.time.of(rows, pool_));
  arrow::TimestampBuilder builder(arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"), pool_);
  FZ_TRY(builder.AppendValues(times));
  return builder.Finish();
}

Result<std::shared_ptr<arrow::Array>> JoinOutput::column(const Column& column, const arrow::RecordBatch* left,
                                                         const arrow::RecordBatch* right) const {
  const int64_t rows = (left != nullptr ? left : right)->num_rows();
  const auto number = static_cast<size_t>(column.number);
  switch (column.source) {
    case Column::Source::kLeft:
      if (left != nullptr) return left->column(column.number);
      return arrow::MakeArrayOfNull(left_.schema->field(column.number)->type(), rows, pool_);
    case Column::Source::kRight:
      if (right != nullptr) return right->column(column.number);
      return arrow::MakeArrayOfNull(right_.schema->field(column.number)->type(), rows, pool_);
    case Column::Source::kEither:
      return left != nullptr ? left->column(left_.keys[number]) : right->column(right_.keys[number]);
    case Column::Source::kTime:
      return left != nullptr ? times(left_, *left) : times(right_, *right);
  }
  return Error(ErrorKind::kInternal, "a join's column has no source");
}

Result<Batch> JoinOutput::rows(const std::shared_ptr<arrow::RecordBatch>& left,
                               const std::shared_ptr<arrow::RecordBatch>& right) const {
  FZ_CHECK(left != nullptr || right != nullptr);
  const int64_t rows = (left != nullptr ? left : right)->num_rows();
  arrow::ArrayVector columns;
  for (const Column& each : columns_) {
    FZ_ASSIGN(auto made, column(each, left.get(), right.get()));
    columns.push_back(std::move(made));
  }
  Batch batch{arrow::RecordBatch::Make(schema_, rows, std::move(columns)), {}, nullptr};
  FZ_ASSIGN(auto orders, Orders(left.get(), right.get(), rows, pool_));
  SetMark(&batch, kOrderMark, std::move(orders));
  return batch;
}

}  // namespace frazil
