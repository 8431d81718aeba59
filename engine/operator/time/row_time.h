#pragma once

#include <arrow/record_batch.h>
#include <arrow/type.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/batch.h"
#include "base/status.h"

namespace frazil {

// Where the event time of an operator's input is: a column, less some microseconds.
struct RowTime {
  int column = 0;
  int64_t minus = 0;  // us

  // Reads "time":{"column","minus_us"} of a node. Errors (kConfig): no such column, or no timestamp.
  static Result<RowTime> Make(const nlohmann::json& spec, const arrow::Schema& input);

  // The time of every row, us. Errors: a time that is out of range, and (a defect) null.
  Result<std::vector<Timestamp>> of(const arrow::RecordBatch& rows, arrow::MemoryPool* pool) const;
};

}  // namespace frazil
