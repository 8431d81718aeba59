#include "format/avro_step.h"

#include <arrow/array.h>
#include <arrow/builder.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "format/json_column.h"
#include "format/quoted_text.h"

namespace frazil {
namespace {

using Kind = AvroType::Kind;

constexpr const char* kAliases = "fz:aliases";  // field metadata: a JSON list of older names

class NullStep : public AvroStep {
 public:
  explicit NullStep(const AvroColumn& column)
      : builder_(column.builder), nullable_(column.field->nullable()) {}
  bool Take(AvroCursor&, JsonFailure& failure) override {
    if (!nullable_) return failure.Because("null, and the column is not nullable");
    return failure.Ok(builder_->AppendNull());
  }

 private:
  arrow::ArrayBuilder* builder_;
  bool nullable_;
};

// What a field that the message does not have gets.
class DefaultStep : public AvroStep {
 public:
  DefaultStep(arrow::ArrayBuilder* builder, std::shared_ptr<arrow::Array> value)
      : builder_(builder), value_(std::move(value)), span_(*value_->data()) {}
  bool Take(AvroCursor&, JsonFailure& failure) override {
    return failure.Ok(builder_->AppendArraySlice(span_, 0, 1));
  }

 private:
  arrow::ArrayBuilder* builder_;
  std::shared_ptr<arrow::Array> value_;
  arrow::ArraySpan span_;
};

class UnionStep : public AvroStep {
 public:
  explicit UnionStep(AvroSteps branches) : branches_(std::move(branches)) {}
  bool Take(AvroCursor& in, JsonFailure& failure) override {
    size_t branch = 0;
    return in.TakeChoice(branches_.size(), &branch, failure) && branches_[branch]->Take(in, failure);
  }

 private:
  AvroSteps branches_;
};

class RecordStep : public AvroStep {
 public:
  struct Reading {
    std::unique_ptr<AvroStep> step;
    std::string name;  // for errors; empty if the step says it
    bool root = false;
  };
  struct Part {
    AvroStep* skip = nullptr;  // nobody reads it
    std::vector<Reading> readings;
  };

  RecordStep(std::vector<Part> parts, std::vector<Reading> missing)
      : parts_(std::move(parts)), missing_(std::move(missing)) {}

  bool Take(AvroCursor& in, JsonFailure& failure) override {
    for (const Part& part : parts_) {
      if (part.skip != nullptr) {
        if (!part.skip->Take(in, failure)) return false;
        continue;
      }
      const AvroCursor begin = in;
      for (size_t i = 0; i < part.readings.size(); ++i) {
        if (i > 0) in = begin;
        if (!Take(part.readings[i], in, failure)) return false;
      }
    }
    for (const Reading& reading : missing_) {
      if (!Take(reading, in, failure)) return false;
    }
    return true;
  }

 private:
  static bool Take(const Reading& reading, AvroCursor& in, JsonFailure& failure) {
    if (reading.step->Take(in, failure)) [[likely]]
      return true;
    if (reading.root) {
      failure.column = reading.name;
    } else if (!reading.name.empty()) {
      failure.Within("." + reading.name);
    }
    return false;
  }

  std::vector<Part> parts_;
  std::vector<Reading> missing_;
};

class StructStep : public AvroStep {
 public:
  StructStep(arrow::StructBuilder* builder, std::unique_ptr<AvroStep> fields)
      : builder_(builder), fields_(std::move(fields)) {}
  bool Take(AvroCursor& in, JsonFailure& failure) override {
    return failure.Ok(builder_->Append()) && fields_->Take(in, failure);
  }

 private:
  arrow::StructBuilder* builder_;
  std::unique_ptr<AvroStep> fields_;
};

template <typename Builder>
class ListStep : public AvroStep {
 public:
  ListStep(Builder* builder, std::unique_ptr<AvroStep> item, bool empty)
      : builder_(builder), item_(std::move(item)), empty_(empty) {}
  bool Take(AvroCursor& in, JsonFailure& failure) override {
    if (!failure.Ok(builder_->Append())) return false;
    int64_t place = 0;
    for (;;) {
      int64_t items = 0, bytes = 0;
      if (!in.TakeBlock(empty_, &items, &bytes, failure)) return false;
      if (items == 0) return true;
      const int64_t begin = in.place();
      for (int64_t i = 0; i < items; ++i, ++place) {
        if (item_->Take(in, failure)) [[likely]]
          continue;
        failure.Within(Bracketed(std::to_string(place)));
        return false;
      }
      if (bytes >= 0 && in.place() - begin != bytes) return failure.Because("a block whose length is wrong");
    }
  }

 private:
  Builder* builder_;
  std::unique_ptr<AvroStep> item_;
  bool empty_;
};

class MapStep : public AvroStep {
 public:
  MapStep(arrow::MapBuilder* builder, std::unique_ptr<AvroStep> key, std::unique_ptr<AvroStep> value)
      : builder_(builder), key_(std::move(key)), value_(std::move(value)) {}
  bool Take(AvroCursor& in, JsonFailure& failure) override {
    if (!failure.Ok(builder_->Append())) return false;
    keys_.clear();
    for (;;) {
      int64_t items = 0, bytes = 0;
      if (!in.TakeBlock(/*empty_items=*/false, &items, &bytes, failure)) return false;
      if (items == 0) return AreApart(failure);
      const int64_t begin = in.place();
      for (int64_t i = 0; i < items; ++i) {
        AvroCursor at = in;
        std::string_view key;
        if (!at.TakeText(&key, failure) || !key_->Take(in, failure)) return false;
        keys_.push_back(key);
        if (value_->Take(in, failure)) [[likely]]
          continue;
        failure.Within(Bracketed(QuotedText(key)));
        return false;
      }
      if (bytes >= 0 && in.place() - begin != bytes) return failure.Because("a block whose length is wrong");
    }
  }

 private:
  // Which of two values would count is not said anywhere.
  bool AreApart(JsonFailure& failure) {
    if (keys_.size() < 2) return true;
    std::sort(keys_.begin(), keys_.end());
    const auto twice = std::adjacent_find(keys_.begin(), keys_.end());
    return twice == keys_.end() || failure.Because("key " + QuotedText(*twice) + " is there twice");
  }

  arrow::MapBuilder* builder_;
  std::unique_ptr<AvroStep> key_, value_;
  std::vector<std::string_view> keys_;  // of the map at hand
};

// The null branch and the other of a union; the latter -1 if there is none or more than one.
struct Branches {
  bool null = false;
  int32_t value = -1;
  size_t values = 0;
};

Branches BranchesOf(const AvroSchema& schema, const AvroType& type) {
  Branches found;
  for (const int32_t branch : type.inside) {
    if (schema.at(branch).kind == Kind::kNull) {
      found.null = true;
    } else {
      found.value = ++found.values == 1 ? branch : -1;
    }
  }
  return found;
}

std::string UnionText(const AvroSchema& schema, const AvroType& type) {
  std::string text;
  for (const int32_t branch : type.inside)
    text += (text.empty() ? "" : ", ") + AvroTypeText(schema.at(branch));
  return "[" + text + "]";
}

Result<std::unique_ptr<AvroStep>> MakeMissing(const AvroMaking& making, const AvroColumn& column) {
  FZ_ASSIGN(auto value, DefaultOf(*column.field, making.pool));
  if (value != nullptr) return std::make_unique<DefaultStep>(column.builder, std::move(value));
  if (column.field->nullable()) return std::make_unique<NullStep>(column);
  return Error(ErrorKind::kDecode,
               "the message's schema has no such field, and the column is not nullable\n  "
               "declare it as T | None, or with fz.field(default=)");
}

Status Blame(const AvroMaking& making, const std::string& name, const Status& status) {
  making.blamed->insert(making.blamed->begin(), name);
  return status;
}

// Where a record does not have the field but one of its older names (fz:aliases), it is read by that.
Status TakeAlias(const AvroType& record, AvroWanted* wanted) {
  const std::string text = JsonMetadata(*wanted->column->field, kAliases);
  const auto has = [&](const std::string& name) {
    return std::any_of(record.fields.begin(), record.fields.end(),
                       [&](const AvroType::Field& field) { return field.name == name; });
  };
  if (text.empty() || wanted->path.size() != 1 || has(wanted->path[0])) return Status::OK();
  const auto aliases = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!aliases.is_array()) return Error(ErrorKind::kConfig, "fz:aliases is no list: " + text);
  for (const auto& alias : aliases) {
    if (!alias.is_string() || !has(alias.get<std::string>())) continue;
    wanted->path[0] = alias.get<std::string>();
    break;
  }
  return Status::OK();
}

Status MakeMissings(const AvroMaking& making, const std::vector<AvroWanted>& wanted,
                    std::vector<RecordStep::Reading>* missing) {
  for (const AvroWanted& each : wanted) {
    const std::string& name = each.column->field->name();
    auto step = MakeMissing(making, *each.column);
    if (!step.ok()) return Blame(making, name, step.status());
    missing->push_back({std::move(*step), name, each.root});
  }
  return Status::OK();
}

// Columns whose values are further inside a field of this type.
Result<std::unique_ptr<AvroStep>> MakeInside(const AvroMaking& making, int32_t number,
                                             const std::vector<AvroWanted>& wanted) {
  const AvroType& type = making.schema.at(number);
  if (type.kind == Kind::kRecord) return MakeAvroRecordStep(making, number, wanted);
  const Branches branches = type.kind == Kind::kUnion ? BranchesOf(making.schema, type) : Branches{};
  if (type.kind != Kind::kUnion || (branches.value < 0 && branches.values > 0) ||
      (branches.values == 1 && making.schema.at(branches.value).kind != Kind::kRecord)) {
    const AvroWanted& first = wanted.front();
    return Blame(making, first.column->field->name(),
                 Error(ErrorKind::kDecode, "the message's schema says " + AvroTypeText(type) +
                                               " where its source goes into a record"));
  }
  AvroSteps steps;
  for (const int32_t branch : type.inside) {
    if (branch == branches.value) {
      FZ_ASSIGN(auto step, MakeAvroRecordStep(making, branch, wanted));
      steps.push_back(std::move(step));
      continue;
    }
    std::vector<RecordStep::Reading> missing;
    for (const AvroWanted& each : wanted) {
      // What is not nullable and has no default makes a message bad only where the record is null.
      auto step = MakeMissing(making, *each.column);
      if (!step.ok()) step = std::make_unique<NullStep>(*each.column);
      missing.push_back({std::move(*step), each.column->field->name(), each.root});
    }
    steps.push_back(std::make_unique<RecordStep>(std::vector<RecordStep::Part>(), std::move(missing)));
  }
  return std::make_unique<UnionStep>(std::move(steps));
}

Result<std::unique_ptr<AvroStep>> MakeUnion(const AvroMaking& making, const AvroType& type,
                                            const AvroColumn& column) {
  const Branches branches = BranchesOf(making.schema, type);
  if (branches.values > 1) {
    return Error(ErrorKind::kDecode, "the message's schema says a union of several types, " +
                                         UnionText(making.schema, type) +
                                         "\n  a column has one type: leave it out of the schema");
  }
  AvroSteps steps;
  for (const int32_t branch : type.inside) {
    FZ_ASSIGN(auto step, MakeAvroStep(making, branch, column));
    steps.push_back(std::move(step));
  }
  return std::make_unique<UnionStep>(std::move(steps));
}

// A value that is neither null nor of a union.
Result<std::unique_ptr<AvroStep>> MakeValue(const AvroMaking& making, const AvroType& type,
                                            const AvroColumn& column) {
  FZ_ASSIGN(auto made, MakeAvroNumberStep(type, column));
  if (made == nullptr) {
    FZ_ASSIGN(made, MakeAvroTimeStep(type, column));
  }
  if (made == nullptr) {
    FZ_ASSIGN(made, MakeAvroDecimalStep(making, type, column));
  }
  if (made == nullptr) {
    FZ_ASSIGN(made, MakeAvroTextStep(type, column));
  }
  if (made == nullptr) {
    FZ_ASSIGN(made, MakeAvroNestedStep(making, type, column));
  }
  if (made == nullptr) return AvroClash(type, *column.field, "");
  return made;
}

}  // namespace

Status AvroClash(const AvroType& type, const arrow::Field& field, const std::string& advice) {
  return Error(ErrorKind::kDecode, "the message's schema says " + AvroTypeText(type) +
                                       ", and the column is declared " + field.type()->ToString() +
                                       (advice.empty() ? "" : "\n  " + advice));
}

Result<std::unique_ptr<AvroStep>> MakeAvroStep(const AvroMaking& making, int32_t number,
                                               const AvroColumn& column) {
  const AvroType& type = making.schema.at(number);
  if (type.kind == Kind::kNull) return std::make_unique<NullStep>(column);
  if (type.kind == Kind::kUnion) return MakeUnion(making, type, column);
  FZ_ASSIGN(auto made, MakeValue(making, type, column));
  return MakeAvroAvailableStep(making, type, column, std::move(made));
}

Result<std::unique_ptr<AvroStep>> MakeAvroNestedStep(const AvroMaking& making, const AvroType& type,
                                                     const AvroColumn& column) {
  const auto id = column.builder->type()->id();
  if (id == arrow::Type::STRUCT) {
    if (type.kind != Kind::kRecord) return AvroClash(type, *column.field, "");
    std::vector<AvroWanted> wanted;
    for (const AvroColumn& each : column.inside) {
      FZ_ASSIGN(auto path, SourcePath(*each.field));
      wanted.push_back({&each, std::move(path), false});
    }
    const auto number = static_cast<int32_t>(&type - making.schema.types.data());
    FZ_ASSIGN(auto fields, MakeAvroRecordStep(making, number, wanted));
    return std::make_unique<StructStep>(static_cast<arrow::StructBuilder*>(column.builder),
                                        std::move(fields));
  }
  if (id == arrow::Type::LIST || id == arrow::Type::LARGE_LIST) {
    if (type.kind != Kind::kArray) return AvroClash(type, *column.field, "");
    FZ_ASSIGN(auto item, MakeAvroStep(making, type.inside[0], column.inside[0]));
    const bool empty = making.schema.at(type.inside[0]).may_be_empty;
    if (id == arrow::Type::LIST) {
      return std::make_unique<ListStep<arrow::ListBuilder>>(static_cast<arrow::ListBuilder*>(column.builder),
                                                            std::move(item), empty);
    }
    return std::make_unique<ListStep<arrow::LargeListBuilder>>(
        static_cast<arrow::LargeListBuilder*>(column.builder), std::move(item), empty);
  }
  if (id == arrow::Type::MAP) {
    if (type.kind != Kind::kMap) return AvroClash(type, *column.field, "");
    AvroType text;
    text.kind = Kind::kString;
    FZ_ASSIGN(auto key, MakeAvroTextStep(text, column.inside[0]));
    FZ_ASSIGN(auto value, MakeAvroStep(making, type.inside[0], column.inside[1]));
    return std::make_unique<MapStep>(static_cast<arrow::MapBuilder*>(column.builder), std::move(key),
                                     std::move(value));
  }
  return nullptr;
}

Result<std::unique_ptr<AvroStep>> MakeAvroRecordStep(const AvroMaking& making, int32_t record,
                                                     const std::vector<AvroWanted>& columns) {
  std::vector<AvroWanted> wanted = columns;
  for (AvroWanted& each : wanted) FZ_TRY(TakeAlias(making.schema.at(record), &each));
  std::vector<RecordStep::Part> parts;
  std::vector<bool> found(wanted.size(), false);
  for (const auto& field : making.schema.at(record).fields) {
    RecordStep::Part part;
    std::vector<AvroWanted> inside;
    for (size_t i = 0; i < wanted.size(); ++i) {
      const AvroWanted& each = wanted[i];
      if (each.path.front() != field.name) continue;
      found[i] = true;
      if (each.path.size() > 1) {
        inside.push_back({each.column, {each.path.begin() + 1, each.path.end()}, each.root});
        continue;
      }
      const std::string& name = each.column->field->name();
      auto step = MakeAvroStep(making, field.type, *each.column);
      if (!step.ok()) return Blame(making, name, step.status());
      part.readings.push_back({std::move(*step), name, each.root});
    }
    if (!inside.empty()) {
      FZ_ASSIGN(auto step, MakeInside(making, field.type, inside));
      part.readings.push_back({std::move(step), "", false});
    }
    if (part.readings.empty()) part.skip = making.skips->Of(field.type);
    parts.push_back(std::move(part));
  }
  std::vector<AvroWanted> lacking;
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (!found[i]) lacking.push_back(wanted[i]);
  }
  std::vector<RecordStep::Reading> missing;
  FZ_TRY(MakeMissings(making, lacking, &missing));
  return std::make_unique<RecordStep>(std::move(parts), std::move(missing));
}

}  // namespace frazil
