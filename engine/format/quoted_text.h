#pragma once

#include <string>
#include <string_view>

namespace frazil {

// A text of a message in an error, cut at a character; bytes that are no UTF-8 are shown as \xff.
std::string QuotedText(std::string_view text);

// The place of an item in a path: "[3]".
std::string Bracketed(const std::string& text);

}  // namespace frazil
