#include "operator/join/lookup.h"

#include <arrow/api.h>
#include <arrow/compute/api.h>

#include <algorithm>

#include "base/check.h"
#include "base/limits.h"
#include "base/schema_text.h"
#include "operator/changes/kinds.h"
#include "operator/join/partner_order.h"
#include "operator/place.h"

namespace frazil {
namespace {

Result<LookupHow> ParseHow(const std::string& how) {
  if (how == "inner") return LookupHow::kInner;
  if (how == "left") return LookupHow::kLeft;
  if (how == "semi") return LookupHow::kSemi;
  if (how == "anti") return LookupHow::kAnti;
  return Error(ErrorKind::kConfig,
               "reading the plan: a lookup join is inner, left, semi or anti, not " + how);
}

bool OnlyKeeps(LookupHow how) { return how == LookupHow::kSemi || how == LookupHow::kAnti; }

int VisibleFields(const arrow::Schema& schema) {
  int visible = schema.num_fields();
  while (visible > 0 && schema.field(visible - 1)->name().starts_with(kHiddenPrefix)) --visible;
  return visible;
}

template <typename Rows>
Result<Rows> TakeRows(const Rows& rows, const std::shared_ptr<arrow::Array>& places,
                      arrow::MemoryPool* pool) {
  arrow::compute::ExecContext context(pool);
  context.set_use_threads(false);
  FZ_ASSIGN(arrow::Datum taken, arrow::compute::Take(arrow::Datum(rows), arrow::Datum(places),
                                                     arrow::compute::TakeOptions::NoBoundsCheck(), &context));
  if constexpr (std::is_same_v<Rows, std::shared_ptr<arrow::RecordBatch>>) {
    return taken.record_batch();
  } else {
    return taken.make_array();
  }
}

// Rows in the places given, without a copy if they stand in one piece and each comes once.
Result<std::shared_ptr<arrow::RecordBatch>> Rows(const std::shared_ptr<arrow::RecordBatch>& rows,
                                                 const std::vector<int32_t>& places,
                                                 arrow::MemoryPool* pool) {
  if (rows == nullptr) return nullptr;
  const auto count = static_cast<int64_t>(places.size());
  bool rising = places.back() - places.front() + 1 == count;
  for (size_t i = 1; rising && i < places.size(); ++i) rising = places[i] == places[i - 1] + 1;
  if (rising && count == rows->num_rows()) return rows;
  if (rising) return rows->Slice(places.front(), count);
  return TakeRows(rows, std::make_shared<arrow::Int32Array>(count, arrow::Buffer::Wrap(places)), pool);
}

}  // namespace

Result<LookupSpec> ParseLookup(const nlohmann::json& node) {
  LookupSpec spec;
  FZ_ASSIGN(spec.how, ParseHow(node.at("how").get<std::string>()));
  spec.keys = node.at("keys").get<std::vector<std::string>>();
  for (const auto& each : node.at("take")) {
    spec.take.emplace_back(each.at(0).get<std::string>(), each.at(1).get<std::string>());
    spec.dimension.columns.push_back(spec.take.back().first);
  }
  const auto& dimension = node.at("dimension");
  spec.dimension.name = dimension.at("name").get<std::string>();
  spec.dimension.max_bytes = dimension.at("max_bytes").get<int64_t>();
  spec.dimension.keys = node.at("dimension_keys").get<std::vector<std::string>>();
  spec.dimension.unique = !OnlyKeeps(spec.how) && node.at("duplicates").get<std::string>() == "fail";
  FZ_ASSIGN(spec.schema, ParseSchema(node.at("schema").get<std::string>()));
  if (spec.keys.empty() || spec.keys.size() != spec.dimension.keys.size() ||
      (OnlyKeeps(spec.how) && !spec.take.empty())) {
    return Error(ErrorKind::kConfig, "reading the plan: lookup " + spec.dimension.name + " by " +
                                         std::to_string(spec.keys.size()) + " keys of the stream and " +
                                         std::to_string(spec.dimension.keys.size()) + " of the table");
  }
  return spec;
}

Result<std::shared_ptr<arrow::Schema>> LookupSchema(const LookupSpec& spec, const arrow::Schema& input) {
  const int visible = VisibleFields(input);
  arrow::FieldVector fields(input.fields().begin(), input.fields().begin() + visible);
  for (const auto& [column, name] : spec.take) {
    const auto field = spec.schema->GetFieldByName(column);
    if (field == nullptr) {
      return Error(ErrorKind::kConfig,
                   "reading the plan: lookup " + spec.dimension.name + " has no column " + column);
    }
    fields.push_back(arrow::field(name, field->type(), field->nullable() || spec.how == LookupHow::kLeft));
  }
  fields.insert(fields.end(), input.fields().begin() + visible, input.fields().end());
  return arrow::schema(std::move(fields));
}

Result<std::unique_ptr<LookupJoin>> LookupJoin::Make(const nlohmann::json& node, const arrow::Schema& input,
                                                     const OperatorContext& context) {
  FZ_ASSIGN(LookupSpec spec, ParseLookup(node));
  FZ_ASSIGN(auto output, LookupSchema(spec, input));
  std::vector<int> keys;
  arrow::DataTypeVector types;
  for (size_t i = 0; i < spec.keys.size(); ++i) {
    const int place = input.GetFieldIndex(spec.keys[i]);
    const auto theirs = spec.schema->GetFieldByName(spec.dimension.keys[i]);
    if (place < 0 || theirs == nullptr || !SameKeyType(*input.field(place)->type(), *theirs->type())) {
      return Error(ErrorKind::kConfig, "reading the plan: lookup " + spec.dimension.name + ": key " +
                                           spec.keys[i] + " is not that of column " + spec.dimension.keys[i]);
    }
    keys.push_back(place);
    types.push_back(input.field(place)->type());
  }
  FZ_ASSIGN(KeyCodec codec, KeyCodec::Make(std::move(types)));
  return std::unique_ptr<LookupJoin>(new LookupJoin(std::move(spec), std::move(codec), std::move(keys),
                                                    std::move(output), VisibleFields(input), context));
}

LookupJoin::LookupJoin(LookupSpec spec, KeyCodec codec, std::vector<int> keys,
                       std::shared_ptr<arrow::Schema> output, int visible, const OperatorContext& context)
    : spec_(std::move(spec)),
      codec_(std::move(codec)),
      keys_(std::move(keys)),
      output_(std::move(output)),
      visible_(visible),
      pool_(context.pool),
      partitions_(context.partitions),
      encoded_(context.pool) {}

Status LookupJoin::find(const Batch& batch, std::vector<uint32_t>* first) {
  FZ_CHECK(dimension_ != nullptr);
  arrow::ArrayVector columns;
  for (const int place : keys_) columns.push_back(batch.columns->column(place));
  FZ_TRY(codec_.encode(columns, batch.rows(), &encoded_));
  const std::vector<uint8_t> nulls = KeyNulls(columns, batch.rows());
  dimension_->find(encoded_, nulls, first);
  return Status::OK();
}

Result<Progress> LookupJoin::process(Batch batch, Output& out) {
  if (batch.rows() == 0) return Progress::kDone;
  std::vector<uint32_t> first;
  if (auto found = find(batch, &first); !found.ok()) {
    return Prefixed(found, "join_lookup " + spec_.dimension.name + PlaceOf(batch.origin));
  }
  if (OnlyKeeps(spec_.how)) {
    FZ_ASSIGN(Batch kept, keep(batch, first));
    if (kept.rows() > 0) FZ_TRY(out.push(std::move(kept)));
    return Progress::kDone;
  }
  if (spec_.how == LookupHow::kInner && HasKinds(*batch.columns->schema())) {
    // Half an update may find nothing: then it is none any more.
    FZ_ASSIGN(batch, keep(batch, first));
    if (batch.rows() == 0) return Progress::kDone;
    FZ_TRY(find(batch, &first));
  }
  emission_ = Emission{};
  emission_.row_bytes = BatchBytes(batch) / batch.rows() + 1;
  emission_.partner = first.front();
  emission_.batch = std::move(batch);
  emission_.first = std::move(first);
  return resume(out);
}

Result<Batch> LookupJoin::keep(const Batch& batch, const std::vector<uint32_t>& first) const {
  arrow::BooleanBuilder mask(pool_);
  FZ_TRY(mask.Reserve(batch.rows()));
  for (const uint32_t partner : first) {
    mask.UnsafeAppend((partner != Dimension::kNoRow) != (spec_.how == LookupHow::kAnti));
  }
  std::shared_ptr<arrow::BooleanArray> kept_rows;
  FZ_TRY(mask.Finish(&kept_rows));
  return KeepChanges(batch, kept_rows, pool_);
}

// Goes on from where the emission is, as far as an output batch should be large.
LookupJoin::Pairs LookupJoin::next_pairs() {
  Pairs pairs;
  const int64_t rows = emission_.batch.rows();
  int64_t bytes = 0;
  while (emission_.row < rows && static_cast<int64_t>(pairs.rows.size()) < limits::kBatchRows &&
         bytes < 2 * limits::kBatchBytes) {
    const uint32_t partner = emission_.partner;
    const bool found = partner != Dimension::kNoRow;
    if (found || spec_.how == LookupHow::kLeft) {
      pairs.rows.push_back(static_cast<int32_t>(emission_.row));
      pairs.partners.push_back(found ? static_cast<int32_t>(partner) : -1);
      pairs.numbers.push_back(emission_.number++);
      bytes += emission_.row_bytes + (found ? dimension_->bytes_of(partner) : 0);
    }
    emission_.partner = found ? dimension_->next(partner) : Dimension::kNoRow;
    if (emission_.partner == Dimension::kNoRow) {
      emission_.number = 0;
      if (++emission_.row < rows) emission_.partner = emission_.first[static_cast<size_t>(emission_.row)];
    }
  }
  return pairs;
}

Result<Batch> LookupJoin::joined(const Batch& batch, const Pairs& pairs) const {
  Batch made{nullptr, batch.origin, nullptr};
  FZ_ASSIGN(const auto rows, Rows(batch.columns, pairs.rows, pool_));
  FZ_ASSIGN(made.marks, Rows(batch.marks, pairs.rows, pool_));
  arrow::Int32Builder places(pool_);
  FZ_TRY(places.Reserve(static_cast<int64_t>(pairs.partners.size())));
  for (const int32_t partner : pairs.partners) {
    if (partner < 0) {
      places.UnsafeAppendNull();
    } else {
      places.UnsafeAppend(partner);
    }
  }
  std::shared_ptr<arrow::Array> partners;
  FZ_TRY(places.Finish(&partners));
  arrow::ArrayVector columns(rows->columns().begin(), rows->columns().begin() + visible_);
  for (const auto& column : dimension_->rows()->columns()) {
    FZ_ASSIGN(auto taken, TakeRows(column, partners, pool_));
    columns.push_back(std::move(taken));
  }
  columns.insert(columns.end(), rows->columns().begin() + visible_, rows->columns().end());
  made.columns = arrow::RecordBatch::Make(output_, rows->num_rows(), std::move(columns));
  if (!spec_.dimension.unique) FZ_TRY(MarkPartners(&made, pairs.numbers, partitions_, pool_));
  return made;
}

Result<Progress> LookupJoin::resume(Output& out) {
  while (emission_.row < emission_.batch.rows()) {
    const Pairs pairs = next_pairs();
    if (pairs.rows.empty()) break;
    FZ_ASSIGN(Batch made, joined(emission_.batch, pairs));
    FZ_TRY(out.push(std::move(made)));
    if (emission_.row < emission_.batch.rows() && out.full()) return Progress::kMore;
  }
  emission_ = Emission{};
  return Progress::kDone;
}

}  // namespace frazil
