#pragma once

#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>

#include <array>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/batch.h"
#include "operator/join/join_side.h"
#include "operator/operator.h"
#include "state/key_codec.h"

namespace frazil {

// What a join of two streams writes into a checkpoint, and reads again: rows of (hash, what, left_watermark,
// right_watermark, left, right). `what` is 0 a left row, 1 a right row, 2 how far both watermarks were, for
// every worker. `left` and `right` are the columns that are held, JoinSide::schema().
class JoinSaved {
 public:
  JoinSaved(std::array<std::shared_ptr<arrow::Schema>, 2> sides, arrow::MemoryPool* pool);

  // The rows of a side that are not in a checkpoint, or all of them, in batches behind those of `out`.
  Status save(int side, const JoinSide& held, const JoinInput& input, const KeyCodec& keys, bool full,
              StateRows* out) const;
  Result<std::shared_ptr<arrow::RecordBatch>> note(const std::array<Timestamp, 2>& watermarks) const;

  // Rows that were read, by side, and the furthest watermarks. Errors (kState): other columns, damage.
  struct Restored {
    std::vector<std::pair<int, std::shared_ptr<arrow::RecordBatch>>> rows;
    std::array<Timestamp, 2> watermarks = {kWatermarkMin, kWatermarkMin};
  };
  Status read(const std::shared_ptr<arrow::RecordBatch>& rows, Restored* into) const;

  static Status Damaged(const std::string& text);

 private:
  std::shared_ptr<arrow::Schema> schema_;
  arrow::MemoryPool* const pool_;
};

}  // namespace frazil
