#pragma once

#include <arrow/buffer.h>
#include <arrow/record_batch.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace frazil {

// A row that could not be decoded. `raw` is cut at limits::kRejectedRawBytes, raw_bytes is the whole length.
struct RejectedRow {
  std::string place;
  int64_t position = 0;
  std::string reason;  // what was expected and what was found
  std::string column;  // empty if the row as a whole is bad
  std::string raw;
  int64_t raw_bytes = 0;
};

// Readable bytes after the last row of a RawBatch, for simdjson.
constexpr int64_t kRawPadding = 64;

// Rows as bytes, all from one partition, in position order. Row i is data[offset[i] .. offset[i] +
// length[i]); a length of kNullRow is a row without bytes (a Kafka tombstone). kRawPadding more bytes after
// the last row are readable; their content is any.
struct RawBatch {
  static constexpr uint32_t kNullRow = 0xffffffff;
  std::shared_ptr<arrow::Buffer> data;
  std::vector<uint32_t> offset;
  std::vector<uint32_t> length;
  std::vector<int64_t> position;  // per row: Kafka offset, byte offset of the line in its file
  // Where the rows are, for people: a file path, "orders-3". Shown in errors and `.rejected`.
  std::string place;
  // Metadata columns by name (key, offset, timestamp, ...), one value per row; may be null.
  std::shared_ptr<arrow::RecordBatch> metadata;
  // Rows the connector itself could not read (a line over the limit): already described, not in the rows
  // above.
  std::vector<RejectedRow> rejected;

  int64_t rows() const { return static_cast<int64_t>(offset.size()); }
  std::string_view row(int64_t i) const {
    return {reinterpret_cast<const char*>(data->data()) + offset[static_cast<size_t>(i)],
            length[static_cast<size_t>(i)]};
  }
};

}  // namespace frazil
