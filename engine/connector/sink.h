#pragma once

#include <arrow/util/future.h>

#include <cstdint>
#include <string>

#include "base/batch.h"
#include "base/status.h"

namespace frazil {

// What a sink prepared in an epoch, as JSON with "v": the files it wrote, their statistics. Empty = no rows.
using Token = std::string;

// Writes the rows of one sink in one worker. Nothing is visible before the token's commit, which is done by the
// sink's committer in Python after the epoch's manifest is accepted. Called by the worker's thread only.
class Sink {
 public:
  virtual ~Sink() = default;

  // Takes rows of the current epoch. May block for local encoding and for writing what is full.
  virtual Status write(const Batch& batch) = 0;

  // Ends the epoch: closes what is open on the I/O pool and completes with the token. write() may be called for the
  // next epoch at once; at most two epochs are in flight. Names of files hold (attempt, epoch, uuid).
  virtual arrow::Future<Token> prepare(Epoch epoch) = 0;

  // Bytes held in open writers.
  virtual int64_t bytes() const { return 0; }
};

}  // namespace frazil
