#pragma once

#include <arrow/type.h>

#include <string>

#include "format/json_text_column.h"

namespace frazil {

// The members of an object that no column reads as a whole, as one JSON object in the order they come, each
// as it is written; null if there are none. They have to be JSON, unlike what is only gone over: otherwise
// the row cannot be read. Of a member that comes twice both are there.
class JsonRest {
 public:
  // True if a field asks for it: "fz:rest" in its metadata.
  static bool IsOne(const arrow::Field& field);
  // A field that is no nullable string, or has a source or a default, is a config error.
  static Status Check(const arrow::Field& field);

  // `column` is the one of such a field and outlives this.
  explicit JsonRest(JsonColumn* column) : column_(static_cast<JsonTextColumn<int32_t>*>(column)) {}

  // Forgets the members of the object before.
  void Begin() { text_.assign(1, '{'); }
  // Adds a member whose key begins at `begin`; the cursor stands behind its value.
  void Add(const char* begin, const JsonCursor& cursor);
  // Gives the column its value.
  bool End(JsonFailure& failure);

 private:
  JsonTextColumn<int32_t>* column_;
  std::string text_;  // of this object so far
};

}  // namespace frazil
