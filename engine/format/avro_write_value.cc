#include <arrow/array.h>
#include <arrow/extension_type.h>
#include <arrow/util/float16.h>

#include <map>
#include <utility>

#include "base/uuid.h"
#include "format/avro_write.h"

namespace frazil {
namespace {

using Kind = AvroType::Kind;
using Made = std::unique_ptr<AvroWrite>;

// A whole number into an int or a long, if it is within its range.
struct PutWhole {
  bool narrow;  // an int

  template <typename T>
  Status operator()(T value, std::string* out) const {
    const bool fits = narrow ? std::in_range<int32_t>(value) : std::in_range<int64_t>(value);
    if (!fits) [[unlikely]] {
      return Error(ErrorKind::kUser, std::to_string(value) + " is outside the range of " +
                                         (narrow ? "int" : "long") + " in the schema");
    }
    AppendAvroLong(static_cast<int64_t>(value), out);
    return Status::OK();
  }
};

Made Whole(arrow::Type::type id, PutWhole put) {
  switch (id) {
    case arrow::Type::INT8:
      return AvroScalar<arrow::Int8Array>(put);
    case arrow::Type::INT16:
      return AvroScalar<arrow::Int16Array>(put);
    case arrow::Type::INT32:
      return AvroScalar<arrow::Int32Array>(put);
    case arrow::Type::INT64:
      return AvroScalar<arrow::Int64Array>(put);
    case arrow::Type::UINT8:
      return AvroScalar<arrow::UInt8Array>(put);
    case arrow::Type::UINT16:
      return AvroScalar<arrow::UInt16Array>(put);
    case arrow::Type::UINT32:
      return AvroScalar<arrow::UInt32Array>(put);
    case arrow::Type::UINT64:
      return AvroScalar<arrow::UInt64Array>(put);
    default:
      return nullptr;
  }
}

// Floats of the type and, where they are exact, of narrower ones and whole numbers.
template <typename T>
Made Floating(arrow::Type::type id) {
  const auto put = [](auto value, std::string* out) {
    AppendAvroFixed(static_cast<T>(value), out);
    return Status::OK();
  };
  const bool twice = sizeof(T) == 8;
  switch (id) {
    case arrow::Type::HALF_FLOAT:
      return AvroScalar<arrow::HalfFloatArray>([](uint16_t bits, std::string* out) {
        AppendAvroFixed(static_cast<T>(arrow::util::Float16::FromBits(bits).ToFloat()), out);
        return Status::OK();
      });
    case arrow::Type::FLOAT:
      return AvroScalar<arrow::FloatArray>(put);
    case arrow::Type::DOUBLE:
      return twice ? AvroScalar<arrow::DoubleArray>(put) : nullptr;
    case arrow::Type::INT8:
      return AvroScalar<arrow::Int8Array>(put);
    case arrow::Type::INT16:
      return AvroScalar<arrow::Int16Array>(put);
    case arrow::Type::UINT8:
      return AvroScalar<arrow::UInt8Array>(put);
    case arrow::Type::UINT16:
      return AvroScalar<arrow::UInt16Array>(put);
    case arrow::Type::INT32:
      return twice ? AvroScalar<arrow::Int32Array>(put) : nullptr;
    case arrow::Type::UINT32:
      return twice ? AvroScalar<arrow::UInt32Array>(put) : nullptr;
    default:
      return nullptr;
  }
}

// Texts of a column, each given to `put`.
template <typename Put>
Made Text(arrow::Type::type id, Put put) {
  switch (id) {
    case arrow::Type::STRING:
      return AvroScalar<arrow::StringArray>(put);
    case arrow::Type::LARGE_STRING:
      return AvroScalar<arrow::LargeStringArray>(put);
    case arrow::Type::STRING_VIEW:
      return AvroScalar<arrow::StringViewArray>(put);
    default:
      return nullptr;
  }
}

Status PutBytes(std::string_view bytes, std::string* out) {
  AppendAvroBytes(bytes, out);
  return Status::OK();
}

Status PutPlain(std::string_view bytes, std::string* out) {
  out->append(bytes);
  return Status::OK();
}

Made Bytes(const arrow::DataType& column) {
  switch (column.id()) {
    case arrow::Type::BINARY:
      return AvroScalar<arrow::BinaryArray>(PutBytes);
    case arrow::Type::LARGE_BINARY:
      return AvroScalar<arrow::LargeBinaryArray>(PutBytes);
    case arrow::Type::BINARY_VIEW:
      return AvroScalar<arrow::BinaryViewArray>(PutBytes);
    case arrow::Type::FIXED_SIZE_BINARY:
      return AvroScalar<arrow::FixedSizeBinaryArray>(PutBytes);
    default:
      return nullptr;
  }
}

Made Enum(const AvroType& type, arrow::Type::type id) {
  std::map<std::string, int64_t, std::less<>> numbers;
  for (size_t i = 0; i < type.symbols.size(); ++i) {
    numbers.emplace(type.symbols[i], static_cast<int64_t>(i));
  }
  return Text(id, [numbers, name = AvroTypeText(type)](std::string_view text, std::string* out) {
    const auto found = numbers.find(text);
    if (found == numbers.end()) {
      return Error(ErrorKind::kUser, "\"" + std::string(text.substr(0, 60)) + "\" is no symbol of " + name);
    }
    AppendAvroLong(found->second, out);
    return Status::OK();
  });
}

// The 16 bytes of a uuid, as its text or as they are.
class UuidWrite : public AvroWrite {
 public:
  explicit UuidWrite(bool text) : text_(text) {}
  Status Bind(const arrow::Array& values) override {
    storage_ = std::static_pointer_cast<arrow::FixedSizeBinaryArray>(
        static_cast<const arrow::ExtensionArray&>(values).storage());
    return Status::OK();
  }
  Status Put(int64_t row, std::string* out) override {
    const std::string_view bytes = storage_->GetView(row);
    return text_ ? PutBytes(UuidText(bytes), out) : PutPlain(bytes, out);
  }

 private:
  bool text_;
  std::shared_ptr<arrow::FixedSizeBinaryArray> storage_;
};

bool IsUuid(const arrow::DataType& column) {
  return column.id() == arrow::Type::EXTENSION &&
         static_cast<const arrow::ExtensionType&>(column).extension_name() == "arrow.uuid";
}

}  // namespace

Result<std::unique_ptr<AvroWrite>> MakeAvroValueWrite(const AvroType& type, const arrow::DataType& column) {
  if (IsUuid(column)) {
    if (type.kind == Kind::kString) return std::make_unique<UuidWrite>(true);
    if (type.kind == Kind::kFixed && type.size == 16) return std::make_unique<UuidWrite>(false);
    return nullptr;
  }
  if (const AvroMeaning* meaning = AvroMeaningOf(type); meaning != nullptr) {
    return MakeAvroTimeWrite(type, *meaning, column);
  }
  switch (type.kind) {
    case Kind::kBoolean:
      if (column.id() != arrow::Type::BOOL) return nullptr;
      return AvroScalar<arrow::BooleanArray>([](bool value, std::string* out) {
        out->push_back(value ? '\1' : '\0');
        return Status::OK();
      });
    case Kind::kInt:
    case Kind::kLong:
      return Whole(column.id(), {type.kind == Kind::kInt});
    case Kind::kFloat:
      return Floating<float>(column.id());
    case Kind::kDouble:
      return Floating<double>(column.id());
    case Kind::kString:
      return Text(column.id(), PutBytes);
    case Kind::kEnum:
      return Enum(type, column.id());
    case Kind::kBytes:
      return type.logical == "decimal" ? MakeAvroDecimalWrite(type, column) : Bytes(column);
    case Kind::kFixed:
      if (type.logical == "decimal") return MakeAvroDecimalWrite(type, column);
      if (!type.logical.empty() || column.id() != arrow::Type::FIXED_SIZE_BINARY ||
          static_cast<const arrow::FixedSizeBinaryType&>(column).byte_width() != type.size) {
        return nullptr;
      }
      return AvroScalar<arrow::FixedSizeBinaryArray>(PutPlain);
    default:
      return nullptr;
  }
}

}  // namespace frazil
