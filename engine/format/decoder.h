#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "format/raw_batch.h"

namespace frazil {

struct Decoded {
  std::shared_ptr<arrow::RecordBatch> rows;  // the good rows, in order; schema as given to the decoder
  // Row numbers in the RawBatch of the good rows, rising; one that gave two rows stands there twice. Empty =
  // each row gave one.
  std::vector<int32_t> kept;
  std::vector<RejectedRow> rejected;  // one per bad row, in order
  int64_t dropped = 0;                // rows of the RawBatch that are neither good nor bad: nothing to say
};

// Turns bytes into columns. One per worker, not thread-safe, keeps its buffers between calls. A bad row costs
// only itself: it is in `rejected`, every other row is in `rows`. A Status error means that the decoder
// itself is unusable.
class Decoder {
 public:
  virtual ~Decoder() = default;
  virtual Result<Decoded> decode(const RawBatch& raw) = 0;

  // False if something from outside that these rows need (a schema) is not here yet: it has been asked for,
  // the waker of the source is called when it may be, and then this is asked again of the same rows. decode()
  // is only called behind a true. Errors end the run.
  virtual Result<bool> ready(const RawBatch&) { return true; }
  // True if ready() may ever say no.
  virtual bool may_wait() const { return false; }
  // What it waits for, for people; empty if it does not.
  virtual std::string condition() const { return {}; }
};

}  // namespace frazil
