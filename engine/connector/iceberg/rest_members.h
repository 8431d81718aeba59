#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace frazil::iceberg {

// One member of a JSON object, as it is written. Views of the object's text.
struct RestMember {
  std::string_view key;    // with its quotes
  std::string_view value;  // without spaces around it
  std::string_view whole;  // from the key to the end of the value
};

// Gives the members of a JSON object in the order in which they come; false if the text is no object, or its
// members cannot be told apart. Values are gone over and not checked.
bool MembersOf(std::string_view text, std::vector<RestMember>* members);

// The text of a JSON string with its quotes; nullopt if it is none.
std::optional<std::string> TextOf(std::string_view quoted);

// What a value of JSON is as a value of a column.
struct RestValue {
  // kJson: an object or an array, as text. kNone: no column holds it: an integer of more than 64 bits, a
  // number beyond doubles, or no JSON.
  enum class Kind { kNull, kBool, kLong, kDouble, kString, kJson, kNone };
  Kind kind = Kind::kNone;
  bool boolean = false;
  int64_t integer = 0;
  double number = 0;
  std::string text;  // of kString and kJson
};
RestValue ValueOf(std::string_view value);

}  // namespace frazil::iceberg
