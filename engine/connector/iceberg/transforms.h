#pragma once

#include <arrow/array.h>
#include <arrow/memory_pool.h>
#include <arrow/type.h>

#include <cstdint>
#include <memory>
#include <string>

#include "base/status.h"

namespace frazil::iceberg {

// The type of a partition transform's result; kConfig error if Iceberg does not define it for `source`.
// `name`: identity, bucket, truncate, year, month, day, hour, void; `param` is N or W.
Result<std::shared_ptr<arrow::DataType>> TransformType(const std::string& name, int64_t param,
                                                       const arrow::DataType& source);

// Applies a transform to every value; null gives null, void gives nulls. Large text and bytes are taken too,
// and uuids as an extension or as 16 bytes. kConfig error as TransformType; overflow of truncate on the least
// integers is kUser.
Result<std::shared_ptr<arrow::Array>> Transform(const std::string& name, int64_t param,
                                                const std::shared_ptr<arrow::Array>& source,
                                                arrow::MemoryPool* pool);

// 32-bit Murmur3 (x86, seed 0) of bytes, as bucket uses it.
int32_t Murmur3(const void* data, int64_t size);

}  // namespace frazil::iceberg
