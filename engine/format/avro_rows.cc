#include "format/avro_rows.h"

#include <arrow/api.h>
#include <arrow/compute/api.h>
#include <arrow/util/decimal.h>

#include "base/limits.h"
#include "format/debezium_types.h"
#include "format/json_rest.h"

namespace frazil {
namespace {

Status Unreadable(const arrow::DataType& type) {
  return Error(ErrorKind::kConfig,
               "type " + type.ToString() +
                   " cannot be read from Avro\n  declare another type and cast it in the pipeline");
}

Status CheckField(const arrow::Field& field, int level) {
  const arrow::DataType& type = *field.type();
  if (JsonRest::IsOne(field))
    return Error(ErrorKind::kConfig, "Avro has no rest of an object\n  leave it out");
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
      if (key != arrow::Type::STRING && key != arrow::Type::LARGE_STRING) return Unreadable(type);
      return CheckField(*static_cast<const arrow::MapType&>(type).item_field(), level + 1);
    }
    default:
      return arrow::is_integer(type.id()) ? Status::OK() : Unreadable(type);
  }
  for (const auto& inside : type.fields()) FZ_TRY(CheckField(*inside, level + 1));
  return Status::OK();
}

AvroColumn ColumnOf(std::shared_ptr<arrow::Field> field, arrow::ArrayBuilder* builder) {
  AvroColumn column{std::move(field), builder, {}};
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

}  // namespace

Result<std::unique_ptr<AvroRows>> AvroRows::Make(std::shared_ptr<arrow::Schema> schema,
                                                 arrow::MemoryPool* pool) {
  auto rows = std::make_unique<AvroRows>(schema, pool);
  for (const auto& field : schema->fields()) {
    if (auto checked = CheckField(*field, 1); !checked.ok()) {
      return Prefixed(checked, "field \"" + field->name() + "\"");
    }
    FZ_ASSIGN(auto builder, arrow::MakeBuilder(field->type(), pool));
    rows->columns_.push_back(ColumnOf(field, builder.get()));
    rows->builders_.push_back(std::move(builder));
  }
  return rows;
}

Result<std::unique_ptr<AvroProgram>> AvroRows::Resolve(AvroSchema schema, JsonFailure& failure) {
  auto program = std::make_unique<AvroProgram>(std::move(schema));
  const AvroType& root = program->schema.at(program->schema.root);
  if (root.kind != AvroType::Kind::kRecord) {
    failure.reason = "the message's schema is " + AvroTypeText(root) + ", and rows are records";
    return nullptr;
  }
  std::vector<AvroWanted> wanted;
  for (const AvroColumn& each : columns_) {
    FZ_ASSIGN(auto path, AvroPath(*each.field));
    wanted.push_back({&each, std::move(path), true});
  }
  std::vector<std::string> blamed;
  const AvroMaking making{program->schema, &program->skips, pool_, &blamed};
  auto record = MakeAvroRecordStep(making, program->schema.root, wanted);
  if (record.ok()) {
    program->record = std::move(*record);
    return program;
  }
  if (KindOf(record.status()) != ErrorKind::kDecode) return record.status();
  failure.reason = MessageOf(record.status());
  for (size_t i = 0; i < blamed.size(); ++i) {
    if (i == 0) {
      failure.column = blamed[i];
    } else {
      failure.path += "." + blamed[i];
    }
  }
  return nullptr;
}

Status AvroRows::Reserve(int64_t rows) {
  for (const auto& builder : builders_) FZ_TRY(builder->Reserve(rows));
  return Status::OK();
}

bool AvroRows::Append(const AvroProgram& program, std::string_view bytes, JsonFailure& failure) {
  AvroCursor in(bytes);
  if (program.record->Take(in, failure)) [[likely]] {
    if (in.left() == 0) [[likely]] {
      ++length_;
      return true;
    }
    failure.Because(std::to_string(in.left()) + " bytes more than its schema says");
  } else if (!failure.fatal.ok()) {
    return false;
  } else {
    failure.reason += " (at byte " + std::to_string(in.place()) + " of the record)";
  }
  for (const AvroColumn& column : columns_) {
    if (!failure.Ok(SettleAvro(column, length_ + 1))) return false;
  }
  bad_.push_back(length_++);
  return false;
}

Result<std::shared_ptr<arrow::RecordBatch>> AvroRows::Finish() {
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

}  // namespace frazil
