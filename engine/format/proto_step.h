#pragma once

#include <memory>
#include <string>
#include <vector>

#include "format/proto_cursor.h"
#include "format/proto_schema.h"
#include "format/row_builders.h"

namespace frazil {

// Field metadata: the column is null, and not zero or empty, where a message lacks a field without presence.
constexpr const char* kZeroIsNullMetadata = "fz:zero_is_null";

// Puts a field of a message into a column. Made for the field of the writer's schema and the column. After a
// false the column may have a part of a value, see RowBuilders::GiveUp.
class ProtoStep {
 public:
  virtual ~ProtoStep() = default;
  // The values that the message has of the field, in order: of a number or text the last one only, of a
  // message those that are to be merged (none: an empty one), of a repeated field or map all, packed or not.
  virtual bool Take(const ProtoPiece* pieces, size_t count, JsonFailure& failure) = 0;
};

// What making the steps of one program goes by. All lives as long as the steps.
struct ProtoMaking {
  const ProtoSchema& schema;
  arrow::MemoryPool* pool;
  std::vector<std::string>* blamed;  // after an error: the column, then names inside it
  int64_t* messages_left;            // how many more messages one message may hold
};

// The step of a field. A decode error says that field and column do not go together.
Result<std::unique_ptr<ProtoStep>> MakeProtoStep(const ProtoMaking& making, const ProtoField& field,
                                                 const BuiltColumn& column);
// The step of one value of it, its label put aside.
Result<std::unique_ptr<ProtoStep>> MakeProtoValueStep(const ProtoMaking& making, const ProtoField& field,
                                                      const BuiltColumn& column);

// The same if the column is of theirs, else nullptr.
Result<std::unique_ptr<ProtoStep>> MakeProtoNumberStep(const ProtoMaking& making, const ProtoField& field,
                                                       const BuiltColumn& column);
Result<std::unique_ptr<ProtoStep>> MakeProtoTextStep(const ProtoMaking& making, const ProtoField& field,
                                                     const BuiltColumn& column);
Result<std::unique_ptr<ProtoStep>> MakeProtoTimeStep(const ProtoMaking& making, const ProtoField& field,
                                                     const BuiltColumn& column);
Result<std::unique_ptr<ProtoStep>> MakeProtoDecimalStep(const ProtoMaking& making, const ProtoField& field,
                                                        const BuiltColumn& column);

// The step of a column in which a text may stand for a value that was not sent (fz:unavailable): it is
// rejected, unless the column is kept. `values` for any other column.
Result<std::unique_ptr<ProtoStep>> MakeProtoAvailableStep(const ProtoMaking& making, const ProtoField& field,
                                                          const BuiltColumn& column,
                                                          std::unique_ptr<ProtoStep> values);

// A column and the names on the way to its field in a message.
struct ProtoWanted {
  const BuiltColumn* column = nullptr;
  std::vector<std::string> path;  // at least one
  bool root = false;              // failures name it as the column
};

// The step that puts fields of a message into columns.
Result<std::unique_ptr<ProtoStep>> MakeProtoMessageStep(const ProtoMaking& making, int32_t message,
                                                        const std::vector<ProtoWanted>& wanted);

// The error of two types that do not go together.
Status ProtoClash(const ProtoMaking& making, const ProtoField& field, const BuiltColumn& column,
                  const std::string& advice);

// The value inside a wrapper (google.protobuf.Int64Value); nullptr of any other field.
const ProtoField* ProtoWrapped(const ProtoSchema& schema, const ProtoField& field);

// The value of a field where a message has none: its default, the first of its enum, zero or empty. It is a
// view of the field.
ProtoPiece ProtoZero(const ProtoField& field);

// What is wrong with a field that stands in a message in another way than its type does.
std::string ProtoWrongWire(int32_t number, ProtoWire wire);

// The last values of the fields 1 to kCount of a small message of numbers and texts; a failure names those of
// another type than `wires` says.
template <size_t kCount>
bool TakeProtoFields(const ProtoPiece* pieces, size_t count, const ProtoWire (&wires)[kCount],
                     ProtoPiece (&values)[kCount], JsonFailure& failure) {
  for (size_t i = 0; i < count; ++i) {
    ProtoCursor in(pieces[i].bytes());
    while (!in.AtEnd()) {
      int32_t number = 0;
      ProtoWire wire = ProtoWire::kVarint;
      ProtoPiece piece;
      if (!in.TakeTag(&number, &wire, failure) || !in.TakePiece(number, wire, &piece, failure)) return false;
      if (number > static_cast<int32_t>(kCount)) continue;
      if (wire != wires[number - 1]) return failure.Because(ProtoWrongWire(number, wire));
      values[number - 1] = piece;
    }
  }
  return true;
}

}  // namespace frazil
