#pragma once

#include <memory>
#include <string>

#include "format/decoder.h"
#include "format/json_cursor.h"

namespace frazil {

// Reads messages one by one into columns. Not thread-safe.
class MessageReader {
 public:
  virtual ~MessageReader() = default;

  // See Decoder.
  virtual Result<bool> ready(const RawBatch&) { return true; }
  virtual bool may_wait() const { return false; }
  virtual std::string condition() const { return {}; }

  // Begins a batch that is ready.
  virtual Status Begin(int64_t rows) = 0;
  // Reads one of its messages as a row; a false says why there is none. An error means that nothing can be
  // read any more.
  virtual Result<bool> Read(std::string_view message, JsonFailure& failure) = 0;
  // Gives the rows.
  virtual Result<std::shared_ptr<arrow::RecordBatch>> Finish() = 0;
};

// Makes the decoder of which each message is a row.
std::unique_ptr<Decoder> MakeMessageDecoder(std::unique_ptr<MessageReader> messages);

// A message as it is told of when it could not be read.
RejectedRow RejectedMessage(const RawBatch& raw, int64_t row, const JsonFailure& failure);

}  // namespace frazil
