#pragma once

#include <arrow/record_batch.h>

#include <string>

#include "base/status.h"

namespace frazil {

// Appends a batch as JSON lines: one object a row, keys in column order, nulls written as null. Every value
// can be read back exactly: decimals are numbers with all their digits, floats the shortest text that gives
// the same value (NaN and infinities, which JSON lacks, are the strings "NaN", "Infinity", "-Infinity"),
// dates and times are ISO 8601 strings
// ("Z" if there is a time zone), bytes are base64, uuids their usual text, maps are objects if their keys are
// text, else lists of {"key", "value"}, durations a number of their unit. kConfig error for a type JSON lines
// cannot hold.
Status AppendJsonLines(const arrow::RecordBatch& batch, std::string* out);

// Appends text as a JSON string with its quotes.
void AppendJsonString(std::string_view text, std::string* out);

}  // namespace frazil
