#include "format/debezium_column.h"

#include <arrow/type_traits.h>
#include <arrow/util/base64.h>
#include <arrow/util/decimal.h>
#include <arrow/util/key_value_metadata.h>

#include <charconv>
#include <optional>
#include <string>
#include <vector>

#include "format/base64.h"
#include "format/json_decimal_column.h"

namespace frazil {
namespace {

constexpr int32_t kScaleMax = 16'383;  // the largest of PostgreSQL's numeric

// The text of a string without its escapes; false if it has none that can be read.
bool TakeText(JsonCursor* cursor, std::string* text, JsonFailure& failure) {
  JsonCursor probe = *cursor;
  const std::string_view raw = cursor->TakeRawString();
  text->assign(raw);
  if (!probe.HasEscape(raw)) return true;
  size_t size = 0;
  if (!UnescapeJson(raw, text->data(), &size, failure)) return false;
  text->resize(size);
  return true;
}

// Decimals of `decimal.handling.mode` precise, of the scale that the schema or the column says, and numbers
// and texts as the other modes write them.
template <typename T>
class DebeziumDecimalColumn : public JsonDecimalColumn<T> {
 public:
  enum class Texts { kBase64, kNumbers, kRefused, kAsk };

  DebeziumDecimalColumn(const arrow::Field& field, Texts texts, std::optional<int32_t> scale,
                        arrow::MemoryPool* pool)
      : JsonDecimalColumn<T>(field, pool), texts_(texts), from_(scale.value_or(this->scale())) {}

  bool Append(JsonCursor& cursor, JsonFailure& failure) override {
    if (cursor.Peek() == '{') return AppendVariable(cursor, failure);
    if (cursor.Peek() != '"' || texts_ == Texts::kNumbers) {
      return JsonDecimalColumn<T>::Append(cursor, failure);
    }
    if (texts_ == Texts::kBase64) return AppendBase64(cursor, from_, failure);
    cursor.Expected("number", failure);
    if (texts_ == Texts::kAsk) {
      failure.reason +=
          "; without a schema in the message a text may be digits or base64: read with "
          "DebeziumJson(decimals=\"string\") or (decimals=\"precise\"), as decimal.handling.mode of the "
          "connector says";
    }
    return false;
  }

 private:
  bool AppendBase64(JsonCursor& cursor, int32_t from, JsonFailure& failure) {
    const JsonCursor at = cursor;
    std::string text;
    JsonCursor behind = cursor;
    if (!TakeText(&behind, &text, failure)) return false;
    std::vector<uint8_t> bytes(text.size() / 4 * 3 + 3);
    size_t size = 0;
    if (!DecodeBase64(text, bytes.data(), &size) || size == 0) {
      at.Expected("base64 of a decimal", failure);
      failure.reason += "; decimal.handling.mode of the connector is not precise here";
      return false;
    }
    // Leading bytes that only repeat the sign say nothing.
    const uint8_t sign = (bytes[0] & 0x80) != 0 ? 0xff : 0;
    size_t first = 0;
    while (first + 1 < size && bytes[first] == sign && (bytes[first + 1] & 0x80) == (sign & 0x80)) ++first;
    T value;
    NumberFit fit = NumberFit::kOverflow;
    auto parsed = T::FromBigEndian(bytes.data() + first, static_cast<int32_t>(size - first));
    if (parsed.ok()) fit = Rescale(*parsed, from, &value);
    if (!this->PutIf(fit, value, text, failure)) return false;
    cursor = behind;
    return true;
  }

  NumberFit Rescale(const T& value, int32_t from, T* out) const {
    if (from == this->scale() || value == T(0)) {
      *out = value;
      return NumberFit::kExact;
    }
    const int32_t more = this->scale() - from;
    if (more > T::kMaxScale) return NumberFit::kOverflow;
    if (more < -T::kMaxScale) return NumberFit::kInexact;
    auto scaled = value.Rescale(from, this->scale());
    if (!scaled.ok()) return more < 0 ? NumberFit::kInexact : NumberFit::kOverflow;
    *out = *scaled;
    return NumberFit::kExact;
  }

  // {"scale": 3, "value": "base64"}, the members in any order.
  bool AppendVariable(JsonCursor& cursor, JsonFailure& failure) {
    const JsonCursor at = cursor;
    JsonCursor value;
    bool has_value = false;
    std::optional<int32_t> scale;
    const auto bad = [&] { return at.Expected("number, or an object of scale and value", failure); };
    JsonCursor walk = cursor;
    if (!walk.Enter(failure)) return false;
    for (bool more = walk.Peek() != '}'; more;) {
      if (walk.Peek() != '"') return bad();
      const std::string_view key = walk.TakeRawString();
      if (!walk.Take(':')) return bad();
      if (key == "value" && walk.Peek() == '"') {
        value = walk;
        has_value = true;
        walk.Advance();
      } else if (key == "scale" && walk.Peek() != '"') {
        JsonNumber number;
        if (!ScanJsonNumberAt(walk, &number) || !number.integral || !number.exact ||
            number.mantissa > kScaleMax) {
          return bad();
        }
        scale = static_cast<int32_t>(number.mantissa) * (number.negative ? -1 : 1);
        walk.Advance();
      } else if (!walk.Skip(failure)) {
        return false;
      }
      more = walk.Take(',');
      if (!more && walk.Peek() != '}') return bad();
    }
    walk.Leave();
    if (!scale.has_value() || !has_value) return bad();
    if (!AppendBase64(value, *scale, failure)) return false;
    cursor = walk;
    return true;
  }

  Texts texts_;
  int32_t from_;  // scale of base64 texts
};

template <typename T>
Result<std::unique_ptr<JsonColumn>> MakeDecimal(const arrow::Field& field, const std::string& how,
                                                arrow::MemoryPool* pool) {
  using Column = DebeziumDecimalColumn<T>;
  auto texts = Column::Texts::kBase64;
  std::optional<int32_t> scale;
  if (how == "text") {
    texts = Column::Texts::kNumbers;
  } else if (how == "number") {
    texts = Column::Texts::kRefused;
  } else if (how == "ask") {
    texts = Column::Texts::kAsk;
  } else if (how != "base64") {
    int32_t number = 0;
    const auto [end, error] = std::from_chars(how.data(), how.data() + how.size(), number);
    if (error != std::errc() || end != how.data() + how.size() || number < -kScaleMax || number > kScaleMax) {
      return Error(ErrorKind::kConfig, "no scale of a decimal: \"" + how + "\"");
    }
    scale = number;
  }
  return std::make_unique<Column>(field, texts, scale, pool);
}

// A column of which a certain value means that there is none to be had.
class AvailableColumn : public JsonColumn {
 public:
  AvailableColumn(const arrow::Field& field, std::string placeholder, std::string uuid,
                  std::unique_ptr<JsonColumn> values, arrow::MemoryPool* pool)
      : JsonColumn(field.type(), field.nullable(), "value", pool),
        values_(std::move(values)),
        text_(std::move(placeholder)),
        uuid_(std::move(uuid)),
        base64_(arrow::util::base64_encode(text_)) {
    if (!arrow::is_base_binary_like(field.type()->id())) return;
    advice_ = "read with DebeziumJson(keep=[\"" + field.name() + "\"]), ";
  }

  bool Append(JsonCursor& cursor, JsonFailure& failure) override {
    if (IsPlaceholder(cursor)) [[unlikely]] {
      return failure.Because(
          "\"" + text_ + "\" stands for a value that did not change and that the database did not send; " +
          advice_ +
          "in PostgreSQL say ALTER TABLE ... REPLICA IDENTITY FULL, or leave the column out of the schema");
    }
    if (!values_->Append(cursor, failure)) return false;
    ++length_;
    return true;
  }
  bool AppendEmpty(JsonFailure& failure) override {
    if (!values_->AppendEmpty(failure)) return false;
    ++length_;
    return true;
  }
  void Truncate(int64_t length) override {
    TruncateNulls(length);
    values_->Truncate(length);
  }
  Status Reserve(int64_t values) override { return values_->Reserve(values); }
  Result<std::shared_ptr<arrow::ArrayData>> Finish() override {
    int64_t nulls = 0;
    FZ_ASSIGN(auto validity, FinishNulls(&nulls));
    FZ_ASSIGN(auto values, values_->Finish());
    values->buffers[0] = std::move(validity);
    values->SetNullCount(nulls);
    length_ = 0;
    return values;
  }

 private:
  bool IsText(std::string_view raw) const {
    return raw == text_ || raw == base64_ || (!uuid_.empty() && raw == uuid_);
  }

  bool IsPlaceholder(const JsonCursor& at) const {
    const char first = at.Peek();
    if (first != '"' && first != '[' && first != '{') return false;
    JsonCursor cursor = at;
    if (first != '"') cursor.Advance();
    if (cursor.Peek() == '"') return IsText(cursor.TakeRawString());
    return first == '[' && AreBytes(cursor);
  }

  // A list of numbers that are the bytes of the placeholder.
  bool AreBytes(JsonCursor cursor) const {
    for (const char byte : text_) {
      JsonNumber number;
      if (!ScanJsonNumberAt(cursor, &number) || !number.integral || !number.exact ||
          number.mantissa != static_cast<uint8_t>(byte)) {
        return false;
      }
      cursor.Advance();
      if (cursor.Peek() != ',' && cursor.Peek() != ']') return false;
      cursor.Advance();
    }
    return true;
  }

  std::unique_ptr<JsonColumn> values_;
  std::string text_, uuid_, base64_;
  std::string advice_;  // for columns that may be kept
};

}  // namespace

Result<std::unique_ptr<JsonColumn>> MakeDebeziumColumn(const arrow::Field& field, const JsonOptions& options,
                                                       arrow::MemoryPool* pool, int level) {
  if (const std::string placeholder = JsonMetadata(field, kUnavailableMetadata); !placeholder.empty()) {
    auto metadata = field.metadata()->Copy();
    FZ_TRY(metadata->Delete(kUnavailableMetadata));
    const std::string uuid = JsonMetadata(field, kUnavailableUuidMetadata);
    FZ_ASSIGN(auto values, MakeJsonColumn(*field.WithMetadata(std::move(metadata)), options, pool, level));
    return std::make_unique<AvailableColumn>(field, placeholder, uuid, std::move(values), pool);
  }
  const std::string decimal = JsonMetadata(field, kDecimalMetadata);
  if (decimal.empty()) return nullptr;
  switch (field.type()->id()) {
    case arrow::Type::DECIMAL128:
      return MakeDecimal<arrow::Decimal128>(field, decimal, pool);
    case arrow::Type::DECIMAL256:
      return MakeDecimal<arrow::Decimal256>(field, decimal, pool);
    default:
      return Error(ErrorKind::kConfig, "type " + field.type()->ToString() + " is no decimal");
  }
}

}  // namespace frazil
