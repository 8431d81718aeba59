#include "connector/memory/messages.h"

#include <arrow/array.h>

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>

namespace frazil {

Result<RawBatch> MessagesOf(const std::shared_ptr<arrow::RecordBatch>& table, int64_t first,
                            const std::string& place, arrow::MemoryPool* pool) {
  const int column = table->schema()->GetFieldIndex("raw");
  if (column < 0 || table->column(column)->type_id() != arrow::Type::BINARY) {
    return Error(ErrorKind::kConfig, "reading messages in memory: no column raw: binary");
  }
  const auto& values = static_cast<const arrow::BinaryArray&>(*table->column(column));
  int64_t bytes = 0;  // with a line feed behind each: rows that are lines are decoded faster
  for (int64_t row = 0; row < values.length(); ++row) bytes += values.value_length(row) + 1;
  FZ_ASSIGN(auto data, arrow::AllocateBuffer(bytes + kRawPadding, pool));
  uint8_t* to = data->mutable_data();
  RawBatch raw;
  raw.place = place;
  for (int64_t row = 0; row < values.length(); ++row) {
    const std::string_view value = values.IsNull(row) ? std::string_view() : values.GetView(row);
    raw.offset.push_back(static_cast<uint32_t>(to - data->mutable_data()));
    raw.length.push_back(values.IsNull(row) ? RawBatch::kNullRow : static_cast<uint32_t>(value.size()));
    raw.position.push_back(first + row);
    to = std::copy(value.begin(), value.end(), to);
    *to++ = '\n';
  }
  std::memset(to, 0, kRawPadding);
  raw.data = std::move(data);
  FZ_ASSIGN(raw.metadata, table->RemoveColumn(column));
  return raw;
}

}  // namespace frazil
