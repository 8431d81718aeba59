#pragma once

#include <arrow/array.h>
#include <arrow/type.h>

#include <cstdint>
#include <string>

#include "base/status.h"

namespace frazil {

// Whether rows can be sorted by values of a type: numbers, text, bytes, booleans, dates, times, durations.
bool Sortable(const arrow::DataType& type);

// Adds bytes of a value that compare as the values do, descending ones the other way round; no value's bytes
// are the beginning of another's. -0.0 is 0.0. In both directions NaN comes after all numbers, and null after
// that. The type is Sortable.
void AppendSortKey(const arrow::Array& values, int64_t row, bool descending, std::string* bytes);

}  // namespace frazil
