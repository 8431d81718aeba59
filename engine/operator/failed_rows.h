#pragma once

#include <arrow/array.h>
#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/batch.h"
#include "operator/batch_function.h"
#include "operator/operator.h"

namespace frazil {

// A row that cannot go on, and why.
struct Failure {
  int64_t row = 0;     // of the batch
  std::string reason;  // bounded by who makes it
  std::string column;  // to blame: a column, or a function; empty: none
};

// The rows that fail in a step, in one worker (a user's function raised for them): counted, and described for
// the step's `failed` stream, which has the columns of RejectedSchema. In a stream of changes only rows that
// are new count: one before a change that fails was never given. The worker's thread, but for counts().
class FailedRows {
 public:
  struct Spec {
    std::shared_ptr<arrow::Schema> schema;  // RejectedSchema
    std::string kind;                       // of the letters
    std::vector<std::string> given;  // columns of the input that a letter shows; empty: none are described
    std::string pipeline, log;       // whose epochs these are
    const PartitionNames* partitions = nullptr;
    arrow::MemoryPool* pool = arrow::default_memory_pool();
  };
  // Of rows that were given to the step, since the start of the job.
  struct Counts {
    int64_t given = 0;
    int64_t good = 0;
    int64_t failed = 0;
  };

  explicit FailedRows(Spec spec) : spec_(std::move(spec)) {}

  void set_output(Output* aside) { aside_ = aside; }
  // Names of sources by node of the plan.
  void name_sources(std::map<int32_t, std::string> names) { sources_ = std::move(names); }
  // Which epoch the rows that follow belong to.
  void begin(Epoch epoch) {
    epoch_ = epoch;
    example_.clear();
  }

  // Counts the rows of a batch, and sets aside those that failed, given in their order. Gives which rows are
  // left; null: all.
  Result<std::shared_ptr<arrow::BooleanArray>> take(const Batch& batch, const std::vector<Failure>& failed);

  Counts counts() const { return {given_.load(), good_.load(), failed_.load()}; }
  // The first row that failed in this epoch, and why.
  const std::string& example() const { return example_; }

 private:
  Status describe(const Batch& batch, const std::vector<Failure>& failures);
  Result<std::shared_ptr<arrow::RecordBatch>> shown(const Batch& batch) const;

  const Spec spec_;
  std::map<int32_t, std::string> sources_;
  Output* aside_ = nullptr;
  Epoch epoch_ = 0;
  std::string example_;
  std::atomic<int64_t> given_{0}, good_{0}, failed_{0};
};

// A step in which rows may fail. They are set aside, or, without FailedRows, end the run.
class FailingStep : public Operator {
 public:
  explicit FailingStep(std::unique_ptr<FailedRows> failed) : failed_(std::move(failed)) {}
  void set_aside(Output* aside) override {
    if (failed_ != nullptr) failed_->set_output(aside);
  }
  FailedRows* failed() const { return failed_.get(); }

 protected:
  const std::unique_ptr<FailedRows> failed_;
};

}  // namespace frazil
