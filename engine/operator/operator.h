#pragma once

#include "base/batch.h"
#include "base/status.h"

namespace frazil {

// Where an operator puts its rows. push() never blocks: backpressure is that the worker gives no input to a
// stage whose outgoing channels have no credit. An operator that makes many batches of one input asks full()
// between them and answers kMore.
class Output {
 public:
  virtual ~Output() = default;
  virtual Status push(Batch batch) = 0;
  virtual bool full() const = 0;
};

enum class Progress {
  kDone,
  kMore,  // the output is full: call resume() before any further input or barrier
};

// Transforms batches; owns its state; one replica per worker, called by that worker's thread only; never
// blocks.
class Operator {
 public:
  virtual ~Operator() = default;

  virtual Result<Progress> process(Batch batch, Output& out) = 0;

  // Continues an emission that ended with kMore.
  virtual Result<Progress> resume(Output&) { return Progress::kDone; }

  // The watermark of the input is now `to`. promise() afterwards gives the one the operator can promise.
  virtual Result<Progress> advance(Timestamp to, Output&) {
    promise_ = to;
    return Progress::kDone;
  }

  // The largest watermark that holds for every row still to come out of this operator.
  virtual Timestamp promise() const { return promise_; }

 protected:
  Timestamp promise_ = kWatermarkMin;
};

}  // namespace frazil
