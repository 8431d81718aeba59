#pragma once

#include <arrow/record_batch.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"

namespace frazil {

// Writes rows as Avro in the wire format of Confluent's serializers: a zero byte, the id of the schema, the
// value. Columns go to the fields of a record by name, each has to have one; a field without a column is
// null, if it may be. Nothing is cut off: what does not fit its type (a null, a number out of its range, a
// time too fine, a text that is no symbol of an enum) is a kUser error that names the place. Not thread-safe.
//
// Types: bool; integers into int and long, float and double that hold all of them, and decimals; float and
// double; decimals into bytes and fixed of at least their digits; text into string and enum; binary and fixed
// size binary into bytes and fixed; uuids into strings and fixed; dates, times, timestamps and durations into
// the logical types and the names of Kafka Connect (AvroMeaningOf); lists, maps (of keys that are no texts:
// arrays of records of key and value), structs, dictionaries as their values, null. Unions of null and one
// other.
class AvroEncoder {
 public:
  // `texts`: the schema, behind those it refers to. If it is no record there has to be one column, whose
  // values are written. A kConfig error says what of the columns does not go with it.
  static Result<std::unique_ptr<AvroEncoder>> Make(const arrow::Schema& columns,
                                                   const std::vector<std::string>& texts, int32_t id);
  virtual ~AvroEncoder() = default;

  // Begins with rows of these columns, which live until the last Append().
  virtual Status Begin(const arrow::RecordBatch& rows) = 0;
  // Appends a row, with its header.
  virtual Status Append(int64_t row, std::string* out) = 0;
};

}  // namespace frazil
