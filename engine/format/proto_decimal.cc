#include <arrow/builder.h>

#include <bit>
#include <charconv>

#include "format/decimal_sink.h"
#include "format/proto_number.h"
#include "format/proto_step.h"

namespace frazil {
namespace {

using Type = ProtoField::Type;

// confluent.type.Decimal: two's complement (1), precision (2), scale (3).
template <typename T>
class DecimalBytes : public ProtoStep {
 public:
  explicit DecimalBytes(arrow::ArrayBuilder* builder) : sink_(builder) {}
  bool Take(const ProtoPiece* pieces, size_t count, JsonFailure& failure) override {
    ProtoPiece values[] = {ProtoPiece::Bytes(ProtoWire::kBytes, ""), {}, {}};
    constexpr ProtoWire kNumber = ProtoWire::kVarint;
    __int128 scale = 0;
    if (!TakeProtoFields(pieces, count, {ProtoWire::kBytes, kNumber, kNumber}, values, failure) ||
        !TakeProtoWhole(Type::kInt32, values[2], &scale, failure)) {
      return false;
    }
    if (scale < -kDecimalScaleMax || scale > kDecimalScaleMax)
      return failure.Because("scale " + ProtoWholeText(scale));
    return sink_.PutBytes(values[0].bytes(), static_cast<int32_t>(scale), failure);
  }

 private:
  DecimalSink<T> sink_;
};

template <typename T>
class DecimalText : public ProtoStep {
 public:
  explicit DecimalText(arrow::ArrayBuilder* builder) : sink_(builder) {}
  bool Take(const ProtoPiece* piece, size_t, JsonFailure& failure) override {
    return sink_.PutText(piece->bytes(), failure);
  }

 private:
  DecimalSink<T> sink_;
};

// google.type.Decimal: a text (1).
template <typename T>
class DecimalMessage : public ProtoStep {
 public:
  explicit DecimalMessage(arrow::ArrayBuilder* builder) : sink_(builder) {}
  bool Take(const ProtoPiece* pieces, size_t count, JsonFailure& failure) override {
    ProtoPiece values[] = {ProtoPiece::Bytes(ProtoWire::kBytes, "0")};
    return TakeProtoFields(pieces, count, {ProtoWire::kBytes}, values, failure) &&
           sink_.PutText(values[0].bytes(), failure);
  }

 private:
  DecimalSink<T> sink_;
};

// io.debezium.data.VariableScaleDecimal: a scale and two's complement, in either order.
template <typename T>
class DecimalOfAnyScale : public ProtoStep {
 public:
  DecimalOfAnyScale(arrow::ArrayBuilder* builder, bool scale_first)
      : sink_(builder), scale_first_(scale_first) {}
  bool Take(const ProtoPiece* pieces, size_t count, JsonFailure& failure) override {
    const ProtoPiece none = ProtoPiece::Bytes(ProtoWire::kBytes, "");
    __int128 scale = 0;
    ProtoPiece values[2];
    ProtoPiece& digits = values[scale_first_ ? 1 : 0];
    digits = none;
    const bool taken =
        scale_first_
            ? TakeProtoFields(pieces, count, {ProtoWire::kVarint, ProtoWire::kBytes}, values, failure)
            : TakeProtoFields(pieces, count, {ProtoWire::kBytes, ProtoWire::kVarint}, values, failure);
    if (!taken || !TakeProtoWhole(Type::kInt32, values[scale_first_ ? 0 : 1], &scale, failure)) return false;
    if (scale < -kDecimalScaleMax || scale > kDecimalScaleMax)
      return failure.Because("scale " + ProtoWholeText(scale));
    return sink_.PutBytes(digits.bytes(), static_cast<int32_t>(scale), failure);
  }

 private:
  DecimalSink<T> sink_;
  bool scale_first_;
};

template <typename T>
class DecimalNumber : public ProtoStep {
 public:
  DecimalNumber(arrow::ArrayBuilder* builder, Type from) : sink_(builder), from_(from) {}
  bool Take(const ProtoPiece* piece, size_t, JsonFailure& failure) override {
    // Of floats the shortest digits that give the same one: what the writer meant.
    char text[64];
    std::to_chars_result made{};
    if (from_ == Type::kFloat) {
      const auto value = std::bit_cast<float>(static_cast<uint32_t>(piece->bits));
      made = std::to_chars(text, text + sizeof(text), value);
    } else if (from_ == Type::kDouble) {
      made = std::to_chars(text, text + sizeof(text), std::bit_cast<double>(piece->bits));
    } else {
      __int128 whole = 0;
      return TakeProtoWhole(from_, *piece, &whole, failure) && sink_.Put(Of(whole), 0, failure);
    }
    return sink_.PutText({text, static_cast<size_t>(made.ptr - text)}, failure);
  }

 private:
  static T Of(__int128 whole) {
    return T(arrow::Decimal128(static_cast<int64_t>(whole >> 64), static_cast<uint64_t>(whole)));
  }

  DecimalSink<T> sink_;
  Type from_;
};

template <typename T>
Result<std::unique_ptr<ProtoStep>> MakeStep(const ProtoMaking& making, const ProtoField& field,
                                            const BuiltColumn& column) {
  if (field.type == Type::kMessage) {
    const std::string& name = making.schema.message(field.of).name;
    if (name == "confluent.type.Decimal") return std::make_unique<DecimalBytes<T>>(column.builder);
    if (name == "google.type.Decimal") return std::make_unique<DecimalMessage<T>>(column.builder);
    if (name.ends_with(".VariableScaleDecimal")) {
      const auto& fields = making.schema.message(field.of).fields;
      const auto is = [&](size_t at, const char* wanted, Type type) {
        return fields[at].name == wanted && fields[at].type == type &&
               fields[at].number == static_cast<int32_t>(at) + 1;
      };
      if (fields.size() == 2 && is(0, "scale", Type::kInt32) && is(1, "value", Type::kBytes))
        return std::make_unique<DecimalOfAnyScale<T>>(column.builder, true);
      if (fields.size() == 2 && is(0, "value", Type::kBytes) && is(1, "scale", Type::kInt32))
        return std::make_unique<DecimalOfAnyScale<T>>(column.builder, false);
    }
    return ProtoClash(making, field, column, "");
  }
  if (field.type == Type::kString) return std::make_unique<DecimalText<T>>(column.builder);
  const bool number = IsProtoWhole(field.type) && field.type != Type::kEnum;
  if (number || field.type == Type::kFloat || field.type == Type::kDouble)
    return std::make_unique<DecimalNumber<T>>(column.builder, field.type);
  return ProtoClash(making, field, column, "");
}

}  // namespace

Result<std::unique_ptr<ProtoStep>> MakeProtoDecimalStep(const ProtoMaking& making, const ProtoField& field,
                                                        const BuiltColumn& column) {
  switch (column.builder->type()->id()) {
    case arrow::Type::DECIMAL128:
      return MakeStep<arrow::Decimal128>(making, field, column);
    case arrow::Type::DECIMAL256:
      return MakeStep<arrow::Decimal256>(making, field, column);
    default:
      return nullptr;
  }
}

}  // namespace frazil
