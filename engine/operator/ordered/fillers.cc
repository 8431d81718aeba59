#include "operator/ordered/fillers.h"

#include <arrow/api.h>

#include <string>
#include <utility>

#include "expr/expr.h"

namespace frazil {
namespace {

std::shared_ptr<arrow::DataType> BoundType() { return arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"); }

Status FillError(const std::string& text) {
  return Error(ErrorKind::kConfig, "reading the plan: fill_gaps: " + text);
}

// What the node says of a column.
Result<nlohmann::json> FillOf(const nlohmann::json& spec, const std::string& column) {
  for (const auto& fill : spec.at("fill")) {
    if (fill.at("column") == column) return fill;
  }
  return FillError("nothing to fill column " + column + " with");
}

// The value of an expression without columns.
Result<std::shared_ptr<arrow::Scalar>> Constant(const nlohmann::json& expression, const arrow::DataType& type,
                                                arrow::MemoryPool* pool) {
  const auto none = arrow::schema(arrow::FieldVector{});
  FZ_ASSIGN(const BoundExpr bound, Bind(expression, *none));
  FZ_ASSIGN(const auto values,
            bound.Evaluate(*arrow::RecordBatch::Make(none, 1, arrow::ArrayVector{}), pool));
  if (!values->type()->Equals(type)) {
    return FillError("a value of type " + values->type()->ToString() + " for a column of " + type.ToString());
  }
  return values->GetScalar(0);
}

}  // namespace

Result<std::shared_ptr<arrow::Schema>> FilledSchema(const nlohmann::json& spec, const arrow::Schema& input) {
  arrow::FieldVector fields;
  for (const auto& field : input.fields()) {
    FZ_ASSIGN(const auto fill, FillOf(spec, field->name()));
    fields.push_back(fill.at("how") == "null" ? field->WithNullable(true) : field);
  }
  return arrow::schema(std::move(fields));
}

Result<Fillers> Fillers::Make(const nlohmann::json& spec, const arrow::Schema& input, const KeyCodec& keys,
                              arrow::MemoryPool* pool) {
  Fillers made;
  FZ_ASSIGN(made.schema_, FilledSchema(spec, input));
  arrow::FieldVector kept;
  for (int i = 0; i < input.num_fields(); ++i) {
    const auto& field = input.field(i);
    FZ_ASSIGN(const auto fill, FillOf(spec, field->name()));
    FZ_ASSIGN(Column column, ColumnOf(fill, *field, keys, pool));
    if (column.how == Column::How::kPrevious) {
      column.number = static_cast<int>(kept.size());
      kept.push_back(field);
      made.sources_.push_back(i);
    }
    made.columns_.push_back(std::move(column));
  }
  made.kept_ = arrow::schema(std::move(kept));
  return made;
}

Result<Fillers::Column> Fillers::ColumnOf(const nlohmann::json& fill, const arrow::Field& field,
                                          const KeyCodec& keys, arrow::MemoryPool* pool) {
  const auto how = fill.at("how").get<std::string>();
  if (how == "previous") return Column{Column::How::kPrevious, 0, nullptr};
  if (how == "null") return Column{Column::How::kFixed, 0, arrow::MakeNullScalar(field.type())};
  if (how == "value") {
    FZ_ASSIGN(auto value, Constant(fill.at("value"), *field.type(), pool));
    if (!value->is_valid && !field.nullable()) return FillError("null for column " + field.name());
    return Column{Column::How::kFixed, 0, std::move(value)};
  }
  if (how == "key") {
    const auto number = fill.at("key").get<int>();
    if (number < 0 || static_cast<size_t>(number) >= keys.types().size() ||
        !keys.types()[static_cast<size_t>(number)]->Equals(field.type())) {
      return FillError("column " + field.name() + " is no key " + std::to_string(number));
    }
    return Column{Column::How::kKey, number, nullptr};
  }
  if ((how != "start" && how != "end") || !field.type()->Equals(BoundType())) {
    return FillError("column " + field.name() + " with " + fill.dump());
  }
  return Column{how == "start" ? Column::How::kStart : Column::How::kEnd, 0, nullptr};
}

std::shared_ptr<arrow::RecordBatch> Fillers::keep(const arrow::RecordBatch& rows) const {
  arrow::ArrayVector columns;
  for (const int source : sources_) columns.push_back(rows.column(source));
  return arrow::RecordBatch::Make(kept_, rows.num_rows(), std::move(columns));
}

Result<std::shared_ptr<arrow::RecordBatch>> Fillers::rows(std::span<const std::string_view> keys,
                                                          const KeyCodec& codec, Timestamp start,
                                                          Timestamp end,
                                                          const std::shared_ptr<arrow::RecordBatch>& last,
                                                          arrow::MemoryPool* pool) const {
  const auto count = static_cast<int64_t>(keys.size());
  FZ_ASSIGN(const arrow::ArrayVector key_columns, codec.decode(keys, pool));
  arrow::ArrayVector columns;
  for (const Column& column : columns_) {
    if (column.how == Column::How::kKey) {
      columns.push_back(key_columns[static_cast<size_t>(column.number)]);
      continue;
    }
    if (column.how == Column::How::kPrevious) {
      columns.push_back(last->column(column.number));
      continue;
    }
    auto value = column.value;
    if (column.how != Column::How::kFixed) {
      const Timestamp bound = column.how == Column::How::kStart ? start : end;
      value = std::make_shared<arrow::TimestampScalar>(bound, BoundType());
    }
    FZ_ASSIGN(auto made, arrow::MakeArrayFromScalar(*value, count, pool));
    columns.push_back(std::move(made));
  }
  return arrow::RecordBatch::Make(schema_, count, std::move(columns));
}

}  // namespace frazil
