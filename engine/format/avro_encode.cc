#include "format/avro_encode.h"

#include <arrow/array.h>
#include <arrow/extension_type.h>
#include <arrow/type_traits.h>

#include <algorithm>
#include <optional>

#include "base/limits.h"
#include "format/avro_write.h"

namespace frazil {
namespace {

using Kind = AvroType::Kind;

Status Refused(const std::string& text) { return Error(ErrorKind::kConfig, text); }

Status NoNull() {
  return Error(ErrorKind::kUser,
               "null, and the type in the schema has none\n  give it a value (fill_null), "
               "leave such rows out, or let the schema's type be null too");
}

class NullWrite : public AvroWrite {
 public:
  Status Bind(const arrow::Array&) override { return Status::OK(); }
  Status Put(int64_t, std::string*) override { return Status::OK(); }
};

// A value that may be null where the type has no null.
class RequiredWrite : public AvroWrite {
 public:
  explicit RequiredWrite(std::unique_ptr<AvroWrite> value) : value_(std::move(value)) {}
  Status Bind(const arrow::Array& values) override {
    values_ = &values;
    return value_->Bind(values);
  }
  Status Put(int64_t row, std::string* out) override {
    return values_->IsNull(row) ? NoNull() : value_->Put(row, out);
  }

 private:
  std::unique_ptr<AvroWrite> value_;
  const arrow::Array* values_ = nullptr;
};

// A union of null and another type. Without a value to write all are null.
class UnionWrite : public AvroWrite {
 public:
  UnionWrite(std::optional<int64_t> null, int64_t branch, std::unique_ptr<AvroWrite> value)
      : null_(null), branch_(branch), value_(std::move(value)) {}
  Status Bind(const arrow::Array& values) override {
    values_ = &values;
    return value_ == nullptr ? Status::OK() : value_->Bind(values);
  }
  Status Put(int64_t row, std::string* out) override {
    if (value_ == nullptr || values_->IsNull(row)) {
      if (!null_.has_value()) return NoNull();
      AppendAvroLong(*null_, out);
      return Status::OK();
    }
    AppendAvroLong(branch_, out);
    return value_->Put(row, out);
  }

 private:
  std::optional<int64_t> null_;
  int64_t branch_;
  std::unique_ptr<AvroWrite> value_;
  const arrow::Array* values_ = nullptr;
};

class DictionaryWrite : public AvroWrite {
 public:
  explicit DictionaryWrite(std::unique_ptr<AvroWrite> value) : value_(std::move(value)) {}
  Status Bind(const arrow::Array& values) override {
    values_ = static_cast<const arrow::DictionaryArray*>(&values);
    return value_->Bind(*values_->dictionary());
  }
  Status Put(int64_t row, std::string* out) override {
    const int64_t at = values_->GetValueIndex(row);
    return values_->dictionary()->IsNull(at) ? NoNull() : value_->Put(at, out);
  }

 private:
  std::unique_ptr<AvroWrite> value_;
  const arrow::DictionaryArray* values_ = nullptr;
};

class ExtensionWrite : public AvroWrite {
 public:
  explicit ExtensionWrite(std::unique_ptr<AvroWrite> value) : value_(std::move(value)) {}
  Status Bind(const arrow::Array& values) override {
    storage_ = static_cast<const arrow::ExtensionArray&>(values).storage();
    return value_->Bind(*storage_);
  }
  Status Put(int64_t row, std::string* out) override { return value_->Put(row, out); }

 private:
  std::unique_ptr<AvroWrite> value_;
  std::shared_ptr<arrow::Array> storage_;
};

template <typename ListType>
class ListWrite : public AvroWrite {
 public:
  explicit ListWrite(std::unique_ptr<AvroWrite> item) : item_(std::move(item)) {}
  Status Bind(const arrow::Array& values) override {
    list_ = static_cast<const ListType*>(&values);
    items_ = list_->values();
    return item_->Bind(*items_);
  }
  Status Put(int64_t row, std::string* out) override {
    const int64_t begin = list_->value_offset(row), count = list_->value_length(row);
    if (count > 0) AppendAvroLong(count, out);
    for (int64_t i = 0; i < count; ++i) {
      if (const Status status = item_->Put(begin + i, out); !status.ok()) {
        return Prefixed(status, "item " + std::to_string(i));
      }
    }
    AppendAvroLong(0, out);
    return Status::OK();
  }

 private:
  std::unique_ptr<AvroWrite> item_;
  const ListType* list_ = nullptr;
  std::shared_ptr<arrow::Array> items_;
};

// A map: of texts as Avro's; of others as an array of records, which is the same in bytes.
class MapWrite : public AvroWrite {
 public:
  MapWrite(std::unique_ptr<AvroWrite> key, std::unique_ptr<AvroWrite> item)
      : key_(std::move(key)), item_(std::move(item)) {}
  Status Bind(const arrow::Array& values) override {
    map_ = static_cast<const arrow::MapArray*>(&values);
    FZ_TRY(key_->Bind(*map_->keys()));
    return item_->Bind(*map_->items());
  }
  Status Put(int64_t row, std::string* out) override {
    const int64_t begin = map_->value_offset(row), count = map_->value_length(row);
    if (count > 0) AppendAvroLong(count, out);
    for (int64_t i = begin; i < begin + count; ++i) {
      FZ_TRY(key_->Put(i, out));
      if (const Status status = item_->Put(i, out); !status.ok()) return Prefixed(status, "value of a map");
    }
    AppendAvroLong(0, out);
    return Status::OK();
  }

 private:
  std::unique_ptr<AvroWrite> key_, item_;
  const arrow::MapArray* map_ = nullptr;
};

// The fields of a record, in the schema's order.
struct RecordField {
  int column;  // -1: none, which is null
  std::string name;
  std::unique_ptr<AvroWrite> write;
};

Status PutFields(const std::vector<RecordField>& fields, int64_t row, std::string* out) {
  for (const RecordField& field : fields) {
    if (const Status status = field.write->Put(row, out); !status.ok()) {
      return Prefixed(status, "field \"" + field.name + "\"");
    }
  }
  return Status::OK();
}

class StructWrite : public AvroWrite {
 public:
  explicit StructWrite(std::vector<RecordField> fields) : fields_(std::move(fields)) {}
  Status Bind(const arrow::Array& values) override {
    const auto& record = static_cast<const arrow::StructArray&>(values);
    for (const RecordField& field : fields_) {
      if (field.column >= 0) FZ_TRY(field.write->Bind(*record.field(field.column)));
    }
    return Status::OK();
  }
  Status Put(int64_t row, std::string* out) override { return PutFields(fields_, row, out); }

 private:
  std::vector<RecordField> fields_;
};

std::optional<int64_t> NullBranch(const AvroSchema& schema, const AvroType& type) {
  for (size_t i = 0; i < type.inside.size(); ++i) {
    if (schema.at(type.inside[i]).kind == Kind::kNull) return static_cast<int64_t>(i);
  }
  return std::nullopt;
}

// What fields of columns go into the fields of a record.
Result<std::vector<RecordField>> MakeFields(const AvroSchema& schema, const AvroType& record,
                                            const arrow::FieldVector& columns) {
  const std::string what = AvroTypeText(record);
  for (const auto& column : columns) {
    const bool there = std::any_of(record.fields.begin(), record.fields.end(),
                                   [&](const AvroType::Field& each) { return each.name == column->name(); });
    if (there) continue;
    return Refused(what + " in the schema has no field \"" + column->name() +
                   "\"\n  leave the column out (drop), or use a version of the schema that has it");
  }
  std::vector<RecordField> made;
  for (const auto& field : record.fields) {
    RecordField each{-1, field.name, nullptr};
    for (size_t i = 0; i < columns.size(); ++i) {
      if (columns[i]->name() == field.name) each.column = static_cast<int>(i);
    }
    if (each.column < 0) {
      const AvroType& type = schema.at(field.type);
      const auto null = type.kind == Kind::kUnion ? NullBranch(schema, type) : std::nullopt;
      if (type.kind != Kind::kNull && !null.has_value()) {
        return Refused(what + " in the schema has a field \"" + field.name +
                       "\", and there is no such column\n  add the column: only a field that may be null can "
                       "be left out");
      }
      each.write = type.kind == Kind::kNull ? std::unique_ptr<AvroWrite>(new NullWrite)
                                            : std::make_unique<UnionWrite>(null, 0, nullptr);
    } else {
      auto write = MakeAvroWrite(schema, field.type, *columns[static_cast<size_t>(each.column)]->type());
      if (!write.ok()) return Prefixed(write.status(), "field \"" + field.name + "\"");
      each.write = std::move(*write);
    }
    made.push_back(std::move(each));
  }
  return made;
}

Status Clash(const AvroType& type, const arrow::DataType& column) {
  return Refused("the column is " + column.ToString() + ", and the schema says " + AvroTypeText(type) +
                 "\n  cast the column, or use a schema with a type that holds all of its values");
}

Result<std::unique_ptr<AvroWrite>> MakeMap(const AvroSchema& schema, const AvroType& type,
                                           const arrow::MapType& column) {
  if (type.kind == Kind::kMap) {
    AvroType text;
    text.kind = Kind::kString;
    FZ_ASSIGN(auto key, MakeAvroValueWrite(text, *column.key_type()));
    if (key == nullptr) return Clash(type, column);
    FZ_ASSIGN(auto item, MakeAvroWrite(schema, type.inside[0], *column.item_type()));
    return std::make_unique<MapWrite>(std::move(key), std::move(item));
  }
  const AvroType* entry = type.kind == Kind::kArray ? &schema.at(type.inside[0]) : nullptr;
  if (entry == nullptr || entry->kind != Kind::kRecord || entry->fields.size() != 2 ||
      entry->fields[0].name != "key" || entry->fields[1].name != "value") {
    return Clash(type, column);
  }
  FZ_ASSIGN(auto key, MakeAvroWrite(schema, entry->fields[0].type, *column.key_type()));
  FZ_ASSIGN(auto item, MakeAvroWrite(schema, entry->fields[1].type, *column.item_type()));
  return std::make_unique<MapWrite>(std::move(key), std::move(item));
}

template <typename ListType>
Result<std::unique_ptr<AvroWrite>> MakeList(const AvroSchema& schema, const AvroType& type,
                                            const arrow::DataType& column) {
  if (type.kind != Kind::kArray) return Clash(type, column);
  FZ_ASSIGN(auto item, MakeAvroWrite(schema, type.inside[0], *column.field(0)->type()));
  return std::make_unique<ListWrite<ListType>>(std::move(item));
}

// A value that is not null into a type that is no union.
Result<std::unique_ptr<AvroWrite>> MakeValue(const AvroSchema& schema, const AvroType& type,
                                             const arrow::DataType& column) {
  switch (column.id()) {
    case arrow::Type::STRUCT: {
      if (type.kind != Kind::kRecord) return Clash(type, column);
      FZ_ASSIGN(auto fields, MakeFields(schema, type, column.fields()));
      return std::make_unique<StructWrite>(std::move(fields));
    }
    case arrow::Type::MAP:
      return MakeMap(schema, type, static_cast<const arrow::MapType&>(column));
    case arrow::Type::LIST:
      return MakeList<arrow::ListArray>(schema, type, column);
    case arrow::Type::LARGE_LIST:
      return MakeList<arrow::LargeListArray>(schema, type, column);
    case arrow::Type::FIXED_SIZE_LIST:
      return MakeList<arrow::FixedSizeListArray>(schema, type, column);
    case arrow::Type::DICTIONARY: {
      const auto& values = static_cast<const arrow::DictionaryType&>(column).value_type();
      FZ_ASSIGN(auto value, MakeValue(schema, type, *values));
      return std::make_unique<DictionaryWrite>(std::move(value));
    }
    default:
      break;
  }
  FZ_ASSIGN(auto made, MakeAvroValueWrite(type, column));
  if (made != nullptr) return made;
  if (column.id() == arrow::Type::EXTENSION) {
    FZ_ASSIGN(auto value,
              MakeValue(schema, type, *static_cast<const arrow::ExtensionType&>(column).storage_type()));
    return std::make_unique<ExtensionWrite>(std::move(value));
  }
  return Clash(type, column);
}

class RecordEncoder : public AvroEncoder {
 public:
  RecordEncoder(std::string header, std::vector<RecordField> fields)
      : header_(std::move(header)), fields_(std::move(fields)) {}

  Status Begin(const arrow::RecordBatch& rows) override {
    columns_ = rows.columns();
    for (const RecordField& field : fields_) {
      if (field.column >= 0) FZ_TRY(field.write->Bind(*columns_[static_cast<size_t>(field.column)]));
    }
    return Status::OK();
  }
  Status Append(int64_t row, std::string* out) override {
    out->append(header_);
    const Status status = PutFields(fields_, row, out);
    return status.ok() ? status : Prefixed(status, "writing Avro");
  }

 private:
  std::string header_;
  std::vector<RecordField> fields_;
  arrow::ArrayVector columns_;
};

std::string Header(int32_t id) {
  std::string header(1, '\0');
  for (int shift = 24; shift >= 0; shift -= 8) {
    header.push_back(static_cast<char>(static_cast<uint32_t>(id) >> shift));
  }
  return header;
}

}  // namespace

Result<std::unique_ptr<AvroWrite>> MakeAvroWrite(const AvroSchema& schema, int32_t number,
                                                 const arrow::DataType& column) {
  const AvroType& type = schema.at(number);
  if (type.kind == Kind::kNull) {
    if (column.id() == arrow::Type::NA) return std::make_unique<NullWrite>();
    return Clash(type, column);
  }
  if (type.kind != Kind::kUnion) {
    FZ_ASSIGN(auto value, MakeValue(schema, type, column));
    return std::make_unique<RequiredWrite>(std::move(value));
  }
  const auto null = NullBranch(schema, type);
  if (column.id() == arrow::Type::NA && null.has_value()) {
    return std::make_unique<UnionWrite>(null, 0, nullptr);
  }
  if (type.inside.size() != (null.has_value() ? 2U : 1U)) {
    return Refused(
        "the schema says a union of several types, and a column has one\n  use a schema with one "
        "type beside null");
  }
  const size_t branch = null.has_value() && *null == 0 ? 1 : 0;
  FZ_ASSIGN(auto value, MakeValue(schema, schema.at(type.inside[branch]), column));
  return std::make_unique<UnionWrite>(null, static_cast<int64_t>(branch), std::move(value));
}

Result<std::unique_ptr<AvroEncoder>> AvroEncoder::Make(const arrow::Schema& columns,
                                                       const std::vector<std::string>& texts, int32_t id) {
  if (id < 0) return Refused("writing Avro: the id of the schema is below zero");
  auto parsed = ParseAvroSchema(texts);
  if (!parsed.ok()) return Refused("writing Avro: " + MessageOf(parsed.status()));
  const AvroType& root = parsed->at(parsed->root);
  std::vector<RecordField> fields;
  if (root.kind == Kind::kRecord) {
    auto made = MakeFields(*parsed, root, columns.fields());
    if (!made.ok()) return Prefixed(made.status(), "writing Avro");
    fields = std::move(*made);
  } else {
    if (columns.num_fields() != 1) {
      return Refused("writing Avro: the schema is " + AvroTypeText(root) + ", and there are " +
                     std::to_string(columns.num_fields()) + " columns\n  use a record");
    }
    auto write = MakeAvroWrite(*parsed, parsed->root, *columns.field(0)->type());
    if (!write.ok()) {
      return Prefixed(write.status(), "writing Avro: field \"" + columns.field(0)->name() + "\"");
    }
    fields.push_back({0, columns.field(0)->name(), std::move(*write)});
  }
  return std::make_unique<RecordEncoder>(Header(id), std::move(fields));
}

}  // namespace frazil
