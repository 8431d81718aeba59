#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/status.h"
#include "format/raw_batch.h"

namespace frazil {

struct Decoded {
  std::shared_ptr<arrow::RecordBatch> rows;  // the good rows, in order; schema as given to the decoder
  std::vector<int32_t> kept;          // row numbers in the RawBatch of the good rows; empty = all of them
  std::vector<RejectedRow> rejected;  // one per bad row, in order
};

// Turns bytes into columns. One per worker, not thread-safe, keeps its buffers between calls. A bad row costs
// only itself: it is in `rejected`, every other row is in `rows`. A Status error means that the decoder
// itself is unusable.
class Decoder {
 public:
  virtual ~Decoder() = default;
  virtual Result<Decoded> decode(const RawBatch& raw) = 0;
};

}  // namespace frazil
