#pragma once

#include <arrow/util/key_value_metadata.h>

#include <memory>
#include <string>

#include "operator/call_function.h"

namespace frazil {

// A CallUdf whose function keeps what it made of its arguments: one cache for all workers of a process,
// behind the function, which finds it by the node. The operator only has it in checkpoints. As a cache is
// right wherever it is, each worker saves what was made for its own rows, and restores what all of them
// saved.
//
// What a call is stands in the metadata of the batch's schema: `what`, `node`, and `instance`, which tells
// the operators of a process apart.
//   rows     the arguments, and of changes their `kind`; the answer is the column
//   save     no rows; gives `key` and `value` (binary) of what was made for this instance since the last
//   save;
//            with `full` = "1" those of one instance, and the same of all, are the whole cache
//   restore  `key` and `value` that were saved; the answer is not read
class CachedUdf : public Operator {
 public:
  // The pool outlives the operator.
  CachedUdf(CallUdf::Spec spec, const std::string& node, arrow::MemoryPool* pool);

  Result<Progress> process(Batch batch, Output& out) override { return call_.process(std::move(batch), out); }

  bool stateful() const override { return true; }
  Status freeze(bool full) override;
  Result<bool> save(int64_t rows_max, StateRows* rows) override;
  // Errors are kState: rows of another shape.
  Status restore(const std::shared_ptr<arrow::RecordBatch>& rows) override;

 private:
  Result<std::shared_ptr<arrow::RecordBatch>> ask(const std::string& what, bool full,
                                                  const std::shared_ptr<arrow::RecordBatch>& rows) const;

  const std::string reference_;
  const BatchFunction function_;
  const std::string node_, instance_;
  arrow::MemoryPool* const pool_;
  CallUdf call_;
  std::shared_ptr<arrow::RecordBatch> frozen_;  // what save() gives from `given_` on
  int64_t given_ = 0;
};

}  // namespace frazil
