#pragma once

#include <arrow/array.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "format/avro_schema.h"

namespace frazil {

// Writes values of one array. Made for a type of the schema and the type of a column, or a part of one.
class AvroWrite {
 public:
  virtual ~AvroWrite() = default;
  // The array that rows are of from now on.
  virtual Status Bind(const arrow::Array& values) = 0;
  virtual Status Put(int64_t row, std::string* out) = 0;
};

using AvroWrites = std::vector<std::unique_ptr<AvroWrite>>;

// The writer of a column into a type of the schema: nulls and unions looked at. A kConfig error says that the
// two do not go together, and names the place.
Result<std::unique_ptr<AvroWrite>> MakeAvroWrite(const AvroSchema& schema, int32_t type,
                                                 const arrow::DataType& column);

// The same for values that are not null, of a type that is neither nested nor a union; nullptr if the two do
// not go together.
Result<std::unique_ptr<AvroWrite>> MakeAvroValueWrite(const AvroType& type, const arrow::DataType& column);
Result<std::unique_ptr<AvroWrite>> MakeAvroTimeWrite(const AvroType& type, const AvroMeaning& meaning,
                                                     const arrow::DataType& column);
Result<std::unique_ptr<AvroWrite>> MakeAvroDecimalWrite(const AvroType& type, const arrow::DataType& column);

// Writes one array's values, which `put` gets one by one.
template <typename ArrayType, typename Put_>
class AvroScalarWrite : public AvroWrite {
 public:
  explicit AvroScalarWrite(Put_ put) : put_(std::move(put)) {}
  Status Bind(const arrow::Array& values) override {
    values_ = static_cast<const ArrayType*>(&values);
    return Status::OK();
  }
  Status Put(int64_t row, std::string* out) override { return put_(values_->GetView(row), out); }

 private:
  const ArrayType* values_ = nullptr;
  Put_ put_;
};

template <typename ArrayType, typename Put_>
std::unique_ptr<AvroWrite> AvroScalar(Put_ put) {
  return std::make_unique<AvroScalarWrite<ArrayType, Put_>>(std::move(put));
}

inline void AppendAvroLong(int64_t value, std::string* out) {
  uint64_t bits = (static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63);
  char bytes[10];
  size_t size = 0;
  for (; bits >= 0x80; bits >>= 7) bytes[size++] = static_cast<char>(bits | 0x80);
  bytes[size++] = static_cast<char>(bits);
  out->append(bytes, size);
}

template <typename T>
void AppendAvroFixed(T value, std::string* out) {
  out->append(reinterpret_cast<const char*>(&value), sizeof(value));
}

inline void AppendAvroBytes(std::string_view bytes, std::string* out) {
  AppendAvroLong(static_cast<int64_t>(bytes.size()), out);
  out->append(bytes);
}

}  // namespace frazil
