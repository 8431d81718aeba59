#pragma once

#include <arrow/scalar.h>
#include <arrow/type.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"

namespace frazil::iceberg {

// Iceberg's single-value serialization, in which bounds and partition values are kept: numbers little-endian,
// decimals as minimal big-endian two's complement, strings and binaries as their bytes, uuids as 16 bytes.

// The shortest form of a big-endian two's complement number: as few bytes as keep its value, at least one.
std::string DecimalBytes(std::string_view big_endian);
std::string DecimalBytes(int64_t unscaled);

// Bytes of a valid scalar of a type Iceberg has; kUser error for one it has not. Extension types count as
// storage.
Result<std::string> SingleValue(const arrow::Scalar& scalar);

// The first `width` code points of UTF-8 text; all of it if it has no more.
std::string_view TruncateText(std::string_view text, int64_t width);

// The least text of at most `width` code points that is not below `text`; nullopt if there is none.
std::optional<std::string> TruncateTextUp(std::string_view text, int64_t width);

// The same for bytes.
std::optional<std::string> TruncateBytesUp(std::string_view bytes, int64_t width);

// Lower-case hexadecimal.
std::string Hex(std::string_view bytes);

}  // namespace frazil::iceberg
