#pragma once

#include <cstdint>
#include <string_view>

#include "format/json_index.h"
#include "format/raw_batch.h"

namespace frazil {

// A message of Kafka Connect's JSON converter, taken apart. The views are into the message.
struct DebeziumMessage {
  enum class Kind {
    kRow,        // `payload` is the message, or what is in its wrapper
    kTombstone,  // no value, or null
  };
  Kind kind = Kind::kRow;
  std::string_view payload;
  std::string_view schema;  // JSON of the schema in the wrapper, empty if there is none
};

// Finds the wrapper {"schema": ..., "payload": ...} of messages. Not thread-safe.
class DebeziumUnwrapper {
 public:
  // What the message of a row holds. One that is not right JSON is a kRow of itself: reading it tells why.
  DebeziumMessage Take(const RawBatch& raw, int64_t row);
  Status Shrink() { return index_.Shrink(); }

 private:
  bool TakeWrapped(std::string_view row, DebeziumMessage* message);

  JsonIndex index_;
};

}  // namespace frazil
