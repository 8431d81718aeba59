#pragma once

#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/batch.h"
#include "operator/join/join_side.h"

namespace frazil {

// How a join makes its columns of those of its inputs.
class JoinOutput {
 public:
  // Reads {"schema": SCHEMA, "columns": [[source, column], ...]}, a source for each column: "left", "right",
  // "either" (a key of the left row, or where there is none that of the right one; column is its number), or
  // "time" (the event time, likewise). Errors (kConfig): columns that are not there, or of another type.
  static Result<JoinOutput> Make(const nlohmann::json& spec, const JoinInput& left, const JoinInput& right,
                                 arrow::MemoryPool* pool);

  // Rows of both sides, of JoinSide::schema(), that belong together one by one; null: no row of that side.
  // The order mark of the result is a hash of both.
  Result<Batch> rows(const std::shared_ptr<arrow::RecordBatch>& left,
                     const std::shared_ptr<arrow::RecordBatch>& right) const;

  const std::shared_ptr<arrow::Schema>& schema() const { return schema_; }

 private:
  struct Column {
    enum class Source { kLeft, kRight, kEither, kTime };
    Source source = Source::kLeft;
    int number = 0;
  };

  JoinOutput(const JoinInput& left, const JoinInput& right, arrow::MemoryPool* pool)
      : left_(left), right_(right), pool_(pool) {}

  Result<std::shared_ptr<arrow::Array>> column(const Column& column, const arrow::RecordBatch* left,
                                               const arrow::RecordBatch* right) const;
  Result<std::shared_ptr<arrow::Array>> times(const JoinInput& input, const arrow::RecordBatch& rows) const;

  JoinInput left_, right_;
  arrow::MemoryPool* pool_;
  std::shared_ptr<arrow::Schema> schema_;
  std::vector<Column> columns_;
};

// The columns of a join's output, as its node says them.
Result<std::shared_ptr<arrow::Schema>> JoinSchema(const nlohmann::json& spec);

}  // namespace frazil
