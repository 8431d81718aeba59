#pragma once

#include <arrow/array.h>
#include <arrow/memory_pool.h>
#include <arrow/type.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace frazil {

// Rows of columns of any type as bytes, one string a row, and back: what is kept of a key whose values are
// the user's. For each value a byte 0 (null) or 1, then of a value
//   numbers, times, decimals, binaries of a fixed width   their bytes in an Arrow array
//   true and false                                        a byte
//   strings, binaries                                     4 bytes of length, and the bytes
//   lists, maps                                           4 bytes of length, and the values
//   lists of a fixed size                                 the values
//   structs                                               the fields
// in little endian. Immutable, thread-safe.
class RowCodec {
 public:
  // Errors (kUser): a type that is none of these (dictionaries, unions, views, null).
  static Result<RowCodec> Make(arrow::FieldVector fields);

  const arrow::FieldVector& fields() const { return fields_; }

  // Appends the bytes of a row of the columns, which have the types given to Make. Errors: a value of more
  // than 4 GiB.
  Status encode(const arrow::ArrayVector& columns, int64_t row, std::string* bytes) const;

  // The columns of rows; one without bytes is null in all columns. Any bytes may be given (state files may be
  // damaged). Errors (kState): bytes that encode would not write; no memory; more than 2 GiB in a column.
  Result<arrow::ArrayVector> decode(std::span<const std::string_view> rows, arrow::MemoryPool* pool) const;

 private:
  explicit RowCodec(arrow::FieldVector fields) : fields_(std::move(fields)) {}

  arrow::FieldVector fields_;
};

}  // namespace frazil
