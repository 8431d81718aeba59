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
#include "format/avro_encode.h"

namespace frazil::kafka {

// A schema that messages are written with: its text, behind those it refers to, and its id in the registry.
struct MessageSchema {
  int32_t id = 0;
  std::vector<std::string> texts;
};

// How keys and values are written: as JSON or text without a schema, as Avro with one.
struct MessageForm {
  std::vector<std::string> key;  // columns
  std::unique_ptr<MessageSchema> key_schema;
  std::unique_ptr<MessageSchema> value_schema;
};

// Makes messages of rows, see connector/kafka/sink.h. One per sink, keeps its buffers between calls.
class MessageBatch {
 public:
  MessageBatch(MessageForm form, int64_t bytes_max, arrow::MemoryPool* pool);

  // Encodes rows behind those that are here.
  Status add(const Batch& batch);

  // Bytes of keys and values that are here.
  int64_t bytes() const { return keys_.value_data_length() + values_.value_data_length(); }

  bool empty() const { return keys_.length() == 0; }

  // All messages, which are here no longer.
  Result<std::shared_ptr<arrow::RecordBatch>> take();

 private:
  // Texts of the rows of a batch.
  struct Encoded {
    std::string text;
    std::vector<size_t> end;
    size_t tail = 0;  // bytes at the end of each that are not of it

    void clear();
    void push() { end.push_back(text.size()); }
    std::string_view at(size_t row) const;
  };

  Status encode_values(const arrow::RecordBatch& rows, const arrow::UInt8Array* kinds);
  Status encode_keys(const arrow::RecordBatch& rows);
  Status encode_key_texts(const arrow::RecordBatch& columns);
  Status add_message(int64_t row, const std::string_view* key, const std::string_view* value);

  const MessageForm form_;
  const int64_t bytes_max_;
  arrow::BinaryBuilder keys_, values_;
  std::unique_ptr<AvroEncoder> key_avro_, value_avro_;  // from the first rows on
  Encoded row_keys_, row_values_;                       // of the batch at hand
  std::vector<bool> key_is_null_;                       // by row
};

}  // namespace frazil::kafka
