#pragma once

#include <arrow/array.h>

#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"

namespace frazil::expr {

// True for types that HashRows takes: everything but nested and extension types.
bool IsHashable(const arrow::DataType& type);

// One hash per row over all columns (of equal length, at least one): XXH64, each column seeded with the hash
// of those before it, beginning with 0. It is part of the contract that it never changes. What is hashed:
// integers, dates and times as int64, floats as float64 (-0 as 0, any NaN alike), bools as one byte, decimals
// as 16 bytes little endian (32 for decimal256) of the unscaled value, strings and binaries as their bytes;
// null as the byte 0x9E with the seed's bits flipped.
Result<std::shared_ptr<arrow::UInt64Array>> HashRows(const arrow::ArrayVector& columns,
                                                     arrow::MemoryPool* pool);

// The 32 bytes of SHA-256.
std::string Sha256(std::string_view bytes);

}  // namespace frazil::expr
