#include "connector/iceberg/open_partition.h"

#include <utility>

namespace frazil::iceberg {

Result<std::shared_ptr<arrow::RecordBatch>> OpenPartition::TakeRows(arrow::MemoryPool* pool) {
  const std::vector<Piece> taken = std::exchange(pieces, {});
  rows = 0;
  arrow::RecordBatchVector slices;
  slices.reserve(taken.size());
  for (const Piece& piece : taken) {
    const bool whole = piece.offset == 0 && piece.length == piece.rows->num_rows();
    slices.push_back(whole ? piece.rows : piece.rows->Slice(piece.offset, piece.length));
  }
  if (slices.size() == 1) return slices[0];
  return arrow::ConcatenateRecordBatches(slices, pool);
}

}  // namespace frazil::iceberg
