#pragma once

#include <string>
#include <string_view>

namespace frazil {

// A random (version 4) UUID, for names that must be new; 122 bits of the system's randomness. Thread-safe.
std::string RandomUuid();

// The text of 16 bytes: "f79c3e09-677c-4bbd-a479-3f349cb785e7".
std::string UuidText(std::string_view bytes);

}  // namespace frazil
