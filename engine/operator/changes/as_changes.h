#pragma once

#include <arrow/memory_pool.h>
#include <arrow/type.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "operator/operator.h"

namespace frazil {

// The columns but the one that says what a row does, then the kind.
Result<std::shared_ptr<arrow::Schema>> ChangesSchema(const nlohmann::json& spec, const arrow::Schema& input);

// Makes changes of rows of which a text column says what they do: "c" (created) and "r" (read) an insert, "u"
// an update of which there is the row after only, "d" a delete; capitals are the same. Anything else is an
// error (kUser), and so is null.
class AsChanges : public Operator {
 public:
  // Reads {"op": column}.
  static Result<std::unique_ptr<AsChanges>> Make(const nlohmann::json& spec, const arrow::Schema& input,
                                                 arrow::MemoryPool* pool);

  Result<Progress> process(Batch batch, Output& out) override;

 private:
  AsChanges(int column, std::shared_ptr<arrow::Schema> output, arrow::MemoryPool* pool)
      : column_(column), output_(std::move(output)), pool_(pool) {}

  const int column_;
  const std::shared_ptr<arrow::Schema> output_;
  arrow::MemoryPool* const pool_;
};

}  // namespace frazil
