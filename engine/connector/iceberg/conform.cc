#include "connector/iceberg/conform.h"

#include <arrow/array.h>
#include <arrow/array/concatenate.h>
#include <arrow/compute/cast.h>
#include <arrow/extension_type.h>

#include "base/batch.h"

namespace frazil::iceberg {
namespace {

using arrow::Type;
using ArrayPtr = std::shared_ptr<arrow::Array>;
using TypePtr = std::shared_ptr<arrow::DataType>;
using FieldPtr = std::shared_ptr<arrow::Field>;

Status NoSuchType(const std::string& path, const arrow::DataType& type) {
  return Error(ErrorKind::kConfig,
               "writing column \"" + path + "\": Iceberg has no type for Arrow's " + type.ToString());
}

bool IsUuid(const arrow::DataType& type) {
  return type.id() == Type::EXTENSION &&
         static_cast<const arrow::ExtensionType&>(type).extension_name() == "arrow.uuid";
}

Result<FieldPtr> StorageField(const FieldPtr& field, const std::string& path) {
  const auto child = [&](int i, const std::string& name) {
    return StorageField(field->type()->field(i), path + "." + name);
  };
  switch (field->type()->id()) {
    case Type::BOOL:
    case Type::INT32:
    case Type::INT64:
    case Type::FLOAT:
    case Type::DOUBLE:
    case Type::DATE32:
    case Type::STRING:
    case Type::BINARY:
    case Type::FIXED_SIZE_BINARY:
    case Type::DECIMAL128:
      return field;
    case Type::LARGE_STRING:
    case Type::STRING_VIEW:
      return field->WithType(arrow::utf8());
    case Type::LARGE_BINARY:
    case Type::BINARY_VIEW:
      return field->WithType(arrow::binary());
    case Type::TIME64:
      if (*field->type() == *arrow::time64(arrow::TimeUnit::MICRO)) return field;
      break;
    case Type::TIMESTAMP: {
      const auto unit = static_cast<const arrow::TimestampType&>(*field->type()).unit();
      if (unit == arrow::TimeUnit::MICRO || unit == arrow::TimeUnit::NANO) return field;
      break;
    }
    case Type::EXTENSION:
      if (IsUuid(*field->type())) return field;
      break;
    case Type::LIST:
    case Type::LARGE_LIST: {
      FZ_ASSIGN(auto element, child(0, "element"));
      return field->WithType(arrow::list(element));
    }
    case Type::STRUCT: {
      arrow::FieldVector fields;
      for (int i = 0; i < field->type()->num_fields(); ++i) {
        FZ_ASSIGN(auto member, child(i, field->type()->field(i)->name()));
        fields.push_back(std::move(member));
      }
      return field->WithType(arrow::struct_(std::move(fields)));
    }
    case Type::MAP: {
      const auto& map = static_cast<const arrow::MapType&>(*field->type());
      FZ_ASSIGN(auto key, StorageField(map.key_field(), path + ".key"));
      FZ_ASSIGN(auto item, StorageField(map.item_field(), path + ".value"));
      return field->WithType(std::make_shared<arrow::MapType>(key, item));
    }
    default:
      break;
  }
  return NoSuchType(path, *field->type());
}

int IntegerDigits(const arrow::DataType& type) {  // decimal digits that hold every value of an integer type
  switch (type.id()) {
    case Type::INT8:
    case Type::UINT8:
      return 3;
    case Type::INT16:
    case Type::UINT16:
      return 5;
    case Type::INT32:
    case Type::UINT32:
      return 10;
    case Type::INT64:
      return 19;
    case Type::UINT64:
      return 20;
    default:
      return 0;
  }
}

bool IsText(Type::type id) {
  return id == Type::STRING || id == Type::LARGE_STRING || id == Type::STRING_VIEW;
}
bool IsBytes(Type::type id) {
  return id == Type::BINARY || id == Type::LARGE_BINARY || id == Type::BINARY_VIEW;
}
bool IsList(Type::type id) {
  return id == Type::LIST || id == Type::LARGE_LIST || id == Type::FIXED_SIZE_LIST;
}

bool TimestampFits(const arrow::TimestampType& from, const arrow::TimestampType& to) {
  return from.unit() <= to.unit() && from.timezone().empty() == to.timezone().empty();
}

// True if every value of the primitive type `from` is a value of `to`.
bool PrimitiveFits(const arrow::DataType& from, const arrow::DataType& to) {
  const Type::type id = from.id();
  switch (to.id()) {
    case Type::INT32:
      return id == Type::INT8 || id == Type::INT16 || id == Type::UINT8 || id == Type::UINT16;
    case Type::INT64:
      return IntegerDigits(from) > 0 && id != Type::UINT64;
    case Type::DOUBLE:
      return id == Type::FLOAT;
    case Type::STRING:
      return IsText(id);
    case Type::BINARY:
      return IsBytes(id) || IsText(id);
    case Type::TIME64:
      return id == Type::TIME32;
    case Type::TIMESTAMP:
      return id == Type::TIMESTAMP && TimestampFits(static_cast<const arrow::TimestampType&>(from),
                                                    static_cast<const arrow::TimestampType&>(to));
    case Type::DECIMAL128: {
      const auto& wide = static_cast<const arrow::DecimalType&>(to);
      if (const int digits = IntegerDigits(from); digits > 0)
        return wide.precision() - wide.scale() >= digits;
      if (id != Type::DECIMAL128 && id != Type::DECIMAL32 && id != Type::DECIMAL64) return false;
      const auto& narrow = static_cast<const arrow::DecimalType&>(from);
      return wide.scale() >= narrow.scale() &&
             wide.precision() - wide.scale() >= narrow.precision() - narrow.scale();
    }
    case Type::EXTENSION:
      return id == Type::FIXED_SIZE_BINARY && from.byte_width() == 16;
    case Type::FIXED_SIZE_BINARY:
      return IsUuid(from) && to.byte_width() == 16;
    default:
      return false;
  }
}

Status Missing(const std::string& path) {
  return Error(ErrorKind::kUser,
               "writing column \"" + path +
                   "\": the table requires it and the stream does not have it; add it to the stream, "
                   "or make it optional in the table");
}

// Checks that arrays of type `from` can become `to`, whatever values they hold.
Status CheckFits(const arrow::DataType& from, const arrow::Field& to, const std::string& path,
                 const std::set<std::string>& left_out, const std::set<std::string>& narrowed) {
  const arrow::DataType& type = *to.type();
  if (from.id() == Type::NA || from.Equals(type) || narrowed.contains(path)) return Status::OK();
  if (from.id() == Type::DICTIONARY) {
    return CheckFits(*static_cast<const arrow::DictionaryType&>(from).value_type(), to, path, left_out,
                     narrowed);
  }
  if (type.id() == Type::STRUCT && from.id() == Type::STRUCT) {
    const auto& members = static_cast<const arrow::StructType&>(from);
    for (const auto& member : type.fields()) {
      const auto source = members.GetFieldByName(member->name());
      const std::string name = path + "." + member->name();
      if (source == nullptr) {
        if (!member->nullable()) return Missing(name);
        continue;
      }
      FZ_TRY(CheckFits(*source->type(), *member, name, left_out, narrowed));
    }
    for (const auto& member : from.fields()) {
      if (static_cast<const arrow::StructType&>(type).GetFieldIndex(member->name()) >= 0) continue;
      if (left_out.contains(path + "." + member->name())) continue;
      return Error(ErrorKind::kUser, "writing column \"" + path + "." + member->name() +
                                         "\": the table has no such field; add it to the table, or drop it");
    }
    return Status::OK();
  }
  if (type.id() == Type::LIST && IsList(from.id())) {
    return CheckFits(*from.field(0)->type(), *type.field(0), path + ".element", left_out, narrowed);
  }
  if (type.id() == Type::MAP && from.id() == Type::MAP) {
    const auto& source = static_cast<const arrow::MapType&>(from);
    const auto& target = static_cast<const arrow::MapType&>(type);
    FZ_TRY(CheckFits(*source.key_type(), *target.key_field(), path + ".key", left_out, narrowed));
    return CheckFits(*source.item_type(), *target.item_field(), path + ".value", left_out, narrowed);
  }
  if (PrimitiveFits(from, type)) return Status::OK();
  return Error(ErrorKind::kUser, "writing column \"" + path + "\": the table has " + type.ToString() +
                                     ", the stream has " + from.ToString() +
                                     ", which could change or lose values; cast it in the pipeline");
}

class Converter {
 public:
  Converter(const std::set<std::string>& narrowed, arrow::MemoryPool* pool)
      : narrowed_(narrowed), pool_(pool), context_(pool) {}

  Result<ArrayPtr> Convert(ArrayPtr array, const arrow::Field& to, const std::string& path) {
    const TypePtr& type = to.type();
    if (array->type_id() == Type::NA) return arrow::MakeArrayOfNull(type, array->length(), pool_);
    if (array->type_id() == Type::DICTIONARY) {
      FZ_ASSIGN(auto values,
                Cast(array, static_cast<const arrow::DictionaryType&>(*array->type()).value_type()));
      return Convert(values, to, path);
    }
    if (type->num_fields() > 0) {
      FZ_ASSIGN(array, WithoutOthers(array));
    }
    switch (type->id()) {
      case Type::STRUCT:
        return ConvertStruct(array, type, path);
      case Type::LIST:
        return ConvertList(array, type, path);
      case Type::MAP:
        return ConvertMap(array, type, path);
      case Type::EXTENSION:
        if (array->type_id() == Type::EXTENSION) return array;
        return arrow::ExtensionType::WrapArray(type, array);
      case Type::FIXED_SIZE_BINARY:
        if (array->type_id() != Type::EXTENSION) return array;
        return static_cast<const arrow::ExtensionArray&>(*array).storage();
      default:
        if (array->type()->Equals(*type)) return array;
        return narrowed_.contains(path) ? Narrow(array, type, path) : Cast(array, type);
    }
  }

 private:
  // A slice of nested values has those of all rows inside, and what is wrong with others is none of its
  // errors.
  Result<ArrayPtr> WithoutOthers(const ArrayPtr& array) {
    const arrow::ArrayData& data = *array->data();
    bool whole = data.offset == 0;
    if (array->type_id() == Type::STRUCT) {
      for (const auto& child : data.child_data) whole = whole && child->length == data.length;
    } else if (array->type_id() == Type::LIST || array->type_id() == Type::MAP) {
      const auto& list = static_cast<const arrow::ListArray&>(*array);
      whole =
          whole && list.value_offset(0) == 0 && list.value_offset(list.length()) == list.values()->length();
    }
    if (whole) return array;
    FZ_ASSIGN(auto alone, arrow::Concatenate({array}, pool_));
    return alone;
  }

  // Values of a type that holds less, if it has all of them. A cast of floats does not say which it changes.
  Result<ArrayPtr> Narrow(const ArrayPtr& array, const TypePtr& type, const std::string& path) {
    auto narrow = Cast(array, type);
    if (!narrow.ok()) return Prefixed(narrow.status(), "writing column \"" + path + "\"");
    if (type->id() != Type::FLOAT) return narrow;
    FZ_ASSIGN(const auto back, Cast(*narrow, array->type()));
    if (back->Equals(*array, arrow::EqualOptions::Defaults().nans_equal(true))) return narrow;
    return Error(ErrorKind::kUser,
                 "writing column \"" + path + "\": the table has float, and a double is none of its values");
  }

  Result<ArrayPtr> Cast(const ArrayPtr& array, const TypePtr& type) {
    FZ_ASSIGN(auto cast, arrow::compute::Cast(*array, type, arrow::compute::CastOptions::Safe(), &context_));
    return cast;
  }

  Status CheckNulls(bool bad, const std::string& path) {
    if (!bad) return Status::OK();
    return Error(ErrorKind::kUser, "writing column \"" + path +
                                       "\": a value is null and the table requires one; "
                                       "filter those rows out, fill them, or make it optional in the table");
  }

  Result<ArrayPtr> ConvertStruct(const ArrayPtr& array, const TypePtr& type, const std::string& path) {
    const auto& from = static_cast<const arrow::StructType&>(*array->type());
    auto data = array->data()->Copy();
    data->child_data.clear();
    for (const auto& member : type->fields()) {
      const int index = from.GetFieldIndex(member->name());
      const std::string name = path + "." + member->name();
      ArrayPtr child;
      if (index < 0) {
        FZ_ASSIGN(child, arrow::MakeArrayOfNull(member->type(), data->length, pool_));
      } else {
        FZ_ASSIGN(child, Convert(arrow::MakeArray(array->data()->child_data[static_cast<size_t>(index)]),
                                 *member, name));
      }
      data->child_data.push_back(child->data());
    }
    data->type = type;
    auto out = std::make_shared<arrow::StructArray>(data);
    for (int i = 0; i < type->num_fields(); ++i) {
      if (type->field(i)->nullable() || data->child_data[static_cast<size_t>(i)]->GetNullCount() == 0)
        continue;
      FZ_ASSIGN(auto seen, out->GetFlattenedField(i, pool_));
      FZ_TRY(CheckNulls(seen->null_count() > out->null_count(), path + "." + type->field(i)->name()));
    }
    return out;
  }

  Result<ArrayPtr> ConvertList(ArrayPtr array, const TypePtr& type, const std::string& path) {
    if (array->type_id() != Type::LIST) {
      FZ_ASSIGN(array, arrow::Concatenate({array}, pool_));  // as of WithoutOthers()
      FZ_ASSIGN(array, Cast(array, arrow::list(array->type()->field(0))));
    }
    auto data = array->data()->Copy();
    FZ_ASSIGN(auto values, Convert(static_cast<const arrow::ListArray&>(*array).values(), *type->field(0),
                                   path + ".element"));
    data->child_data = {values->data()};
    data->type = type;
    auto out = std::make_shared<arrow::ListArray>(data);
    if (!type->field(0)->nullable() && values->null_count() > 0) {
      FZ_ASSIGN(auto seen, out->Flatten(pool_));
      FZ_TRY(CheckNulls(seen->null_count() > 0, path + ".element"));
    }
    return out;
  }

  Result<ArrayPtr> ConvertMap(const ArrayPtr& array, const TypePtr& type, const std::string& path) {
    const auto& map = static_cast<const arrow::MapArray&>(*array);
    const auto& to = static_cast<const arrow::MapType&>(*type);
    FZ_ASSIGN(auto keys, Convert(map.keys(), *to.key_field(), path + ".key"));
    FZ_ASSIGN(auto items, Convert(map.items(), *to.item_field(), path + ".value"));
    FZ_TRY(CheckNulls(!to.item_field()->nullable() && items->null_count() > 0, path + ".value"));
    auto data = array->data()->Copy();
    auto entries =
        arrow::ArrayData::Make(to.value_type(), keys->length(), {nullptr}, {keys->data(), items->data()}, 0);
    data->child_data = {entries};
    data->type = type;
    return std::make_shared<arrow::MapArray>(data);
  }

  const std::set<std::string>& narrowed_;
  arrow::MemoryPool* pool_;
  arrow::compute::ExecContext context_;
};

}  // namespace

Result<std::shared_ptr<arrow::Schema>> StorageSchema(const arrow::Schema& table) {
  arrow::FieldVector fields;
  for (const auto& field : table.fields()) {
    FZ_ASSIGN(auto stored, StorageField(field, field->name()));
    fields.push_back(std::move(stored));
  }
  return arrow::schema(std::move(fields));
}

Conformer::Conformer(std::shared_ptr<arrow::Schema> schema, arrow::MemoryPool* pool,
                     std::set<std::string> left_out, std::set<std::string> narrowed)
    : schema_(std::move(schema)),
      pool_(pool),
      left_out_(std::move(left_out)),
      narrowed_(std::move(narrowed)) {}

Status Conformer::Plan(const std::shared_ptr<arrow::Schema>& from) {
  source_.clear();
  kind_ = from->GetFieldIndex(std::string(kKindColumn));
  for (const auto& field : from->fields()) {
    if (std::string_view(field->name()).starts_with(kHiddenPrefix)) continue;
    if (from->GetAllFieldIndices(field->name()).size() > 1) {
      return Error(ErrorKind::kUser,
                   "writing column \"" + field->name() + "\": the stream has it twice; rename one");
    }
    if (schema_->GetFieldIndex(field->name()) < 0 && !left_out_.contains(field->name())) {
      return Error(ErrorKind::kUser, "writing column \"" + field->name() +
                                         "\": the table has no such column; add it to the table, or drop it");
    }
  }
  for (const auto& field : schema_->fields()) {
    const int index = left_out_.contains(field->name()) ? -1 : from->GetFieldIndex(field->name());
    if (index < 0 && !field->nullable()) return Missing(field->name());
    if (index >= 0)
      FZ_TRY(CheckFits(*from->field(index)->type(), *field, field->name(), left_out_, narrowed_));
    source_.push_back(index);
  }
  planned_ = from;
  return Status::OK();
}

Result<std::shared_ptr<arrow::RecordBatch>> Conformer::Conform(
    const std::shared_ptr<arrow::RecordBatch>& batch) {
  if (planned_ == nullptr || (planned_ != batch->schema() && !planned_->Equals(*batch->schema()))) {
    FZ_TRY(Plan(batch->schema()));
  }
  if (kind_ >= 0) {
    const auto& kinds = static_cast<const arrow::UInt8Array&>(*batch->column(kind_));
    for (int64_t i = 0; i < kinds.length(); ++i) {
      if (kinds.Value(i) == static_cast<uint8_t>(RowKind::kInsert)) continue;
      return Error(ErrorKind::kUser,
                   "writing a change (update or delete) to a table that is only appended to; use a writer "
                   "for changes");
    }
  }
  Converter converter(narrowed_, pool_);
  arrow::ArrayVector columns;
  columns.reserve(source_.size());
  for (size_t i = 0; i < source_.size(); ++i) {
    const auto& field = schema_->field(static_cast<int>(i));
    ArrayPtr column;
    if (source_[i] < 0) {
      FZ_ASSIGN(column, arrow::MakeArrayOfNull(field->type(), batch->num_rows(), pool_));
    } else {
      FZ_ASSIGN(column, converter.Convert(batch->column(source_[i]), *field, field->name()));
    }
    if (!field->nullable() && column->null_count() > 0) {
      return Error(ErrorKind::kUser,
                   "writing column \"" + field->name() + "\": " + std::to_string(column->null_count()) +
                       " values of a batch are null and the table requires one; filter those rows "
                       "out, fill them, or make the column optional in the table");
    }
    columns.push_back(std::move(column));
  }
  return arrow::RecordBatch::Make(schema_, batch->num_rows(), std::move(columns));
}

}  // namespace frazil::iceberg
