#include <arrow/type_traits.h>

#include <bit>

#include "format/debezium_column.h"
#include "format/proto_number.h"
#include "format/proto_step.h"

namespace frazil {
namespace {

using Label = ProtoField::Label;
using Type = ProtoField::Type;

std::string UnavailableText(const std::string& placeholder, const arrow::Field& field) {
  std::string text =
      "\"" + placeholder + "\" stands for a value that did not change and that the database did not send; ";
  if (arrow::is_base_binary_like(field.type()->id())) {
    text += "read with DebeziumProtobuf(keep=[\"" + field.name() + "\"]), ";
  }
  return text +
         "in PostgreSQL say ALTER TABLE ... REPLICA IDENTITY FULL, or leave the column out of the schema";
}

bool IsText(Type type) { return type == Type::kString || type == Type::kBytes; }

// Values of Debezium, of which one says that there is none: the placeholder as a text or its bytes, as the
// only text or bytes of a list, as a list of numbers (one for each of its bytes), as the first key of a map.
class AvailableStep : public ProtoStep {
 public:
  // What the values are: those of the field, or inside its wrappers.
  struct Shape {
    Label label = Label::kImplicit;
    Type type = Type::kInt32;
    bool wrapped = false;
    bool decimal = false;  // confluent.type.Decimal
    ProtoPiece zero;       // of a map: of its key
  };

  AvailableStep(Shape shape, std::string text, std::string uuid, std::string reason,
                std::unique_ptr<ProtoStep> values)
      : shape_(shape),
        text_(std::move(text)),
        uuid_(std::move(uuid)),
        reason_(std::move(reason)),
        values_(std::move(values)) {}
  bool Take(const ProtoPiece* pieces, size_t count, JsonFailure& failure) override {
    if (IsPlaceholder(pieces, count)) [[unlikely]]
      return failure.Because(reason_);
    return values_->Take(pieces, count, failure);
  }

 private:
  bool IsPlaceholder(const ProtoPiece* pieces, size_t count) const {
    if (count == 0) return false;
    ProtoPiece value;
    if (shape_.label == Label::kMap) {
      return IsText(shape_.type) && Inside(pieces, 1, &value) && Stands(value.bytes());
    }
    if (shape_.label != Label::kRepeated) return Value(pieces, count, &value) && Stands(value.bytes());
    if (IsText(shape_.type)) return count == 1 && Value(pieces, 1, &value) && Stands(value.bytes());
    return AreBytes(pieces, count);
  }
  bool Stands(std::string_view text) const { return text == text_ || (!uuid_.empty() && text == uuid_); }

  // The first field of a small message.
  bool Inside(const ProtoPiece* pieces, size_t count, ProtoPiece* value) const {
    JsonFailure unused;
    ProtoPiece values[] = {shape_.zero};
    if (!TakeProtoFields(pieces, count, {shape_.zero.wire}, values, unused)) return false;
    *value = values[0];
    return true;
  }
  bool Value(const ProtoPiece* pieces, size_t count, ProtoPiece* value) const {
    if (shape_.wrapped || shape_.decimal) return Inside(pieces, count, value);
    *value = pieces[count - 1];
    return true;
  }

  // Whether a list has the bytes of the text as numbers.
  bool AreBytes(const ProtoPiece* pieces, size_t count) const {
    size_t place = 0;
    const ProtoWire wire = ProtoWireOf(shape_.type);
    for (size_t i = 0; i < count; ++i) {
      if (shape_.wrapped || shape_.decimal || pieces[i].wire == wire) {
        ProtoPiece value;
        if (!Value(pieces + i, 1, &value) || !IsByte(value, place++)) return false;
        continue;
      }
      ProtoCursor in(pieces[i].bytes());
      while (!in.AtEnd()) {
        JsonFailure unused;
        ProtoPiece value;
        if (!in.TakePiece(0, wire, &value, unused) || !IsByte(value, place++)) return false;
      }
    }
    return place == text_.size();
  }
  bool IsByte(const ProtoPiece& value, size_t place) const {
    if (place >= text_.size()) return false;
    const char byte = text_[place];
    if (shape_.decimal) return value.bytes() == std::string_view(&byte, 1);
    if (shape_.type == Type::kDouble) return std::bit_cast<double>(value.bits) == static_cast<double>(byte);
    if (shape_.type == Type::kFloat)
      return std::bit_cast<float>(static_cast<uint32_t>(value.bits)) == static_cast<float>(byte);
    JsonFailure unused;
    __int128 number = 0;
    return IsProtoWhole(shape_.type) && TakeProtoWhole(shape_.type, value, &number, unused) && number == byte;
  }

  Shape shape_;
  std::string text_, uuid_, reason_;
  std::unique_ptr<ProtoStep> values_;
};

AvailableStep::Shape ShapeOf(const ProtoSchema& schema, const ProtoField& field) {
  AvailableStep::Shape shape;
  shape.label = field.label;
  const ProtoField* value = &field;
  if (field.label == Label::kMap) {
    value = &schema.message(field.of).fields[0];
  } else if (const ProtoField* const wrapped = ProtoWrapped(schema, field); wrapped != nullptr) {
    shape.wrapped = true;
    value = wrapped;
  }
  shape.type = value->type;
  shape.zero = ProtoZero(*value);
  shape.decimal = field.type == Type::kMessage && schema.message(field.of).name == "confluent.type.Decimal";
  if (shape.decimal) shape.zero = ProtoPiece::Bytes(ProtoWire::kBytes, "");
  return shape;
}

}  // namespace

Result<std::unique_ptr<ProtoStep>> MakeProtoAvailableStep(const ProtoMaking& making, const ProtoField& field,
                                                          const BuiltColumn& column,
                                                          std::unique_ptr<ProtoStep> values) {
  const std::string placeholder = JsonMetadata(*column.field, kUnavailableMetadata);
  if (placeholder.empty()) return values;
  const auto id = column.field->type()->id();
  const AvailableStep::Shape shape = ShapeOf(making.schema, field);
  const bool many = field.label == Label::kRepeated || field.label == Label::kMap;
  if (!many && shape.type == Type::kString && arrow::is_base_binary_like(id) && !arrow::is_string(id)) {
    return ProtoClash(making, field, column,
                      "declare str, or have the connector write binary.handling.mode=bytes");
  }
  // Only these have one: of other single values none is known.
  const bool may_be = IsText(shape.type) || field.label == Label::kRepeated;
  if (!may_be || !JsonMetadata(*column.field, kKeptMetadata).empty()) return values;
  return std::make_unique<AvailableStep>(shape, placeholder,
                                         JsonMetadata(*column.field, kUnavailableUuidMetadata),
                                         UnavailableText(placeholder, *column.field), std::move(values));
}

}  // namespace frazil
