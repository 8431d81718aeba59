#include "format/row_builders.h"

#include <arrow/api.h>
#include <arrow/compute/api.h>

#include "base/limits.h"
#include "format/debezium_types.h"
#include "format/json.h"
#include "format/json_column.h"
#include "format/json_object.h"
#include "format/json_rest.h"

namespace frazil {
namespace {

Status Unreadable(const arrow::DataType& type, const RowFormat& format) {
  return Error(ErrorKind::kConfig, "type " + type.ToString() + " cannot be read from " + format.name +
                                       "\n  declare another type and cast it in the pipeline");
}

Status CheckField(const arrow::Field& field, const RowFormat& format, int level) {
  const arrow::DataType& type = *field.type();
  if (JsonRest::IsOne(field))
    return Error(ErrorKind::kConfig, std::string(format.name) + " has no rest of an object\n  leave it out");
  if (level > limits::kJsonDepth) {
    return Error(ErrorKind::kConfig,
                 "type nested deeper than " + std::to_string(limits::kJsonDepth) + " levels\n  flatten it");
  }
  switch (type.id()) {
    case arrow::Type::NA:
    case arrow::Type::BOOL:
    case arrow::Type::FLOAT:
    case arrow::Type::DOUBLE:
    case arrow::Type::STRING:
    case arrow::Type::LARGE_STRING:
    case arrow::Type::BINARY:
    case arrow::Type::LARGE_BINARY:
    case arrow::Type::FIXED_SIZE_BINARY:
    case arrow::Type::DECIMAL128:
    case arrow::Type::DECIMAL256:
    case arrow::Type::DATE32:
    case arrow::Type::TIME32:
    case arrow::Type::TIME64:
    case arrow::Type::TIMESTAMP:
    case arrow::Type::DURATION:
      return Status::OK();
    case arrow::Type::STRUCT:
    case arrow::Type::LIST:
    case arrow::Type::LARGE_LIST:
      break;
    case arrow::Type::MAP: {
      const auto key = static_cast<const arrow::MapType&>(type).key_type()->id();
      const bool text = key == arrow::Type::STRING || key == arrow::Type::LARGE_STRING;
      const bool plain = arrow::is_integer(key) || key == arrow::Type::BOOL;
      if (!text && (format.only_texts || !plain)) return Unreadable(type, format);
      return CheckField(*static_cast<const arrow::MapType&>(type).item_field(), format, level + 1);
    }
    default:
      return arrow::is_integer(type.id()) ? Status::OK() : Unreadable(type, format);
  }
  for (const auto& inside : type.fields()) FZ_TRY(CheckField(*inside, format, level + 1));
  return Status::OK();
}

BuiltColumn ColumnOf(std::shared_ptr<arrow::Field> field, arrow::ArrayBuilder* builder) {
  BuiltColumn column{std::move(field), builder, {}};
  const arrow::DataType& type = *column.field->type();
  switch (type.id()) {
    case arrow::Type::STRUCT:
      for (int i = 0; i < type.num_fields(); ++i) {
        column.inside.push_back(
            ColumnOf(type.field(i), static_cast<arrow::StructBuilder*>(builder)->field_builder(i)));
      }
      break;
    case arrow::Type::LIST:
      column.inside.push_back(
          ColumnOf(type.field(0), static_cast<arrow::ListBuilder*>(builder)->value_builder()));
      break;
    case arrow::Type::LARGE_LIST:
      column.inside.push_back(
          ColumnOf(type.field(0), static_cast<arrow::LargeListBuilder*>(builder)->value_builder()));
      break;
    case arrow::Type::MAP: {
      auto* const map = static_cast<arrow::MapBuilder*>(builder);
      const auto& map_type = static_cast<const arrow::MapType&>(type);
      column.inside.push_back(ColumnOf(map_type.key_field(), map->key_builder()));
      column.inside.push_back(ColumnOf(map_type.item_field(), map->item_builder()));
      break;
    }
    default:
      break;
  }
  return column;
}

// Makes a column whole after a step that failed in the midst of it, and `length` long.
Status Settle(const BuiltColumn& column, int64_t length) {
  switch (column.builder->type()->id()) {
    case arrow::Type::STRUCT:
      for (const BuiltColumn& each : column.inside) FZ_TRY(Settle(each, column.builder->length()));
      break;
    case arrow::Type::LIST:
    case arrow::Type::LARGE_LIST:
      FZ_TRY(Settle(column.inside[0], column.inside[0].builder->length()));
      break;
    case arrow::Type::MAP:
      FZ_TRY(Settle(column.inside[1], column.inside[0].builder->length()));
      break;
    default:
      break;
  }
  while (column.builder->length() < length) FZ_TRY(column.builder->AppendEmptyValue());
  return Status::OK();
}

}  // namespace

Result<std::unique_ptr<RowBuilders>> RowBuilders::Make(std::shared_ptr<arrow::Schema> schema,
                                                       const RowFormat& format, arrow::MemoryPool* pool) {
  auto rows = std::make_unique<RowBuilders>(schema, pool);
  for (const auto& field : schema->fields()) {
    if (auto checked = CheckField(*field, format, 1); !checked.ok()) {
      return Prefixed(checked, "field \"" + field->name() + "\"");
    }
    FZ_ASSIGN(auto builder, arrow::MakeBuilder(field->type(), pool));
    rows->columns_.push_back(ColumnOf(field, builder.get()));
    rows->builders_.push_back(std::move(builder));
  }
  return rows;
}

Status RowBuilders::Reserve(int64_t rows) {
  for (const auto& builder : builders_) FZ_TRY(builder->Reserve(rows));
  return Status::OK();
}

Status RowBuilders::GiveUp() {
  for (const BuiltColumn& column : columns_) FZ_TRY(Settle(column, length_ + 1));
  bad_.push_back(length_++);
  return Status::OK();
}

Result<std::shared_ptr<arrow::RecordBatch>> RowBuilders::Finish() {
  arrow::ArrayVector columns;
  for (size_t i = 0; i < builders_.size(); ++i) {
    FZ_ASSIGN(auto column, builders_[i]->Finish());
    columns.push_back(
        arrow::MakeArray(Retyped(*column->data(), schema_->field(static_cast<int>(i))->type())));
  }
  auto rows = arrow::RecordBatch::Make(schema_, length_, std::move(columns));
  length_ = 0;
  if (bad_.empty()) return rows;
  arrow::BooleanBuilder good(pool_);
  FZ_TRY(good.Reserve(rows->num_rows()));
  size_t next = 0;
  for (int64_t i = 0; i < rows->num_rows(); ++i) {
    const bool bad = next < bad_.size() && bad_[next] == i;
    good.UnsafeAppend(!bad);
    next += bad ? 1 : 0;
  }
  bad_.clear();
  FZ_ASSIGN(const auto mask, good.Finish());
  arrow::compute::ExecContext context(pool_);
  context.set_use_threads(false);
  FZ_ASSIGN(arrow::Datum kept,
            arrow::compute::Filter(rows, mask, arrow::compute::FilterOptions::Defaults(), &context));
  return kept.record_batch();
}

Result<std::shared_ptr<arrow::Array>> DefaultOf(const arrow::Field& field, arrow::MemoryPool* pool) {
  const std::string text = JsonMetadata(field, "fz:default");
  if (text.empty()) return nullptr;
  if (text == "[]" || text == "{}") {  // of every type that has them
    FZ_ASSIGN(auto builder, arrow::MakeBuilder(field.type(), pool));
    FZ_TRY(builder->AppendEmptyValue());
    FZ_ASSIGN(auto made, builder->Finish());
    return arrow::MakeArray(Retyped(*made->data(), field.type()));
  }
  RawBatch row;
  row.data = arrow::Buffer::FromString("{}" + std::string(kRawPadding, ' '));
  row.offset = {0};
  row.length = {2};
  const auto columns = arrow::schema({field.WithMetadata(field.metadata())});
  FZ_ASSIGN(auto decoder, MakeJsonDecoder(columns, JsonOptions(), pool));
  FZ_ASSIGN(const Decoded decoded, decoder->decode(row));
  if (decoded.rows->num_rows() != 1)
    return Error(ErrorKind::kConfig, "the default " + text + " cannot be read");
  return decoded.rows->column(0);
}

Result<std::vector<std::string>> SourcePath(const arrow::Field& field) {
  const std::string source = JsonMetadata(field, "fz:source");
  if (source.empty()) return std::vector<std::string>{field.name()};
  return ParseJsonSource(source);
}

void BlameColumn(const std::vector<std::string>& place, const Status& status, JsonFailure& failure) {
  failure.reason = MessageOf(status);
  for (size_t i = 0; i < place.size(); ++i) {
    if (i == 0) {
      failure.column = place[i];
    } else {
      failure.path += "." + place[i];
    }
  }
}

}  // namespace frazil
