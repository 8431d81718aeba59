#include <arrow/builder.h>
#include <simdjson.h>

#include "format/avro_step.h"

namespace frazil {
namespace {

using Kind = AvroType::Kind;

bool IsUtf8(std::string_view text) { return simdjson::validate_utf8(text.data(), text.size()); }

// Strings, bytes and fixed into texts or bytes.
template <typename Builder>
class TextStep : public AvroStep {
 public:
  TextStep(Builder* builder, int32_t fixed, bool check) : builder_(builder), fixed_(fixed), check_(check) {}
  bool Take(AvroCursor& in, JsonFailure& failure) override {
    std::string_view value;
    if (!(fixed_ < 0 ? in.TakeText(&value, failure) : in.TakeBytes(fixed_, &value, failure))) return false;
    if (check_ && !IsUtf8(value)) [[unlikely]]
      return failure.Because("a string that is not UTF-8");
    return failure.Ok(builder_->Append(value));
  }

 private:
  Builder* builder_;
  int32_t fixed_;  // bytes of a fixed, else -1
  bool check_;
};

template <typename Builder>
class EnumStep : public AvroStep {
 public:
  EnumStep(Builder* builder, const AvroType& type) : builder_(builder), symbols_(type.symbols) {}
  bool Take(AvroCursor& in, JsonFailure& failure) override {
    size_t symbol = 0;
    return in.TakeChoice(symbols_.size(), &symbol, failure) && failure.Ok(builder_->Append(symbols_[symbol]));
  }

 private:
  Builder* builder_;
  std::vector<std::string> symbols_;
};

// A uuid in 16 bytes as its text.
template <typename Builder>
class UuidStep : public AvroStep {
 public:
  explicit UuidStep(Builder* builder) : builder_(builder) {}
  bool Take(AvroCursor& in, JsonFailure& failure) override {
    std::string_view bytes;
    if (!in.TakeBytes(16, &bytes, failure)) return false;
    static constexpr char kHex[] = "0123456789abcdef";
    char text[36];
    char* out = text;
    for (size_t i = 0; i < bytes.size(); ++i) {
      if (i == 4 || i == 6 || i == 8 || i == 10) *out++ = '-';
      *out++ = kHex[static_cast<uint8_t>(bytes[i]) >> 4];
      *out++ = kHex[static_cast<uint8_t>(bytes[i]) & 15];
    }
    return failure.Ok(builder_->Append(std::string_view(text, sizeof(text))));
  }

 private:
  Builder* builder_;
};

// Bytes of one length; a text of a uuid into its 16 bytes.
class FixedStep : public AvroStep {
 public:
  FixedStep(arrow::FixedSizeBinaryBuilder* builder, int32_t fixed) : builder_(builder), fixed_(fixed) {}
  bool Take(AvroCursor& in, JsonFailure& failure) override {
    std::string_view value;
    if (!(fixed_ < 0 ? in.TakeText(&value, failure) : in.TakeBytes(fixed_, &value, failure))) return false;
    if (static_cast<int32_t>(value.size()) != builder_->byte_width()) {
      return failure.Because(std::to_string(value.size()) + " bytes, and the column has " +
                             std::to_string(builder_->byte_width()));
    }
    return failure.Ok(builder_->Append(value));
  }

 private:
  arrow::FixedSizeBinaryBuilder* builder_;
  int32_t fixed_;
};

template <typename Builder>
Result<std::unique_ptr<AvroStep>> TextInto(const AvroType& type, const AvroColumn& column) {
  auto* const builder = static_cast<Builder*>(column.builder);
  switch (type.kind) {
    case Kind::kString:
    case Kind::kBytes:
      if (type.kind == Kind::kBytes && (type.logical == "decimal" || !type.connect.empty())) break;
      return std::make_unique<TextStep<Builder>>(builder, -1, true);
    case Kind::kEnum:
      return std::make_unique<EnumStep<Builder>>(builder, type);
    case Kind::kFixed:
      if (type.logical == "uuid") return std::make_unique<UuidStep<Builder>>(builder);
      break;
    default:
      break;
  }
  const bool bytes = type.kind == Kind::kBytes || type.kind == Kind::kFixed;
  return AvroClash(type, *column.field,
                   type.logical == "decimal" ? "declare fz.Decimal[precision, scale]"
                   : bytes                   ? "declare bytes"
                                             : "");
}

template <typename Builder>
Result<std::unique_ptr<AvroStep>> BytesInto(const AvroType& type, const AvroColumn& column) {
  auto* const builder = static_cast<Builder*>(column.builder);
  if (type.kind == Kind::kBytes || type.kind == Kind::kString) {
    return std::make_unique<TextStep<Builder>>(builder, -1, false);
  }
  if (type.kind == Kind::kFixed) return std::make_unique<TextStep<Builder>>(builder, type.size, false);
  return AvroClash(type, *column.field, "");
}

}  // namespace

Result<std::unique_ptr<AvroStep>> MakeAvroTextStep(const AvroType& type, const AvroColumn& column) {
  switch (column.builder->type()->id()) {
    case arrow::Type::STRING:
      return TextInto<arrow::StringBuilder>(type, column);
    case arrow::Type::LARGE_STRING:
      return TextInto<arrow::LargeStringBuilder>(type, column);
    case arrow::Type::BINARY:
      return BytesInto<arrow::BinaryBuilder>(type, column);
    case arrow::Type::LARGE_BINARY:
      return BytesInto<arrow::LargeBinaryBuilder>(type, column);
    case arrow::Type::FIXED_SIZE_BINARY: {
      auto* const builder = static_cast<arrow::FixedSizeBinaryBuilder*>(column.builder);
      if (type.kind == Kind::kFixed && type.size == builder->byte_width()) {
        return std::make_unique<FixedStep>(builder, type.size);
      }
      if (type.kind == Kind::kBytes) return std::make_unique<FixedStep>(builder, -1);
      return AvroClash(type, *column.field, "");
    }
    default:
      return nullptr;
  }
}

}  // namespace frazil
