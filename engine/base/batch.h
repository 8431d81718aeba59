#pragma once

#include <arrow/record_batch.h>
#include <arrow/type.h>

#include <cstdint>
#include <limits>
#include <memory>
#include <string>

namespace frazil {

// Number of a checkpoint: the slot its manifest takes in the checkpoint log.
using Epoch = int64_t;

// Event times and watermarks: microseconds since 1970-01-01 UTC. A watermark W says: every in-bound row still
// to come has time >= W.
using Timestamp = int64_t;
constexpr Timestamp kWatermarkMin = std::numeric_limits<Timestamp>::min();  // nothing is known yet
constexpr Timestamp kWatermarkMax = std::numeric_limits<Timestamp>::max();  // no row will ever come

// Hidden columns stand behind the visible ones. Which of them an edge carries is fixed by the plan
// (EdgeSchema), never by a batch. Column names beginning with kHiddenPrefix are refused in user schemas.
constexpr std::string_view kHiddenPrefix = "__fz_";
constexpr std::string_view kKindColumn = "__fz_kind";  // uint8, RowKind: changes streams only

// Marks: what the engine notes of each row beside its columns, by name. A batch has only those that its rows
// need; operators that keep rows keep their marks.
constexpr std::string_view kRowWatermarkMark = "rw";  // int64, null for in-bound rows; absent if all are
constexpr std::string_view kPositionMark = "pos";     // int64, position_base + position of the row
constexpr std::string_view kRecordTimeMark = "at";    // int64, us: when the record was stored, null unknown
constexpr std::string_view kHashMark = "hash";        // uint64, hash of the exchange key
constexpr std::string_view kOrderMark = "ord";  // binary(16), what orders rows of one time: order_mark.h

enum class RowKind : uint8_t { kInsert = 0, kUpdateBefore = 1, kUpdateAfter = 2, kDelete = 3 };

// What flows on an edge of the plan: all columns, the first `visible` of which are the user's.
struct EdgeSchema {
  std::shared_ptr<arrow::Schema> schema;
  int visible = 0;
};

// Where the rows of a batch came from; positions are the connector's own unit (Kafka offset, byte or row of a
// file). A batch behind an exchange mixes partitions and has partition -1. position_base + position rises
// over all rows of a partition in the order in which they are read, over restarts too: it tells rows apart
// and puts them in order where a position alone does not (a partition of several files).
struct Origin {
  int32_t partition = -1;      // ordinal in the source's assignment
  int64_t position_begin = 0;  // of the first row
  int64_t position_end = 0;    // one past the last row
  int64_t position_base = 0;
  int32_t source = -1;  // node of the plan
};

// About 16 Ki rows or 2 MB of Arrow columns. Immutable and cheap to copy; it may be shared between threads.
struct Batch {
  std::shared_ptr<arrow::RecordBatch> columns;
  Origin origin;
  std::shared_ptr<arrow::RecordBatch> marks;  // null: none

  int64_t rows() const { return columns == nullptr ? 0 : columns->num_rows(); }
};

// Bytes a batch keeps alive, counting each buffer's used range once. Never zero for a batch with rows.
int64_t BatchBytes(const Batch& batch);

// A mark of the rows; null if the batch has none of this name.
std::shared_ptr<arrow::Array> MarkOf(const Batch& batch, std::string_view name);
// Sets or replaces a mark, or takes it away (null).
void SetMark(Batch* batch, std::string_view name, std::shared_ptr<arrow::Array> values);

// The columns without the hidden ones.
std::shared_ptr<arrow::RecordBatch> VisibleColumns(const Batch& batch);

}  // namespace frazil
