#pragma once

#include <arrow/api.h>

#include <utility>

#include "base/status.h"

namespace frazil {

// Offsets and nulls of a column of lists; the items are built beside.
class ListColumn {
 public:
  explicit ListColumn(arrow::MemoryPool* pool) : offsets_(pool), valid_(pool) {}

  // A list begins with the item of that number.
  Status begin(int64_t item) { return append(item, true); }
  Status null(int64_t item) { return append(item, false); }

  Result<std::shared_ptr<arrow::Array>> finish(std::shared_ptr<arrow::DataType> type,
                                               const std::shared_ptr<arrow::Array>& items) {
    const int64_t rows = valid_.length();
    const int64_t nulls = valid_.false_count();
    FZ_TRY(offset(items->length()));
    std::shared_ptr<arrow::Buffer> offsets, valid;
    FZ_TRY(offsets_.Finish(&offsets));
    FZ_TRY(valid_.Finish(&valid));
    if (nulls == 0) valid = nullptr;
    return arrow::MakeArray(
        arrow::ArrayData::Make(std::move(type), rows, {valid, offsets}, {items->data()}, nulls));
  }

 private:
  Status append(int64_t item, bool valid) {
    FZ_TRY(valid_.Append(valid));
    return offset(item);
  }
  Status offset(int64_t item) {
    if (item > INT32_MAX)
      return Error(ErrorKind::kUser, "building a column of lists: it has more than 2^31 items");
    return offsets_.Append(static_cast<int32_t>(item));
  }

  arrow::TypedBufferBuilder<int32_t> offsets_;
  arrow::TypedBufferBuilder<bool> valid_;
};

}  // namespace frazil
