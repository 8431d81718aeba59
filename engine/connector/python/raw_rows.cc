#include "connector/python/raw_rows.h"

#include <arrow/api.h>
#include <arrow/util/key_value_metadata.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "base/limits.h"

namespace frazil {
namespace {

constexpr const char* kPlace = "frazil.place";
constexpr const char* kBase = "frazil.base";
constexpr int kColumns = 3;  // raw, at, reason; metadata is behind them

bool HasColumns(const arrow::RecordBatch& read) {
  return read.num_columns() >= kColumns && read.column(0)->type_id() == arrow::Type::BINARY &&
         read.column(1)->type_id() == arrow::Type::INT64 && read.column(2)->type_id() == arrow::Type::STRING;
}

RejectedRow Rejected(const std::string& place, int64_t at, std::string_view reason, std::string_view raw) {
  RejectedRow row;
  row.place = place;
  row.position = at;
  row.reason = reason;
  row.raw = raw.substr(0, static_cast<size_t>(limits::kRejectedRawBytes));
  row.raw_bytes = static_cast<int64_t>(raw.size());
  return row;
}

}  // namespace

bool IsRaw(const arrow::RecordBatch& read) {
  const auto& metadata = read.schema()->metadata();
  return metadata != nullptr && metadata->Contains(kPlace);
}

Result<RawBatch> RawOf(const arrow::RecordBatch& read, Origin* origin, arrow::MemoryPool* pool) {
  if (!HasColumns(read)) {
    return Error(ErrorKind::kInternal, "rows of bytes from Python: " + read.schema()->ToString());
  }
  RawBatch raw;
  FZ_ASSIGN(raw.place, read.schema()->metadata()->Get(kPlace));
  FZ_ASSIGN(const std::string base, read.schema()->metadata()->Get(kBase));
  const auto& values = static_cast<const arrow::BinaryArray&>(*read.column(0));
  const auto& at = static_cast<const arrow::Int64Array&>(*read.column(1));
  const auto& reasons = static_cast<const arrow::StringArray&>(*read.column(2));
  // With a line feed behind each: rows that are lines are decoded faster.
  FZ_ASSIGN(auto data,
            arrow::AllocateBuffer(values.total_values_length() + values.length() + kRawPadding, pool));
  uint8_t* to = data->mutable_data();
  for (int64_t row = 0; row < values.length(); ++row) {
    const std::string_view value = values.GetView(row);
    if (reasons.IsValid(row)) {
      raw.rejected.push_back(Rejected(raw.place, at.Value(row), reasons.GetView(row), value));
      continue;
    }
    raw.offset.push_back(static_cast<uint32_t>(to - data->mutable_data()));
    raw.length.push_back(static_cast<uint32_t>(value.size()));
    raw.position.push_back(at.Value(row));
    to = std::copy(value.begin(), value.end(), to);
    *to++ = '\n';
  }
  std::memset(to, 0, static_cast<size_t>(kRawPadding));
  raw.data = std::move(data);
  origin->position_base = std::stoll(base);
  origin->position_begin = raw.rows() == 0 ? 0 : raw.position.front();
  origin->position_end = raw.rows() == 0 ? 0 : raw.position.back() + 1;
  // A read has rows or bad ones, so that metadata is of its rows.
  if (raw.rows() > 0 && !raw.rejected.empty()) {
    return Error(ErrorKind::kInternal, "rows of bytes from Python: good ones and bad ones in one read");
  }
  auto metadata = read.Slice(0, raw.rows());
  for (int column = 0; column < kColumns; ++column) {
    FZ_ASSIGN(metadata, metadata->RemoveColumn(0));
  }
  raw.metadata = std::move(metadata);
  return raw;
}

}  // namespace frazil
