#pragma once

#include <string>

#include "format/proto_cursor.h"

namespace frazil {

// Whether values of a type are whole numbers; enums are.
bool IsProtoWhole(ProtoField::Type type);

// A whole number or boolean. One that its type does not hold is refused; other readers cut it.
bool TakeProtoWhole(ProtoField::Type type, const ProtoPiece& piece, __int128* value, JsonFailure& failure);

// A number of at most 64 bits as text.
std::string ProtoWholeText(__int128 value);

}  // namespace frazil
