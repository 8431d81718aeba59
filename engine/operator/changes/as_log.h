#pragma once

#include <arrow/memory_pool.h>
#include <arrow/type.h>

#include <memory>

#include "operator/operator.h"

namespace frazil {

// The visible columns, then `_kind` (string, not null): "insert", "update_before", "update_after", "delete".
Result<std::shared_ptr<arrow::Schema>> LogSchema(const arrow::Schema& input);

// Makes rows of changes: each is a new row, whose kind is a column. A stream without changes has inserts
// only.
class AsLog : public Operator {
 public:
  AsLog(std::shared_ptr<arrow::Schema> output, arrow::MemoryPool* pool)
      : output_(std::move(output)), pool_(pool) {}

  Result<Progress> process(Batch batch, Output& out) override;

 private:
  const std::shared_ptr<arrow::Schema> output_;
  arrow::MemoryPool* const pool_;
};

}  // namespace frazil
