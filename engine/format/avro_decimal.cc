#include <arrow/builder.h>
#include <arrow/util/decimal.h>

#include <charconv>
#include <optional>

#include "format/avro_step.h"
#include "format/decimal_sink.h"

namespace frazil {
namespace {

using Kind = AvroType::Kind;

template <typename T>
class DecimalBytes : public AvroStep {
 public:
  DecimalBytes(arrow::ArrayBuilder* builder, int32_t fixed, int32_t scale)
      : sink_(builder), fixed_(fixed), scale_(scale) {}
  bool Take(AvroCursor& in, JsonFailure& failure) override {
    std::string_view bytes;
    if (!(fixed_ < 0 ? in.TakeText(&bytes, failure) : in.TakeBytes(fixed_, &bytes, failure))) return false;
    return sink_.PutBytes(bytes, scale_, failure);
  }

 private:
  DecimalSink<T> sink_;
  int32_t fixed_, scale_;
};

template <typename T>
class DecimalText : public AvroStep {
 public:
  explicit DecimalText(arrow::ArrayBuilder* builder) : sink_(builder) {}
  bool Take(AvroCursor& in, JsonFailure& failure) override {
    std::string_view text;
    return in.TakeText(&text, failure) && sink_.PutText(text, failure);
  }

 private:
  DecimalSink<T> sink_;
};

template <typename T>
class DecimalNumber : public AvroStep {
 public:
  DecimalNumber(arrow::ArrayBuilder* builder, Kind from) : sink_(builder), from_(from) {}
  bool Take(AvroCursor& in, JsonFailure& failure) override {
    if (from_ == Kind::kInt || from_ == Kind::kLong) {
      int64_t whole = 0;
      if (!(from_ == Kind::kInt ? in.TakeInt(&whole, failure) : in.TakeLong(&whole, failure))) return false;
      return sink_.Put(T(whole), 0, failure);
    }
    // The shortest digits that give the same float: what the writer meant.
    char text[64];
    std::to_chars_result made{};
    if (from_ == Kind::kFloat) {
      float value = 0;
      if (!in.TakeFixed(&value, failure)) return false;
      made = std::to_chars(text, text + sizeof(text), value);
    } else {
      double value = 0;
      if (!in.TakeFixed(&value, failure)) return false;
      made = std::to_chars(text, text + sizeof(text), value);
    }
    return sink_.PutText({text, static_cast<size_t>(made.ptr - text)}, failure);
  }

 private:
  DecimalSink<T> sink_;
  Kind from_;
};

// Debezium's decimals of any scale: a record of "scale" and "value", in the order of the writer.
template <typename T>
class VariableDecimal : public AvroStep {
 public:
  VariableDecimal(arrow::ArrayBuilder* builder, bool scale_first)
      : sink_(builder), scale_first_(scale_first) {}
  bool Take(AvroCursor& in, JsonFailure& failure) override {
    int64_t scale = 0;
    std::string_view bytes;
    if (scale_first_ && !in.TakeInt(&scale, failure)) return false;
    if (!in.TakeText(&bytes, failure)) return false;
    if (!scale_first_ && !in.TakeInt(&scale, failure)) return false;
    if (scale < -kDecimalScaleMax || scale > kDecimalScaleMax)
      return failure.Because("scale " + std::to_string(scale));
    return sink_.PutBytes(bytes, static_cast<int32_t>(scale), failure);
  }

 private:
  DecimalSink<T> sink_;
  bool scale_first_;
};

std::optional<int32_t> ScaleOf(const AvroType& type) {
  if (type.logical == "decimal") return type.scale;
  if (type.connect != "org.apache.kafka.connect.data.Decimal") return std::nullopt;
  int32_t scale = 0;
  const char* const end = type.connect_scale.data() + type.connect_scale.size();
  const auto [at, error] = std::from_chars(type.connect_scale.data(), end, scale);
  if (error != std::errc() || at != end || scale < -kDecimalScaleMax || scale > kDecimalScaleMax)
    return std::nullopt;
  return scale;
}

template <typename T>
Result<std::unique_ptr<AvroStep>> MakeStep(const AvroSchema& schema, const AvroType& type,
                                           const AvroColumn& column) {
  switch (type.kind) {
    case Kind::kBytes:
    case Kind::kFixed:
      if (const auto scale = ScaleOf(type); scale.has_value()) {
        return std::make_unique<DecimalBytes<T>>(column.builder, type.kind == Kind::kFixed ? type.size : -1,
                                                 *scale);
      }
      return AvroClash(type, *column.field, "without a scale bytes are no number");
    case Kind::kString:
      return std::make_unique<DecimalText<T>>(column.builder);
    case Kind::kInt:
    case Kind::kLong:
    case Kind::kFloat:
    case Kind::kDouble:
      return std::make_unique<DecimalNumber<T>>(column.builder, type.kind);
    case Kind::kRecord: {
      if (type.fields.size() != 2) break;
      const bool scale_first = type.fields[0].name == "scale";
      const auto& scale = type.fields[scale_first ? 0 : 1];
      const auto& value = type.fields[scale_first ? 1 : 0];
      if (scale.name != "scale" || value.name != "value" || schema.at(scale.type).kind != Kind::kInt ||
          schema.at(value.type).kind != Kind::kBytes) {
        break;
      }
      return std::make_unique<VariableDecimal<T>>(column.builder, scale_first);
    }
    default:
      break;
  }
  return AvroClash(type, *column.field, "");
}

}  // namespace

Result<std::unique_ptr<AvroStep>> MakeAvroDecimalStep(const AvroMaking& making, const AvroType& type,
                                                      const AvroColumn& column) {
  switch (column.builder->type()->id()) {
    case arrow::Type::DECIMAL128:
      return MakeStep<arrow::Decimal128>(making.schema, type, column);
    case arrow::Type::DECIMAL256:
      return MakeStep<arrow::Decimal256>(making.schema, type, column);
    default:
      return nullptr;
  }
}

}  // namespace frazil
