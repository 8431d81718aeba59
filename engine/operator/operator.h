#pragma once

#include <arrow/record_batch.h>

#include <vector>

#include "base/batch.h"
#include "base/limits.h"
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

// State as rows: the first column is `hash` (uint64), the hash of the row's key; null for a row that every
// worker needs. All of an operator's batches have one schema.
using StateRows = std::vector<std::shared_ptr<arrow::RecordBatch>>;

// Transforms batches; owns its state; one replica per worker, called by that worker's thread only; never
// blocks.
class Operator {
 public:
  virtual ~Operator() = default;

  virtual Result<Progress> process(Batch batch, Output& out) = 0;
  // The same with the number of the input, for operators that have several.
  virtual Result<Progress> process(int /*port*/, Batch batch, Output& out) {
    return process(std::move(batch), out);
  }

  // Continues an emission that ended with kMore.
  virtual Result<Progress> resume(Output&) { return Progress::kDone; }

  // The watermark of input `port` is now `to`; it only grows. promise() afterwards gives the one the operator
  // can promise.
  virtual Result<Progress> advance(int /*port*/, Timestamp to, Output&) {
    promise_ = to;
    return Progress::kDone;
  }

  // True if it may have something to do at a time of the machine's clock. Then tick() is called at
  // next_tick() (us; kWatermarkMax: not at all for now) or soon after it, with what the clock says; not while
  // an emission is unfinished, and not behind the end of the input.
  virtual bool ticks() const { return false; }
  virtual Timestamp next_tick() const { return kWatermarkMax; }
  virtual Result<Progress> tick(Timestamp /*now*/, Output&) { return Progress::kDone; }

  // The largest watermark that holds for every row still to come out of this operator.
  virtual Timestamp promise() const { return promise_; }

  // Where rows go that are set aside (late ones); null: nobody reads them. Given before the first batch.
  virtual void set_aside(Output*) {}

  // True if a checkpoint has to hold what the operator knows.
  virtual bool stateful() const { return false; }
  // At a barrier: fixes what save() gives, which is what changed since the last call, or everything if
  // `full`. Takes no time that grows with that.
  virtual Status freeze(bool full) {
    FZ_ASSIGN(frozen_, state_changes(full));
    return Status::OK();
  }
  // Adds rows of it to `rows`, after looking at about that many; true if these were the last. Called until
  // then, and input comes in between, which changes nothing of what is given. Where nothing changed there are
  // no rows.
  virtual Result<bool> save(int64_t /*rows_max*/, StateRows* rows) {
    rows->insert(rows->end(), frozen_.begin(), frozen_.end());
    frozen_.clear();
    return true;
  }
  // Both at once, for tests.
  Result<StateRows> snapshot(bool full);
  // Takes rows of earlier snapshots, in their order, before the first batch: those whose key this worker has.
  virtual Status restore(const std::shared_ptr<arrow::RecordBatch>&) { return Status::OK(); }
  // Bytes of its state, and rows it refused as late; any thread.
  virtual int64_t state_bytes() const { return 0; }
  virtual int64_t late_rows() const { return 0; }

 protected:
  // What freeze() and save() of operators do that make all rows in one step.
  virtual Result<StateRows> state_changes(bool /*full*/) { return StateRows{}; }

  Timestamp promise_ = kWatermarkMin;

 private:
  StateRows frozen_;
};

inline Result<StateRows> Operator::snapshot(bool full) {
  FZ_TRY(freeze(full));
  StateRows rows;
  for (bool done = false; !done;) {
    FZ_ASSIGN(done, save(limits::kBatchRows, &rows));
  }
  return rows;
}

}  // namespace frazil
