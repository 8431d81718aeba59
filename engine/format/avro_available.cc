#include <arrow/type_traits.h>

#include <cmath>

#include "format/avro_step.h"
#include "format/debezium_column.h"

namespace frazil {
namespace {

using Kind = AvroType::Kind;

std::string UnavailableText(const std::string& placeholder, const arrow::Field& field) {
  std::string text =
      "\"" + placeholder + "\" stands for a value that did not change and that the database did not send; ";
  if (arrow::is_base_binary_like(field.type()->id())) {
    text += "read with DebeziumAvro(keep=[\"" + field.name() + "\"]), ";
  }
  return text +
         "in PostgreSQL say ALTER TABLE ... REPLICA IDENTITY FULL, or leave the column out of the schema";
}

// Values of Debezium, of which one says that there is none: the placeholder as a text or its bytes, as the
// only text or bytes of a list, as a list of numbers (one for each of its bytes), as the first key of a map.
class AvailableStep : public AvroStep {
 public:
  struct Shape {
    Kind kind = Kind::kNull;
    Kind item = Kind::kNull;  // of a list, behind its union with null
    bool item_decimal = false;
    int64_t branch = -1;  // number of the item in that union
  };

  AvailableStep(Shape shape, std::string text, std::string uuid, std::string reason,
                std::unique_ptr<AvroStep> values)
      : shape_(shape),
        text_(std::move(text)),
        uuid_(std::move(uuid)),
        reason_(std::move(reason)),
        values_(std::move(values)) {}
  bool Take(AvroCursor& in, JsonFailure& failure) override {
    if (IsPlaceholder(in)) [[unlikely]]
      return failure.Because(reason_);
    return values_->Take(in, failure);
  }

 private:
  bool IsText(std::string_view text) const { return text == text_ || (!uuid_.empty() && text == uuid_); }

  bool IsPlaceholder(AvroCursor at) const {
    JsonFailure unused;
    std::string_view text;
    int64_t items = 0, bytes = 0;
    if (shape_.kind == Kind::kString || shape_.kind == Kind::kBytes) {
      return at.TakeText(&text, unused) && IsText(text);
    }
    if (shape_.kind != Kind::kArray && shape_.kind != Kind::kMap) return false;
    if (!at.TakeBlock(false, &items, &bytes, unused) || items == 0) return false;
    if (shape_.kind == Kind::kMap) return at.TakeText(&text, unused) && IsText(text);
    if (shape_.item == Kind::kString || (shape_.item == Kind::kBytes && !shape_.item_decimal)) {
      return items == 1 && IsValue(&at) && at.TakeText(&text, unused) && IsText(text);
    }
    return items == static_cast<int64_t>(text_.size()) && AreBytes(at);
  }

  // Whether the next item is none of the nulls of its union; goes behind the number that says it.
  bool IsValue(AvroCursor* at) const {
    JsonFailure unused;
    int64_t branch = -1;
    return shape_.branch < 0 || (at->TakeLong(&branch, unused) && branch == shape_.branch);
  }

  bool AreBytes(AvroCursor at) const {
    for (const char byte : text_) {
      double number = 0;
      if (!IsValue(&at) || !TakeNumber(&at, &number) || number != static_cast<double>(byte)) return false;
    }
    return true;
  }

  bool TakeNumber(AvroCursor* at, double* number) const {
    JsonFailure unused;
    int64_t whole = 0;
    float narrow = 0;
    std::string_view text;
    switch (shape_.item) {
      case Kind::kInt:
      case Kind::kLong:
        if (!at->TakeLong(&whole, unused) || std::abs(whole) > INT8_MAX + 1) return false;
        *number = static_cast<double>(whole);
        return true;
      case Kind::kFloat:
        if (!at->TakeFixed(&narrow, unused)) return false;
        *number = static_cast<double>(narrow);
        return true;
      case Kind::kDouble:
        return at->TakeFixed(number, unused);
      case Kind::kBytes:  // the digits of a decimal
        if (!at->TakeText(&text, unused) || text.size() != 1) return false;
        *number = static_cast<double>(text.front());
        return true;
      default:
        return false;
    }
  }

  Shape shape_;
  std::string text_, uuid_, reason_;
  std::unique_ptr<AvroStep> values_;
};

AvailableStep::Shape ShapeOf(const AvroMaking& making, const AvroType& type) {
  AvailableStep::Shape shape;
  shape.kind = type.kind;
  if (type.kind != Kind::kArray) return shape;
  const AvroType* item = &making.schema.at(type.inside[0]);
  if (item->kind == Kind::kUnion) {
    const AvroType& branches = *item;
    for (size_t i = 0; i < branches.inside.size(); ++i) {
      const AvroType& branch = making.schema.at(branches.inside[i]);
      if (branch.kind == Kind::kNull) continue;
      item = &branch;
      shape.branch = static_cast<int64_t>(i);
    }
  }
  shape.item = item->kind;
  shape.item_decimal = item->logical == "decimal" || !item->connect_scale.empty();
  return shape;
}

}  // namespace

Result<std::unique_ptr<AvroStep>> MakeAvroAvailableStep(const AvroMaking& making, const AvroType& type,
                                                        const AvroColumn& column,
                                                        std::unique_ptr<AvroStep> values) {
  const std::string placeholder = JsonMetadata(*column.field, kUnavailableMetadata);
  if (placeholder.empty()) return values;
  const auto id = column.field->type()->id();
  if (type.kind == Kind::kString && arrow::is_base_binary_like(id) && !arrow::is_string(id)) {
    return AvroClash(type, *column.field,
                     "declare str, or have the connector write binary.handling.mode=bytes");
  }
  if (!JsonMetadata(*column.field, kKeptMetadata).empty()) return values;
  return std::make_unique<AvailableStep>(ShapeOf(making, type), placeholder,
                                         JsonMetadata(*column.field, kUnavailableUuidMetadata),
                                         UnavailableText(placeholder, *column.field), std::move(values));
}

}  // namespace frazil
