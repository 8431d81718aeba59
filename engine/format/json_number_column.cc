#include <limits>
#include <type_traits>

#include "format/json_column.h"
#include "format/json_decimal_column.h"
#include "format/json_number.h"

namespace frazil {
namespace {

bool ScanHere(const JsonCursor& cursor, JsonNumber* number) { return ScanJsonNumberAt(cursor, number); }

class BoolColumn : public JsonColumn {
 public:
  BoolColumn(const arrow::Field& field, arrow::MemoryPool* pool)
      : JsonColumn(field.type(), field.nullable(), "true or false", pool), bits_(pool) {}

  bool Append(JsonCursor& cursor, JsonFailure& failure) override {
    const char first = cursor.Peek();
    if (first != 't' && first != 'f') return Expected(cursor, failure);
    const char* begin = cursor.TokenBegin();
    const auto size = static_cast<size_t>(cursor.TokenEnd() - begin);
    const size_t word = first == 't' ? 4 : 5;
    if (size < word || std::memcmp(begin, first == 't' ? "true" : "false", word) != 0)
      return Expected(cursor, failure);
    for (size_t i = word; i < size; ++i) {
      if (begin[i] != ' ' && begin[i] != '\t' && begin[i] != '\r' && begin[i] != '\n')
        return Expected(cursor, failure);
    }
    cursor.Advance();
    return Put(first == 't', failure);
  }
  bool AppendEmpty(JsonFailure& failure) override { return Put(false, failure); }
  void Truncate(int64_t length) override { TruncateNulls(length); }
  Status Reserve(int64_t values) override {
    FZ_TRY(bits_.Grow((length_ + values + 7) / 8));
    capacity_ = bits_.capacity() * 8;
    return Status::OK();
  }
  Result<std::shared_ptr<arrow::ArrayData>> Finish() override {
    int64_t nulls = 0;
    FZ_ASSIGN(auto validity, FinishNulls(&nulls));
    if (length_ % 8 != 0) bits_.data()[length_ / 8] &= static_cast<uint8_t>((1 << (length_ % 8)) - 1);
    FZ_ASSIGN(auto bits, bits_.Finish((length_ + 7) / 8));
    auto made = arrow::ArrayData::Make(type_, length_, {std::move(validity), std::move(bits)}, nulls);
    length_ = capacity_ = 0;
    return made;
  }

 private:
  bool Put(bool value, JsonFailure& failure) {
    if (length_ == capacity_ && !failure.Ok(Reserve(1))) [[unlikely]]
      return false;
    uint8_t& byte = bits_.data()[length_ / 8];
    const int bit = static_cast<int>(length_ % 8);
    byte = static_cast<uint8_t>((byte & ~(1 << bit)) | (static_cast<int>(value) << bit));
    ++length_;
    return true;
  }

  JsonBuffer bits_;
  int64_t capacity_ = 0;  // values
};

template <typename T>
class IntegerColumn : public JsonFixedColumn<T> {
 public:
  IntegerColumn(const arrow::Field& field, arrow::MemoryPool* pool)
      : JsonFixedColumn<T>(field.type(), field.nullable(), "integer", pool) {}

  bool Append(JsonCursor& cursor, JsonFailure& failure) override {
    JsonNumber number;
    if (!ScanHere(cursor, &number)) [[unlikely]]
      return cursor.Expected("number", failure);
    if (number.integral && number.exact) [[likely]] {
      const uint64_t magnitude = number.mantissa;
      constexpr auto kMax = static_cast<uint64_t>(std::numeric_limits<T>::max());
      if (magnitude <= kMax && (!number.negative || std::is_signed_v<T> || magnitude == 0)) [[likely]] {
        cursor.Advance();
        return this->Put(number.negative ? static_cast<T>(0 - magnitude) : static_cast<T>(magnitude),
                         failure);
      }
    }
    __int128 wide;
    const NumberFit fit = NumberToInt128(number, 0, &wide);
    if (fit == NumberFit::kInexact) return this->Expected(cursor, failure);
    if (fit == NumberFit::kOverflow || wide < std::numeric_limits<T>::min() ||
        wide > std::numeric_limits<T>::max()) {
      return failure.Because(ShownJson(number.text()) + " is outside the range of " +
                             this->type_->ToString());
    }
    cursor.Advance();
    return this->Put(static_cast<T>(wide), failure);
  }
};

template <typename T>
class FloatColumn : public JsonFixedColumn<T> {
 public:
  FloatColumn(const arrow::Field& field, arrow::MemoryPool* pool)
      : JsonFixedColumn<T>(field.type(), field.nullable(), "number", pool) {}

  bool Append(JsonCursor& cursor, JsonFailure& failure) override {
    JsonNumber number;
    if (!ScanHere(cursor, &number)) [[unlikely]]
      return this->Expected(cursor, failure);
    T value;
    bool fits;
    if constexpr (std::is_same_v<T, float>) {
      fits = NumberToFloat(number, &value);
    } else {
      fits = NumberToDouble(number, &value);
    }
    if (!fits) {
      return failure.Because(ShownJson(number.text()) + " is outside the range of " +
                             this->type_->ToString());
    }
    cursor.Advance();
    return this->Put(value, failure);
  }
};

template <template <typename> class Column, typename T>
Result<std::unique_ptr<JsonColumn>> Make(const arrow::Field& field, arrow::MemoryPool* pool) {
  return std::make_unique<Column<T>>(field, pool);
}

}  // namespace

Result<std::unique_ptr<JsonColumn>> MakeJsonNumberColumn(const arrow::Field& field, arrow::MemoryPool* pool) {
  switch (field.type()->id()) {
    case arrow::Type::BOOL:
      return std::make_unique<BoolColumn>(field, pool);
    case arrow::Type::INT8:
      return Make<IntegerColumn, int8_t>(field, pool);
    case arrow::Type::INT16:
      return Make<IntegerColumn, int16_t>(field, pool);
    case arrow::Type::INT32:
      return Make<IntegerColumn, int32_t>(field, pool);
    case arrow::Type::INT64:
      return Make<IntegerColumn, int64_t>(field, pool);
    case arrow::Type::UINT8:
      return Make<IntegerColumn, uint8_t>(field, pool);
    case arrow::Type::UINT16:
      return Make<IntegerColumn, uint16_t>(field, pool);
    case arrow::Type::UINT32:
      return Make<IntegerColumn, uint32_t>(field, pool);
    case arrow::Type::UINT64:
      return Make<IntegerColumn, uint64_t>(field, pool);
    case arrow::Type::FLOAT:
      return Make<FloatColumn, float>(field, pool);
    case arrow::Type::DOUBLE:
      return Make<FloatColumn, double>(field, pool);
    case arrow::Type::DECIMAL128:
      return Make<JsonDecimalColumn, arrow::Decimal128>(field, pool);
    case arrow::Type::DECIMAL256:
      return Make<JsonDecimalColumn, arrow::Decimal256>(field, pool);
    default:
      return nullptr;
  }
}

}  // namespace frazil
