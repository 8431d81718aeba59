#pragma once

#include <arrow/type.h>

#include <functional>
#include <memory>
#include <string>

#include "base/status.h"
#include "format/debezium_types.h"

namespace frazil {

// What is read of a column of the table on one side of an event (kBeforeField, kAfterField; "" of unwrapped
// ones).
using DebeziumColumn =
    std::function<Result<std::shared_ptr<arrow::Field>>(const arrow::Field& column, const std::string& side)>;

// The schema by which events are read, for debezium_rows.h: structs before and after, or the columns
// themselves of unwrapped events, and beside them what tells the kind of an event, and the columns of the
// envelope. `schema` is that of the rows. Columns of a row before may be missing, except the key's.
Result<std::shared_ptr<arrow::Schema>> DebeziumEventSchema(const arrow::Schema& schema,
                                                           const DebeziumOptions& options,
                                                           const DebeziumColumn& column);

// The column of the table that begins a path into events ("amount", "tags[2].x"), "" if none does.
std::string DebeziumColumnAt(const arrow::Schema& schema, std::string_view path);

}  // namespace frazil
