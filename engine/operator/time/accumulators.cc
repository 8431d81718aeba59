#include "operator/time/accumulators.h"

#include <arrow/api.h>
#include <arrow/compute/api.h>
#include <arrow/util/key_value_metadata.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/schema_text.h"

namespace frazil {
namespace {

constexpr const char* kArguments = "frazil.arguments";  // metadata of a saved field: schema of the arguments

std::span<const std::byte* const> Const(std::span<std::byte* const> payloads) {
  return {const_cast<const std::byte* const*>(payloads.data()), payloads.size()};
}

Result<std::string> TypesText(const arrow::DataTypeVector& types) {
  arrow::FieldVector fields;
  for (const auto& type : types) fields.push_back(arrow::field("a" + std::to_string(fields.size()), type));
  return SchemaText(*arrow::schema(std::move(fields)));
}

}  // namespace

Status Accumulators::append(const nlohmann::json& spec, Each each, bool changes) {
  each.name = spec.at("name").get<std::string>();
  FZ_ASSIGN(each.aggregate, MakeAggregate(spec.at("fn").get<std::string>(), each.types,
                                          spec.value("options", nlohmann::json::object()), changes));
  each.offset = width_;
  width_ += each.aggregate->width();
  needs_order_ = needs_order_ || each.aggregate->needs_order();
  all_.push_back(std::move(each));
  return Status::OK();
}

Result<Accumulators> Accumulators::OfRows(const nlohmann::json& aggregates, const arrow::Schema& input,
                                          bool changes) {
  Accumulators made;
  for (const auto& spec : aggregates) {
    Each each;
    for (const auto& argument : spec.at("args")) {
      FZ_ASSIGN(BoundExpr bound, Bind(argument, input));
      each.types.push_back(bound.type());
      each.arguments.push_back(std::move(bound));
    }
    if (spec.contains("filter") && !spec["filter"].is_null()) {
      FZ_ASSIGN(each.filter, Bind(spec["filter"], input));
      if (each.filter->type()->id() != arrow::Type::BOOL) {
        return Error(ErrorKind::kConfig, "reading the plan: the filter of an aggregate is not boolean");
      }
    }
    FZ_TRY(made.append(spec, std::move(each), changes));
  }
  return made;
}

Result<Accumulators> Accumulators::OfSaved(const nlohmann::json& aggregates, const arrow::Schema& saved) {
  Accumulators made;
  for (const auto& spec : aggregates) {
    const auto field = saved.GetFieldByName("a" + std::to_string(made.all_.size()));
    FZ_CHECK(field != nullptr && field->HasMetadata());
    FZ_ASSIGN(const std::string text, field->metadata()->Get(kArguments));
    FZ_ASSIGN(const auto schema, ParseSchema(text));
    Each each;
    for (const auto& argument : schema->fields()) each.types.push_back(argument->type());
    FZ_TRY(made.append(spec, std::move(each), /*changes=*/false));
  }
  return made;
}

void Accumulators::create(std::byte* payload) const {
  for (const Each& each : all_) each.aggregate->create(payload + each.offset);
}

void Accumulators::destroy(std::byte* payload) {
  for (const Each& each : all_) {
    heap_bytes_ -= each.aggregate->heap_bytes(payload + each.offset);
    each.aggregate->destroy(payload + each.offset);
  }
}

Status Accumulators::done(Status status, const Each& each, const AggregateEffects& effects) {
  heap_bytes_ += effects.heap_bytes;
  failed_ = effects.failed;
  return status.ok() ? status : Prefixed(status, "aggregate " + each.name);
}

Status Accumulators::add(const Batch& batch, std::span<std::byte* const> payloads,
                         std::span<const OrderKey> order, arrow::MemoryPool* pool) {
  FZ_ASSIGN(const Inputs inputs, evaluate(batch, pool));
  for (size_t i = 0; i < all_.size(); ++i) {
    FZ_TRY(add_to(all_[i], inputs.arguments[i], inputs.kept[i].get(), payloads, order));
  }
  return Status::OK();
}

Status Accumulators::change(const Batch& batch, std::span<std::byte* const> added,
                            std::span<std::byte* const> taken, arrow::MemoryPool* pool) {
  FZ_ASSIGN(const Inputs inputs, evaluate(batch, pool));
  for (size_t i = 0; i < all_.size(); ++i) {
    FZ_TRY(add_to(all_[i], inputs.arguments[i], inputs.kept[i].get(), added, {}));
    FZ_TRY(add_to(all_[i], inputs.arguments[i], inputs.kept[i].get(), taken, {}, /*retract=*/true));
  }
  return Status::OK();
}

Status Accumulators::add_to(const Each& each, const arrow::ArrayVector& inputs,
                            const arrow::BooleanArray* kept, std::span<std::byte* const> payloads,
                            std::span<const OrderKey> order, bool retract) {
  std::vector<std::byte*> some;
  if (kept != nullptr) {
    some.assign(payloads.begin(), payloads.end());
    for (int64_t i = 0; i < kept->length(); ++i) {
      if (kept->IsNull(i) || !kept->Value(i)) some[static_cast<size_t>(i)] = nullptr;
    }
    payloads = some;
  }
  AggregateEffects effects;
  Status status = retract ? each.aggregate->retract(payloads, each.offset, inputs, &effects)
                          : each.aggregate->add(payloads, each.offset, inputs, {order}, &effects);
  return done(std::move(status), each, effects);
}

Result<Accumulators::Inputs> Accumulators::evaluate(const Batch& batch, arrow::MemoryPool* pool) const {
  Inputs inputs;
  for (const Each& each : all_) {
    auto& arguments = inputs.arguments.emplace_back();
    for (const BoundExpr& argument : each.arguments) {
      FZ_ASSIGN(auto values, argument.Evaluate(*batch.columns, pool));
      arguments.push_back(std::move(values));
    }
    auto& kept = inputs.kept.emplace_back();
    if (!each.filter.has_value()) continue;
    FZ_ASSIGN(auto mask, each.filter->Evaluate(*batch.columns, pool));
    kept = std::static_pointer_cast<arrow::BooleanArray>(std::move(mask));
  }
  return inputs;
}

Status Accumulators::add(const Inputs& inputs, std::span<const int32_t> rows,
                         std::span<std::byte* const> payloads, std::span<const OrderKey> order,
                         arrow::MemoryPool* pool) {
  const auto count = static_cast<int64_t>(rows.size());
  if (count == 0) return Status::OK();
  const bool together = rows.back() - rows.front() + 1 == count;
  const arrow::Int32Array numbers(count, arrow::Buffer::Wrap(rows.data(), rows.size()));
  arrow::compute::ExecContext context(pool);
  const auto pick =
      [&](const std::shared_ptr<arrow::Array>& column) -> Result<std::shared_ptr<arrow::Array>> {
    if (together) return column->Slice(rows.front(), count);
    return arrow::compute::Take(*column, numbers, arrow::compute::TakeOptions::NoBoundsCheck(), &context);
  };
  for (size_t i = 0; i < all_.size(); ++i) {
    arrow::ArrayVector some;
    for (const auto& argument : inputs.arguments[i]) {
      FZ_ASSIGN(auto picked, pick(argument));
      some.push_back(std::move(picked));
    }
    std::shared_ptr<arrow::Array> kept;
    if (inputs.kept[i] != nullptr) {
      FZ_ASSIGN(kept, pick(inputs.kept[i]));
    }
    FZ_TRY(add_to(all_[i], some, static_cast<const arrow::BooleanArray*>(kept.get()), payloads, order));
  }
  return Status::OK();
}

bool Accumulators::plain() const {
  return std::all_of(all_.begin(), all_.end(), [](const Each& each) {
    return each.aggregate->saved_type()->id() == arrow::Type::FIXED_SIZE_BINARY;
  });
}

Result<arrow::ArrayVector> Accumulators::save(std::span<std::byte* const> payloads,
                                              arrow::MemoryPool* pool) const {
  arrow::ArrayVector columns;
  for (const Each& each : all_) {
    FZ_ASSIGN(auto column, each.aggregate->save(Const(payloads), each.offset, pool));
    columns.push_back(std::move(column));
  }
  return columns;
}

Status Accumulators::merge(std::span<std::byte* const> payloads, const arrow::ArrayVector& saved) {
  FZ_CHECK(saved.size() == all_.size());
  for (size_t i = 0; i < all_.size(); ++i) {
    AggregateEffects effects;
    FZ_TRY(done(all_[i].aggregate->merge(payloads, all_[i].offset, *saved[i], &effects), all_[i], effects));
  }
  return Status::OK();
}

Result<arrow::ArrayVector> Accumulators::finish(std::span<std::byte* const> payloads, arrow::MemoryPool* pool,
                                                int64_t* failed) const {
  arrow::ArrayVector columns;
  for (const Each& each : all_) {
    AggregateEffects effects;
    auto column = each.aggregate->finish(Const(payloads), each.offset, pool, &effects);
    if (!column.ok()) {
      *failed = effects.failed;
      return Prefixed(column.status(), "aggregate " + each.name);
    }
    columns.push_back(std::move(*column));
  }
  return columns;
}

arrow::FieldVector Accumulators::saved_fields() const {
  arrow::FieldVector fields;
  for (const Each& each : all_) {
    auto metadata = arrow::key_value_metadata({kArguments}, {TypesText(each.types).ValueOrDie()});
    fields.push_back(arrow::field("a" + std::to_string(fields.size()), each.aggregate->saved_type(), true,
                                  std::move(metadata)));
  }
  return fields;
}

arrow::FieldVector Accumulators::result_fields() const {
  arrow::FieldVector fields;
  for (const Each& each : all_) {
    fields.push_back(
        arrow::field(each.name, each.aggregate->result_type(), each.aggregate->result_nullable()));
  }
  return fields;
}

}  // namespace frazil
