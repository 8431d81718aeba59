#include "base/batch.h"

#include <arrow/util/byte_size.h>

#include <algorithm>

namespace frazil {

int64_t BatchBytes(const Batch& batch) {
  if (batch.columns == nullptr) return 0;
  auto referenced = arrow::util::ReferencedBufferSize(*batch.columns);
  const int64_t bytes = referenced.ok() ? *referenced : arrow::util::TotalBufferSize(*batch.columns);
  return std::max<int64_t>(bytes, batch.columns->num_rows());
}

}  // namespace frazil
