#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"
#include "format/json_cursor.h"

namespace simdjson::internal {
class dom_parser_implementation;
}

namespace frazil {

// Finds the tokens of a text with simdjson's first stage, which also checks UTF-8, that strings are closed
// and that they hold no raw control characters. The text is a row, or many where one bad row cannot touch its
// neighbours (JsonRows). Not thread-safe.
class JsonIndex {
 public:
  JsonIndex();
  ~JsonIndex();

  // Makes room for rows of up to `bytes`; keeps what is there if it is enough. Call before Start with a
  // longer row.
  Status Reserve(size_t bytes);

  // Gives memory back when a long row has passed.
  Status Shrink();

  // Indexes a row (with kRawPadding readable bytes behind it) and sets the cursor to its first token. Fails
  // with a reason if the row is not JSON on this level. The cursor is valid until the next call.
  bool Start(std::string_view row, JsonCursor* cursor, JsonFailure& failure);

 private:
  std::unique_ptr<simdjson::internal::dom_parser_implementation> stage_;
};

// One JSON text kept with its index: a default value.
class JsonText {
 public:
  static Result<JsonText> Make(std::string_view text);
  JsonCursor cursor() const;

 private:
  std::shared_ptr<const std::string>
      padded_;  // shared, so that moving the object keeps the text in its place
  std::shared_ptr<JsonIndex> index_;
  JsonCursor cursor_;
};

}  // namespace frazil
