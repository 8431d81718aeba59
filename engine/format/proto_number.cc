#include <arrow/builder.h>

#include <bit>
#include <limits>

#include "format/proto_number.h"
#include "format/proto_step.h"

namespace frazil {
namespace {

using Type = ProtoField::Type;

class BooleanStep : public ProtoStep {
 public:
  explicit BooleanStep(arrow::BooleanBuilder* builder) : builder_(builder) {}
  bool Take(const ProtoPiece* piece, size_t, JsonFailure& failure) override {
    __int128 value = 0;
    return TakeProtoWhole(Type::kBool, *piece, &value, failure) && failure.Ok(builder_->Append(value != 0));
  }

 private:
  arrow::BooleanBuilder* builder_;
};

// Whole numbers into any column of them that holds the value.
template <typename Builder>
class IntegerStep : public ProtoStep {
 public:
  using T = typename Builder::value_type;
  IntegerStep(Builder* builder, Type from) : builder_(builder), from_(from) {}
  bool Take(const ProtoPiece* piece, size_t, JsonFailure& failure) override {
    __int128 value = 0;
    if (!TakeProtoWhole(from_, *piece, &value, failure)) return false;
    if (value < std::numeric_limits<T>::min() || value > std::numeric_limits<T>::max()) [[unlikely]] {
      return failure.Because(ProtoWholeText(value) + " is outside the range of " +
                             builder_->type()->ToString());
    }
    return failure.Ok(builder_->Append(static_cast<T>(value)));
  }

 private:
  Builder* builder_;
  Type from_;
};

// Numbers into a column of floats; whole ones become the nearest.
template <typename Builder>
class FloatStep : public ProtoStep {
 public:
  using T = typename Builder::value_type;
  FloatStep(Builder* builder, Type from) : builder_(builder), from_(from) {}
  bool Take(const ProtoPiece* piece, size_t, JsonFailure& failure) override {
    if (from_ == Type::kFloat) {
      const auto value = std::bit_cast<float>(static_cast<uint32_t>(piece->bits));
      return failure.Ok(builder_->Append(static_cast<T>(value)));
    }
    if (from_ == Type::kDouble)
      return failure.Ok(builder_->Append(static_cast<T>(std::bit_cast<double>(piece->bits))));
    __int128 value = 0;
    return TakeProtoWhole(from_, *piece, &value, failure) &&
           failure.Ok(builder_->Append(static_cast<T>(value)));
  }

 private:
  Builder* builder_;
  Type from_;
};

template <typename Builder>
std::unique_ptr<ProtoStep> Integer(arrow::ArrayBuilder* builder, Type from) {
  return std::make_unique<IntegerStep<Builder>>(static_cast<Builder*>(builder), from);
}

std::unique_ptr<ProtoStep> IntegerOf(arrow::ArrayBuilder* builder, Type from) {
  switch (builder->type()->id()) {
    case arrow::Type::INT8:
      return Integer<arrow::Int8Builder>(builder, from);
    case arrow::Type::INT16:
      return Integer<arrow::Int16Builder>(builder, from);
    case arrow::Type::INT32:
      return Integer<arrow::Int32Builder>(builder, from);
    case arrow::Type::INT64:
      return Integer<arrow::Int64Builder>(builder, from);
    case arrow::Type::UINT8:
      return Integer<arrow::UInt8Builder>(builder, from);
    case arrow::Type::UINT16:
      return Integer<arrow::UInt16Builder>(builder, from);
    case arrow::Type::UINT32:
      return Integer<arrow::UInt32Builder>(builder, from);
    default:
      return Integer<arrow::UInt64Builder>(builder, from);
  }
}

}  // namespace

bool IsProtoWhole(Type type) {
  switch (type) {
    case Type::kDouble:
    case Type::kFloat:
    case Type::kBool:
    case Type::kString:
    case Type::kBytes:
    case Type::kMessage:
    case Type::kGroup:
      return false;
    default:
      return true;
  }
}

bool TakeProtoWhole(Type type, const ProtoPiece& piece, __int128* value, JsonFailure& failure) {
  const uint64_t bits = piece.bits;
  const auto zigzag = static_cast<int64_t>((bits >> 1) ^ (~(bits & 1) + 1));
  switch (type) {
    case Type::kInt64:
      *value = static_cast<int64_t>(bits);
      return true;
    case Type::kInt32:
    case Type::kEnum:
      *value = static_cast<int64_t>(bits);
      if (*value == static_cast<int32_t>(bits)) [[likely]]
        return true;
      break;
    case Type::kUint32:
      *value = bits;
      if (bits <= UINT32_MAX) [[likely]]
        return true;
      break;
    case Type::kSint32:
      *value = zigzag;
      if (bits <= UINT32_MAX) [[likely]]
        return true;
      break;
    case Type::kSint64:
      *value = zigzag;
      return true;
    case Type::kSfixed32:
      *value = static_cast<int32_t>(bits);
      return true;
    case Type::kSfixed64:
      *value = static_cast<int64_t>(bits);
      return true;
    case Type::kBool:
      *value = bits;
      if (bits <= 1) [[likely]]
        return true;
      return failure.Because("a boolean that is neither 0 nor 1");
    default:  // unsigned
      *value = bits;
      return true;
  }
  return failure.Because(ProtoWholeText(*value) + " in a field of 32 bits");
}

std::string ProtoWholeText(__int128 value) {
  return value > std::numeric_limits<int64_t>::max() ? std::to_string(static_cast<uint64_t>(value))
                                                     : std::to_string(static_cast<int64_t>(value));
}

Result<std::unique_ptr<ProtoStep>> MakeProtoNumberStep(const ProtoMaking& making, const ProtoField& field,
                                                       const BuiltColumn& column) {
  const auto id = column.builder->type()->id();
  const bool whole = IsProtoWhole(field.type);
  if (id == arrow::Type::BOOL) {
    if (field.type != Type::kBool) return ProtoClash(making, field, column, "");
    return std::make_unique<BooleanStep>(static_cast<arrow::BooleanBuilder*>(column.builder));
  }
  if (arrow::is_integer(id)) {
    if (!whole) return ProtoClash(making, field, column, field.type == Type::kDouble ? "declare float" : "");
    return IntegerOf(column.builder, field.type);
  }
  const bool number = (whole && field.type != Type::kEnum) || field.type == Type::kFloat;
  if (id == arrow::Type::FLOAT) {
    if (field.type == Type::kDouble)
      return ProtoClash(making, field, column, "declare float, which has 64 bits");
    if (!number) return ProtoClash(making, field, column, "");
    return std::make_unique<FloatStep<arrow::FloatBuilder>>(static_cast<arrow::FloatBuilder*>(column.builder),
                                                            field.type);
  }
  if (id == arrow::Type::DOUBLE) {
    if (!number && field.type != Type::kDouble) return ProtoClash(making, field, column, "");
    return std::make_unique<FloatStep<arrow::DoubleBuilder>>(
        static_cast<arrow::DoubleBuilder*>(column.builder), field.type);
  }
  return nullptr;
}

}  // namespace frazil
