#include "operator/unnest.h"

#include <arrow/api.h>
#include <arrow/compute/api_vector.h>

#include <algorithm>
#include <utility>

#include "base/limits.h"
#include "operator/join/partner_order.h"

namespace frazil {
namespace {

template <typename Rows>
Result<arrow::Datum> TakeRows(const Rows& rows, const std::shared_ptr<arrow::Array>& places,
                              arrow::MemoryPool* pool) {
  arrow::compute::ExecContext context(pool);
  context.set_use_threads(false);
  return arrow::compute::Take(arrow::Datum(rows), arrow::Datum(places),
                              arrow::compute::TakeOptions::NoBoundsCheck(), &context);
}

std::shared_ptr<arrow::Array> Wrapped(const std::vector<int64_t>& places) {
  return std::make_shared<arrow::Int64Array>(static_cast<int64_t>(places.size()),
                                             arrow::Buffer::Wrap(places));
}

// The same with null for -1.
Result<std::shared_ptr<arrow::Array>> WithNulls(const std::vector<int64_t>& places, arrow::MemoryPool* pool) {
  arrow::Int64Builder builder(pool);
  FZ_TRY(builder.Reserve(static_cast<int64_t>(places.size())));
  for (const int64_t place : places) {
    if (place < 0) {
      builder.UnsafeAppendNull();
    } else {
      builder.UnsafeAppend(place);
    }
  }
  return builder.Finish();
}

// Of all lists.
int64_t ElementsOf(const arrow::Array& lists) {
  if (lists.type_id() == arrow::Type::LIST) {
    const auto& typed = static_cast<const arrow::ListArray&>(lists);
    return typed.value_offset(typed.length()) - typed.value_offset(0);
  }
  const auto& typed = static_cast<const arrow::LargeListArray&>(lists);
  return typed.value_offset(typed.length()) - typed.value_offset(0);
}

}  // namespace

UnnestSpec ParseUnnest(const nlohmann::json& node) {
  return {node.at("column").get<std::string>(), node.at("into").get<std::string>(),
          node.at("keep_empty").get<bool>()};
}

Result<std::shared_ptr<arrow::Schema>> UnnestSchema(const UnnestSpec& spec, const arrow::Schema& input) {
  const int place = input.GetFieldIndex(spec.column);
  const auto type = place < 0 ? nullptr : input.field(place)->type();
  if (type == nullptr || (type->id() != arrow::Type::LIST && type->id() != arrow::Type::LARGE_LIST)) {
    return Error(ErrorKind::kConfig, "reading the plan: unnest of " + spec.column + ", which is no list");
  }
  const auto element = static_cast<const arrow::BaseListType&>(*type).value_field();
  return input.SetField(place,
                        arrow::field(spec.into, element->type(), element->nullable() || spec.keep_empty));
}

Result<std::unique_ptr<Unnest>> Unnest::Make(const nlohmann::json& node, const arrow::Schema& input,
                                             const OperatorContext& context) {
  UnnestSpec spec = ParseUnnest(node);
  FZ_ASSIGN(auto output, UnnestSchema(spec, input));
  const int place = input.GetFieldIndex(spec.column);
  return std::unique_ptr<Unnest>(new Unnest(std::move(spec), place, std::move(output), context));
}

Result<Progress> Unnest::process(Batch batch, Output& out) {
  if (batch.rows() == 0) return Progress::kDone;
  emission_ = Emission{std::move(batch), 0, 0, 0};
  // A row of the output has the other columns of its row, and one element.
  FZ_ASSIGN(const auto lists, emission_.batch.columns->SelectColumns({place_}));
  const int64_t rows = emission_.batch.rows();
  const int64_t list_bytes = BatchBytes(Batch{lists, {}, nullptr});
  const int64_t elements = std::max<int64_t>(ElementsOf(*lists->column(0)), 1);
  emission_.row_bytes = (BatchBytes(emission_.batch) - list_bytes) / rows + list_bytes / elements + 1;
  return resume(out);
}

Result<Progress> Unnest::resume(Output& out) {
  if (emission_.batch.columns == nullptr) return Progress::kDone;
  const auto lists = emission_.batch.columns->column(place_);
  if (lists->type_id() == arrow::Type::LIST) return emit(static_cast<const arrow::ListArray&>(*lists), out);
  return emit(static_cast<const arrow::LargeListArray&>(*lists), out);
}

template <typename Lists>
Result<Progress> Unnest::emit(const Lists& lists, Output& out) {
  while (emission_.row < emission_.batch.rows()) {
    const Pairs pairs = next_pairs(lists);
    if (pairs.rows.empty()) break;
    FZ_ASSIGN(Batch made, unnested(pairs, lists.values()));
    FZ_TRY(out.push(std::move(made)));
    if (emission_.row < emission_.batch.rows() && out.full()) return Progress::kMore;
  }
  emission_ = Emission{};
  return Progress::kDone;
}

// Goes on from where the emission is, as far as an output batch should be large.
template <typename Lists>
Unnest::Pairs Unnest::next_pairs(const Lists& lists) {
  Pairs pairs;
  const auto row_max = static_cast<size_t>(
      std::clamp<int64_t>(2 * limits::kBatchBytes / emission_.row_bytes, 1, limits::kBatchRows));
  while (emission_.row < emission_.batch.rows() && pairs.rows.size() < row_max) {
    const int64_t row = emission_.row;
    const int64_t length = lists.IsNull(row) ? 0 : static_cast<int64_t>(lists.value_length(row));
    if (emission_.element < length || (length == 0 && spec_.keep_empty)) {
      pairs.rows.push_back(row);
      pairs.elements.push_back(
          length == 0 ? -1 : static_cast<int64_t>(lists.value_offset(row)) + emission_.element);
      pairs.numbers.push_back(static_cast<uint32_t>(emission_.element));
      ++emission_.element;
    }
    if (emission_.element >= length) {
      ++emission_.row;
      emission_.element = 0;
    }
  }
  return pairs;
}

Result<Batch> Unnest::unnested(const Pairs& pairs, const std::shared_ptr<arrow::Array>& values) const {
  Batch made{nullptr, emission_.batch.origin, nullptr};
  const auto rows = Wrapped(pairs.rows);
  FZ_ASSIGN(const auto elements, WithNulls(pairs.elements, pool_));
  FZ_ASSIGN(auto rest, emission_.batch.columns->RemoveColumn(place_));  // lists are not copied
  arrow::ArrayVector columns;
  if (rest->num_columns() > 0) {
    FZ_ASSIGN(const auto taken, TakeRows(rest, rows, pool_));
    columns = taken.record_batch()->columns();
  }
  FZ_ASSIGN(const auto element, TakeRows(values, elements, pool_));
  columns.insert(columns.begin() + place_, element.make_array());
  made.columns = arrow::RecordBatch::Make(output_, rows->length(), std::move(columns));
  if (emission_.batch.marks != nullptr) {
    FZ_ASSIGN(const auto marks, TakeRows(emission_.batch.marks, rows, pool_));
    made.marks = marks.record_batch();
  }
  FZ_TRY(MarkPartners(&made, pairs.numbers, partitions_, pool_));
  return made;
}

}  // namespace frazil
