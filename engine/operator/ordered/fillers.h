#pragma once

#include <arrow/record_batch.h>
#include <arrow/scalar.h>
#include <arrow/type.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string_view>
#include <vector>

#include "base/batch.h"
#include "base/status.h"
#include "state/key_codec.h"

namespace frazil {

// The columns of the input; those that are null in windows without rows may be null.
Result<std::shared_ptr<arrow::Schema>> FilledSchema(const nlohmann::json& spec, const arrow::Schema& input);

// How rows are made for windows in which a key has none: of the key, the window, fixed values, and what is
// kept of the key's last row. Immutable.
class Fillers {
 public:
  // Reads "fill":[{"column","how"}], one for each column of the input. `how` is "key" (with "key", its number
  // among the keys), "start" or "end" of the window, "null", "previous", or "value" (with "value", an EXPR
  // without columns). Errors (kConfig): a column without one; types that do not fit.
  static Result<Fillers> Make(const nlohmann::json& spec, const arrow::Schema& input, const KeyCodec& keys,
                              arrow::MemoryPool* pool);

  // True if something is kept of the last row of a key: the columns of kept().
  bool keeps() const { return kept_->num_fields() > 0; }
  const std::shared_ptr<arrow::Schema>& kept() const { return kept_; }
  // These columns of rows of the input.
  std::shared_ptr<arrow::RecordBatch> keep(const arrow::RecordBatch& rows) const;

  const std::shared_ptr<arrow::Schema>& schema() const { return schema_; }
  // A row for each key in the window; `last` has what was kept for each, if something is. Errors: keys that
  // no codec wrote; no memory.
  Result<std::shared_ptr<arrow::RecordBatch>> rows(std::span<const std::string_view> keys,
                                                   const KeyCodec& codec, Timestamp start, Timestamp end,
                                                   const std::shared_ptr<arrow::RecordBatch>& last,
                                                   arrow::MemoryPool* pool) const;

 private:
  struct Column {
    enum class How { kKey, kStart, kEnd, kFixed, kPrevious };
    How how;
    int number;                            // of the key, or among the columns that are kept
    std::shared_ptr<arrow::Scalar> value;  // kFixed
  };

  static Result<Column> ColumnOf(const nlohmann::json& fill, const arrow::Field& field, const KeyCodec& keys,
                                 arrow::MemoryPool* pool);

  std::vector<Column> columns_;
  std::vector<int> sources_;  // of the columns that are kept, in the input
  std::shared_ptr<arrow::Schema> schema_, kept_;
};

}  // namespace frazil
