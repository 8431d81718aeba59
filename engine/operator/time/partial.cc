#include "operator/time/partial.h"

#include <arrow/api.h>
#include <arrow/compute/api.h>

#include <cstring>
#include <string>
#include <utility>

#include "base/check.h"
#include "operator/time/event_time.h"
#include "operator/time/order_mark.h"

namespace frazil {
namespace {

Result<arrow::FieldVector> KeyFields(const nlohmann::json& spec, const arrow::Schema& input) {
  arrow::FieldVector fields;
  for (const auto& key : spec.at("keys")) {
    auto field = input.GetFieldByName(key.get<std::string>());
    if (field == nullptr) {
      return Error(ErrorKind::kConfig,
                   "reading the plan: no key column " + key.dump() + " in a window's input");
    }
    fields.push_back(std::move(field));
  }
  return fields;
}

// An order mark compares as bytes, the two numbers as numbers: in the same way, the second but for its sign.
void SetOrder(const uint8_t* mark, OrderKey* key) {
  uint64_t halves[2];
  std::memcpy(halves, mark, sizeof(halves));
  key->partition = __builtin_bswap64(halves[0]);
  key->position = static_cast<int64_t>(__builtin_bswap64(halves[1]) ^ (uint64_t{1} << 63));
}

}  // namespace

Result<std::shared_ptr<arrow::Schema>> PartialSchema(const nlohmann::json& spec, const arrow::Schema& input) {
  FZ_ASSIGN(auto fields, KeyFields(spec, input));
  FZ_ASSIGN(const WindowSpec window, ParseWindow(spec.at("window")));
  FZ_ASSIGN(const Accumulators accumulators, Accumulators::OfRows(spec.at("aggregates"), input));
  const bool sessions = window.kind == WindowSpec::Kind::kSession;
  fields.push_back(arrow::field(sessions ? "first" : "pane", arrow::int64(), false));
  fields.push_back(arrow::field(sessions ? "last" : "floor", arrow::int64(), false));
  for (auto& field : accumulators.saved_fields()) fields.push_back(std::move(field));
  return arrow::schema(std::move(fields));
}

Result<PartialSpec> PartialSpec::Make(const nlohmann::json& spec, const arrow::Schema& input) {
  PartialSpec made;
  FZ_ASSIGN(made.window, ParseWindow(spec.at("window")));
  FZ_ASSIGN(const arrow::FieldVector fields, KeyFields(spec, input));
  for (const auto& field : fields) {
    made.key_types.push_back(field->type());
    made.key_columns.push_back(input.GetFieldIndex(field->name()));
  }
  const auto& time = spec.at("time");
  made.time_column = input.GetFieldIndex(time.at("column").get<std::string>());
  if (made.time_column < 0 || input.field(made.time_column)->type()->id() != arrow::Type::TIMESTAMP) {
    return Error(ErrorKind::kConfig, "reading the plan: a window's time " + time.dump() + " is no timestamp");
  }
  made.minus = time.value("minus_us", int64_t{0});
  made.lateness = spec.value("lateness_us", int64_t{0});
  FZ_ASSIGN(made.output, PartialSchema(spec, input));
  return made;
}

Result<Progress> Partial::process(Batch batch, Output& out) {
  FZ_ASSIGN(const auto times, MicrosOf(batch.columns->column(spec_.time_column), pool_));
  FZ_CHECK(times->null_count() == 0);
  FZ_TRY(assign(batch, *times));
  FZ_TRY(gate_.flush(batch, spec_.window.kind != WindowSpec::Kind::kSession));
  if (accepted_.empty()) return Progress::kDone;
  const std::vector<OrderKey> keys =
      accumulators_.needs_order() ? order(batch, *times) : std::vector<OrderKey>();
  FZ_TRY(aggregate(batch, keys, out));
  return Progress::kDone;
}

// Behind an exchange the partition is unknown: rows have their order mark, or (what windows give) are told
// apart by the position mark alone.
std::vector<OrderKey> Partial::order(const Batch& batch, const arrow::Int64Array& times) const {
  std::vector<OrderKey> keys(static_cast<size_t>(batch.rows()));
  for (size_t i = 0; i < keys.size(); ++i) keys[i].time = times.Value(static_cast<int64_t>(i)) - spec_.minus;
  if (const auto mark = MarkOf(batch, kOrderMark); mark != nullptr) {
    const auto& marks = static_cast<const arrow::FixedSizeBinaryArray&>(*mark);
    for (size_t i = 0; i < keys.size(); ++i) SetOrder(marks.GetValue(static_cast<int64_t>(i)), &keys[i]);
    return keys;
  }
  const uint64_t partition = PartitionHash(batch.origin, partitions_);
  const auto mark = MarkOf(batch, kPositionMark);
  const auto* positions =
      mark == nullptr ? nullptr : static_cast<const arrow::Int64Array&>(*mark).raw_values();
  for (size_t i = 0; i < keys.size(); ++i) {
    keys[i].partition = partition;
    keys[i].position = positions == nullptr ? 0 : positions[i];
  }
  return keys;
}

arrow::ArrayVector Partial::keys_of(const Batch& batch) const {
  arrow::ArrayVector keys;
  for (const int column : spec_.key_columns) keys.push_back(batch.columns->column(column));
  return keys;
}

Status Partial::emit(const Batch& batch, const Groups& groups, Output& out) const {
  const auto count = static_cast<int64_t>(groups.rows.size());
  const arrow::Int32Array rows(count, arrow::Buffer::Wrap(groups.rows.data(), groups.rows.size()));
  arrow::compute::ExecContext context(pool_);
  arrow::ArrayVector columns = keys_of(batch);
  for (auto& column : columns) {
    FZ_ASSIGN(column,
              arrow::compute::Take(*column, rows, arrow::compute::TakeOptions::NoBoundsCheck(), &context));
  }
  for (const auto times : {groups.from, groups.to}) {
    arrow::Int64Builder builder(pool_);
    FZ_TRY(builder.AppendValues(times.data(), count));
    FZ_TRY(builder.Finish(&columns.emplace_back()));
  }
  arrow::UInt64Builder hashes(pool_);
  FZ_TRY(hashes.AppendValues(groups.hashes.data(), count));
  FZ_ASSIGN(auto saved, accumulators_.save(groups.accumulators, pool_));
  columns.insert(columns.end(), saved.begin(), saved.end());
  Batch partial{arrow::RecordBatch::Make(spec_.output, count, std::move(columns)), {}, nullptr};
  FZ_ASSIGN(auto hash, hashes.Finish());
  SetMark(&partial, kHashMark, std::move(hash));
  return out.push(std::move(partial));
}

}  // namespace frazil
