#include "format/avro_rows.h"

namespace frazil {

Result<std::unique_ptr<AvroRows>> AvroRows::Make(std::shared_ptr<arrow::Schema> schema,
                                                 arrow::MemoryPool* pool) {
  FZ_ASSIGN(auto columns, RowBuilders::Make(std::move(schema), {.name = "Avro", .only_texts = true}, pool));
  return std::make_unique<AvroRows>(std::move(columns));
}

Result<std::unique_ptr<AvroProgram>> AvroRows::Resolve(AvroSchema schema, JsonFailure& failure) {
  auto program = std::make_unique<AvroProgram>(std::move(schema));
  const AvroType& root = program->schema.at(program->schema.root);
  if (root.kind != AvroType::Kind::kRecord) {
    failure.reason = "the message's schema is " + AvroTypeText(root) + ", and rows are records";
    return nullptr;
  }
  std::vector<AvroWanted> wanted;
  for (const AvroColumn& each : columns_->columns()) {
    FZ_ASSIGN(auto path, SourcePath(*each.field));
    wanted.push_back({&each, std::move(path), true});
  }
  std::vector<std::string> blamed;
  const AvroMaking making{program->schema, &program->skips, columns_->pool(), &blamed};
  auto record = MakeAvroRecordStep(making, program->schema.root, wanted);
  if (record.ok()) {
    program->record = std::move(*record);
    return program;
  }
  if (KindOf(record.status()) != ErrorKind::kDecode) return record.status();
  BlameColumn(blamed, record.status(), failure);
  return nullptr;
}

bool AvroRows::Append(const AvroProgram& program, std::string_view bytes, JsonFailure& failure) {
  AvroCursor in(bytes);
  if (program.record->Take(in, failure)) [[likely]] {
    if (in.left() == 0) [[likely]] {
      columns_->Keep();
      return true;
    }
    failure.Because(std::to_string(in.left()) + " bytes more than its schema says");
  } else if (!failure.fatal.ok()) {
    return false;
  } else {
    failure.reason += " (at byte " + std::to_string(in.place()) + " of the record)";
  }
  failure.Ok(columns_->GiveUp());
  return false;
}

}  // namespace frazil
