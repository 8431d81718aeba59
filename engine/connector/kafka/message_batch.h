#pragma once

#include <arrow/builder.h>
#include <arrow/record_batch.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/batch.h"
#include "base/status.h"

namespace frazil::kafka {

// Makes messages of rows, see connector/kafka/sink.h. One per sink, keeps its buffers between calls.
class MessageBatch {
 public:
  MessageBatch(std::vector<std::string> key, int64_t bytes_max, arrow::MemoryPool* pool);

  // Encodes rows behind those that are here.
  Status add(const Batch& batch);

  // Bytes of keys and values that are here.
  int64_t bytes() const { return keys_.value_data_length() + values_.value_data_length(); }

  bool empty() const { return keys_.length() == 0; }

  // All messages, which are here no longer.
  Result<std::shared_ptr<arrow::RecordBatch>> take();

 private:
  Status encode_keys(const arrow::RecordBatch& rows);
  Status add_message(int64_t row, const std::string_view* key, const std::string_view* value);

  const std::vector<std::string> key_;
  const int64_t bytes_max_;
  arrow::BinaryBuilder keys_, values_;
  std::string text_;               // values of the batch, a line each
  std::string key_text_;           // keys of it
  std::vector<size_t> key_end_;    // in key_text_
  std::vector<bool> key_is_null_;  // by row
};

}  // namespace frazil::kafka
