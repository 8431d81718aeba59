#include <arrow/builder.h>
#include <simdjson.h>

#include "format/proto_number.h"
#include "format/proto_step.h"

namespace frazil {
namespace {

using Type = ProtoField::Type;

// Texts and bytes into either; bytes of other things than UTF-8 are no text.
template <typename Builder>
class TextStep : public ProtoStep {
 public:
  TextStep(Builder* builder, bool check) : builder_(builder), check_(check) {}
  bool Take(const ProtoPiece* piece, size_t, JsonFailure& failure) override {
    const std::string_view value = piece->bytes();
    if (check_ && !simdjson::validate_utf8(value.data(), value.size())) [[unlikely]]
      return failure.Because("a string that is not UTF-8");
    return failure.Ok(builder_->Append(value));
  }

 private:
  Builder* builder_;
  bool check_;
};

// Enums as the names of their values.
template <typename Builder>
class EnumStep : public ProtoStep {
 public:
  EnumStep(Builder* builder, const ProtoEnum& values) : builder_(builder), values_(values) {}
  bool Take(const ProtoPiece* piece, size_t, JsonFailure& failure) override {
    __int128 number = 0;
    if (!TakeProtoWhole(Type::kEnum, *piece, &number, failure)) return false;
    const auto found = values_.values.find(static_cast<int32_t>(number));
    if (found != values_.values.end()) [[likely]]
      return failure.Ok(builder_->Append(found->second));
    return failure.Because(ProtoWholeText(number) + " is no value of " + values_.name +
                           " that its schema knows; declare an integer for the numbers");
  }

 private:
  Builder* builder_;
  const ProtoEnum& values_;
};

class FixedStep : public ProtoStep {
 public:
  explicit FixedStep(arrow::FixedSizeBinaryBuilder* builder) : builder_(builder) {}
  bool Take(const ProtoPiece* piece, size_t, JsonFailure& failure) override {
    const std::string_view value = piece->bytes();
    if (static_cast<int64_t>(value.size()) == builder_->byte_width()) [[likely]]
      return failure.Ok(builder_->Append(value));
    return failure.Because(std::to_string(value.size()) + " bytes, and the column has " +
                           std::to_string(builder_->byte_width()));
  }

 private:
  arrow::FixedSizeBinaryBuilder* builder_;
};

template <typename Builder>
Result<std::unique_ptr<ProtoStep>> TextInto(const ProtoMaking& making, const ProtoField& field,
                                            const BuiltColumn& column) {
  auto* const builder = static_cast<Builder*>(column.builder);
  if (field.type == Type::kString || field.type == Type::kBytes)
    return std::make_unique<TextStep<Builder>>(builder, true);
  if (field.type == Type::kEnum)
    return std::make_unique<EnumStep<Builder>>(builder, making.schema.enumeration(field.of));
  return ProtoClash(making, field, column, "");
}

template <typename Builder>
Result<std::unique_ptr<ProtoStep>> BytesInto(const ProtoMaking& making, const ProtoField& field,
                                             const BuiltColumn& column) {
  if (field.type != Type::kString && field.type != Type::kBytes) return ProtoClash(making, field, column, "");
  return std::make_unique<TextStep<Builder>>(static_cast<Builder*>(column.builder), false);
}

}  // namespace

Result<std::unique_ptr<ProtoStep>> MakeProtoTextStep(const ProtoMaking& making, const ProtoField& field,
                                                     const BuiltColumn& column) {
  switch (column.builder->type()->id()) {
    case arrow::Type::STRING:
      return TextInto<arrow::StringBuilder>(making, field, column);
    case arrow::Type::LARGE_STRING:
      return TextInto<arrow::LargeStringBuilder>(making, field, column);
    case arrow::Type::BINARY:
      return BytesInto<arrow::BinaryBuilder>(making, field, column);
    case arrow::Type::LARGE_BINARY:
      return BytesInto<arrow::LargeBinaryBuilder>(making, field, column);
    case arrow::Type::FIXED_SIZE_BINARY:
      if (field.type != Type::kBytes) return ProtoClash(making, field, column, "");
      return std::make_unique<FixedStep>(static_cast<arrow::FixedSizeBinaryBuilder*>(column.builder));
    default:
      return nullptr;
  }
}

}  // namespace frazil
