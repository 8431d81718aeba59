#include "operator/join/join_saved.h"

#include <arrow/api.h>

#include <algorithm>

#include "base/limits.h"

namespace frazil {
namespace {

// What a row of a checkpoint is: a left row (0), a right row (1), or:
constexpr int8_t kHowFar = 2;

Result<std::shared_ptr<arrow::Array>> All(const std::shared_ptr<arrow::Scalar>& value, int64_t rows,
                                          arrow::MemoryPool* pool) {
  return arrow::MakeArrayFromScalar(*value, rows, pool);
}

}  // namespace

JoinSaved::JoinSaved(std::array<std::shared_ptr<arrow::Schema>, 2> sides, arrow::MemoryPool* pool)
    : schema_(arrow::schema(
          {arrow::field("hash", arrow::uint64()), arrow::field("what", arrow::int8(), false),
           arrow::field("left_watermark", arrow::int64()), arrow::field("right_watermark", arrow::int64()),
           arrow::field("left", arrow::struct_(sides[0]->fields())),
           arrow::field("right", arrow::struct_(sides[1]->fields()))})),
      pool_(pool) {}

Status JoinSaved::Damaged(const std::string& text) {
  return Error(ErrorKind::kState,
               "restoring a join: " + text + "; the state is damaged or of another version");
}

Status JoinSaved::save(int side, const JoinSide& held, const JoinInput& input, const KeyCodec& keys,
                       bool full, StateRows* out) const {
  const std::vector<uint32_t> numbers = full ? held.all() : held.unsaved();
  const auto step = static_cast<size_t>(limits::kBatchRows);
  EncodedKeys encoded(pool_);
  for (size_t from = 0; from < numbers.size(); from += step) {
    const std::span part(numbers.data() + from, std::min(step, numbers.size() - from));
    FZ_ASSIGN(const auto rows, held.gather(part));
    const int64_t count = rows->num_rows();
    FZ_TRY(keys.encode(input.keys_of(*rows), count, &encoded));
    arrow::UInt64Builder hashes(pool_);
    FZ_TRY(hashes.AppendValues(encoded.hashes().data(), count));
    arrow::ArrayVector columns(6);
    FZ_TRY(hashes.Finish(&columns[0]));
    FZ_ASSIGN(columns[1], All(std::make_shared<arrow::Int8Scalar>(static_cast<int8_t>(side)), count, pool_));
    FZ_ASSIGN(columns[2], arrow::MakeArrayOfNull(arrow::int64(), count, pool_));
    columns[3] = columns[2];
    const auto at = static_cast<size_t>(4 + side), other = static_cast<size_t>(5 - side);
    FZ_ASSIGN(columns[at], arrow::StructArray::Make(rows->columns(), rows->schema()->fields()));
    FZ_ASSIGN(columns[other],
              arrow::MakeArrayOfNull(schema_->field(static_cast<int>(other))->type(), count, pool_));
    out->push_back(arrow::RecordBatch::Make(schema_, count, std::move(columns)));
  }
  return Status::OK();
}

Result<std::shared_ptr<arrow::RecordBatch>> JoinSaved::note(
    const std::array<Timestamp, 2>& watermarks) const {
  arrow::ArrayVector columns(6);
  FZ_ASSIGN(columns[1], All(std::make_shared<arrow::Int8Scalar>(kHowFar), 1, pool_));
  FZ_ASSIGN(columns[2], All(std::make_shared<arrow::Int64Scalar>(watermarks[0]), 1, pool_));
  FZ_ASSIGN(columns[3], All(std::make_shared<arrow::Int64Scalar>(watermarks[1]), 1, pool_));
  for (const int i : {0, 4, 5}) {
    FZ_ASSIGN(columns[static_cast<size_t>(i)], arrow::MakeArrayOfNull(schema_->field(i)->type(), 1, pool_));
  }
  return arrow::RecordBatch::Make(schema_, 1, std::move(columns));
}

Status JoinSaved::read(const std::shared_ptr<arrow::RecordBatch>& rows, Restored* into) const {
  if (!rows->schema()->Equals(*schema_, /*check_metadata=*/false)) {
    return Error(ErrorKind::kState, "restoring a join: the state has other columns: " +
                                        rows->schema()->ToString() + ", expected " + schema_->ToString());
  }
  const auto& what = static_cast<const arrow::Int8Array&>(*rows->column(1));
  for (int64_t from = 0, to = 0; from < rows->num_rows(); from = to) {
    const int8_t kind = what.Value(from);
    while (to < rows->num_rows() && what.Value(to) == kind) ++to;
    if (kind == kHowFar) {
      for (int side = 0; side < 2; ++side) {
        const auto& watermarks = static_cast<const arrow::Int64Array&>(*rows->column(2 + side));
        Timestamp& furthest = into->watermarks[static_cast<size_t>(side)];
        for (int64_t i = from; i < to; ++i) {
          if (watermarks.IsNull(i)) return Damaged("no watermark up to which it was");
          furthest = std::max(furthest, watermarks.Value(i));
        }
      }
      continue;
    }
    if (kind != 0 && kind != 1) return Damaged("rows of an unknown kind");
    const auto column = rows->column(4 + kind)->Slice(from, to - from);
    if (column->null_count() > 0) return Damaged("a row that is not there");
    FZ_ASSIGN(auto part, arrow::RecordBatch::FromStructArray(column, pool_));
    into->rows.emplace_back(kind, std::move(part));
  }
  return Status::OK();
}

}  // namespace frazil
