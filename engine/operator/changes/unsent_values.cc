#include "operator/changes/unsent_values.h"

#include <algorithm>

#include "operator/changes/kinds.h"

namespace frazil {
namespace {

constexpr int64_t kFilledBytes = 16 << 20;  // bytes of values filled in at which a batch is given

bool IsAfter(uint8_t kind) {
  return kind == static_cast<uint8_t>(RowKind::kInsert) ||
         kind == static_cast<uint8_t>(RowKind::kUpdateAfter);
}

KeptValues::Value ValueAt(const arrow::Array& values, bool large, int64_t row) {
  if (values.IsNull(row)) return std::nullopt;
  return large ? static_cast<const arrow::LargeBinaryArray&>(values).GetView(row)
               : static_cast<const arrow::BinaryArray&>(values).GetView(row);
}

Status Append(arrow::ArrayBuilder* builder, bool large, const KeptValues::Value& value) {
  if (!value.has_value()) return builder->AppendNull();
  return large ? static_cast<arrow::LargeBinaryBuilder*>(builder)->Append(*value)
               : static_cast<arrow::BinaryBuilder*>(builder)->Append(*value);
}

}  // namespace

Result<std::shared_ptr<arrow::Schema>> SentSchema(const arrow::Schema& input) {
  const int place = input.GetFieldIndex(kLogPositionColumn);
  if (place < 0 || input.field(place)->type()->id() != arrow::Type::INT64 || !HasKinds(input)) {
    return Error(ErrorKind::kConfig, "reading the plan: unsent values of rows without kind and position");
  }
  return input.RemoveField(place);
}

Result<std::unique_ptr<UnsentValues>> UnsentValues::Make(const nlohmann::json& spec,
                                                         const std::shared_ptr<arrow::Schema>& input,
                                                         const OperatorContext& context) {
  FZ_ASSIGN(KeyColumns keys, KeyColumns::Make(spec, *input));
  FZ_ASSIGN(auto output, SentSchema(*input));
  const auto names = spec.at("columns").get<std::vector<std::string>>();
  std::vector<Column> columns;
  for (const auto& name : names) {
    const int place = input->GetFieldIndex(name);
    const auto id = place < 0 ? arrow::Type::NA : input->field(place)->type()->id();
    const bool large = id == arrow::Type::LARGE_STRING || id == arrow::Type::LARGE_BINARY;
    if (!large && id != arrow::Type::STRING && id != arrow::Type::BINARY) {
      return Error(ErrorKind::kConfig, "reading the plan: no column of text or bytes: \"" + name + "\"");
    }
    columns.push_back({place, large, input->field(place)->nullable(), nullptr});
  }
  if (columns.empty()) return Error(ErrorKind::kConfig, "reading the plan: unsent values of no columns");
  FZ_ASSIGN(auto kept, KeptValues::Make(names, context.kept()));
  auto made = std::unique_ptr<UnsentValues>(new UnsentValues(std::move(keys), std::move(kept), context));
  made->columns_ = std::move(columns);
  made->key_names_ = spec.at("keys").get<std::vector<std::string>>();
  made->stand_ins_ = spec.at("stand_ins").get<std::vector<std::string>>();
  made->position_place_ = input->GetFieldIndex(kLogPositionColumn);
  made->input_ = input;
  made->output_ = std::move(output);
  made->values_.resize(names.size());
  made->unsent_.resize(names.size());
  return made;
}

Result<Progress> UnsentValues::process(Batch batch, Output& out) {
  if (batch.rows() == 0) return Progress::kDone;
  FZ_TRY(keys_.encode(batch, &encoded_));
  FZ_ASSIGN(const auto kinds, KindsOf(batch, /*truncates=*/true));
  kinds_.assign(kinds->raw_values(), kinds->raw_values() + kinds->length());
  batch_ = std::move(batch);
  for (Column& column : columns_) column.given = batch_.columns->column(column.place);
  begin_ = 0;
  return emit(out);
}

Result<Progress> UnsentValues::emit(Output& out) {
  while (begin_ < batch_.rows()) {
    FZ_ASSIGN(Batch made, fill());
    bytes_.store(kept_->bytes(), std::memory_order_relaxed);
    FZ_TRY(out.push(std::move(made)));
    if (begin_ < batch_.rows() && out.full()) return Progress::kMore;
  }
  batch_ = {};
  for (Column& column : columns_) column.given = nullptr;
  return Progress::kDone;
}

// The next rows: all, unless what is filled in becomes large.
Result<Batch> UnsentValues::fill() {
  other_kinds_ = false;
  filled_bytes_ = 0;
  int64_t row = begin_;
  for (bool more = true; more;) {
    FZ_TRY(take(row));
    const bool pair = kinds_[static_cast<size_t>(row)] == static_cast<uint8_t>(RowKind::kUpdateBefore);
    ++row;
    more = row < batch_.rows() && (pair || filled_bytes_ < kFilledBytes);
  }
  FZ_ASSIGN(Batch made, assemble(row));
  begin_ = row;
  return made;
}

Status UnsentValues::take(int64_t row) {
  const uint8_t kind = kinds_[static_cast<size_t>(row)];
  bool all = true;
  for (size_t i = 0; i < columns_.size(); ++i) {
    values_[i] = ValueAt(*columns_[i].given, columns_[i].large, row);
    unsent_[i] = values_[i].has_value() && stands_in(*values_[i]) ? 1 : 0;
    all = all && unsent_[i] == 0;
  }
  if (!IsAfter(kind)) {
    for (size_t i = 0; i < columns_.size(); ++i) {
      if (unsent_[i] != 0) values_[i] = nothing(columns_[i]);
    }
    FZ_TRY(give(row));
    if (kind != static_cast<uint8_t>(RowKind::kDelete)) return Status::OK();
    return kept_->remove(encoded_, row, position(row));
  }
  if (!all) {
    const std::byte* const entry = kept_->find(encoded_, row);
    if (entry == nullptr || !KeptValues::is_there(entry)) {
      const int64_t at = position(row);
      if (entry != nullptr && at != KeptValues::kNowhere && at < KeptValues::gone_at(entry)) {
        return make_delete(row);
      }
      return unknown(row,
                     static_cast<size_t>(std::find(unsent_.begin(), unsent_.end(), 1) - unsent_.begin()));
    }
    for (size_t i = 0; i < columns_.size(); ++i) {
      if (unsent_[i] != 0) values_[i] = kept_->value(entry, i);
    }
  }
  FZ_TRY(give(row));
  return kept_->put(encoded_, row, values_);
}

// Gives the values of the row: those that are not as they came, and all behind one that is not.
Status UnsentValues::give(int64_t row) {
  for (size_t i = 0; i < columns_.size(); ++i) {
    Column& column = columns_[i];
    if (unsent_[i] != 0) {
      filled_bytes_ += values_[i].has_value() ? static_cast<int64_t>(values_[i]->size()) : 0;
      if (column.filled == nullptr) FZ_TRY(start(&column, row));
    }
    if (column.filled != nullptr) FZ_TRY(Append(column.filled.get(), column.large, values_[i]));
  }
  return Status::OK();
}

Status UnsentValues::start(Column* column, int64_t row) {
  FZ_TRY(arrow::MakeBuilder(pool_, column->given->type(), &column->filled));
  return column->filled->AppendArraySlice(arrow::ArraySpan(*column->given->data()), begin_, row - begin_);
}

Status UnsentValues::make_delete(int64_t row) {
  for (size_t i = 0; i < columns_.size(); ++i) {
    if (unsent_[i] != 0) values_[i] = nothing(columns_[i]);
  }
  const auto at = static_cast<size_t>(row);
  const auto before = static_cast<uint8_t>(RowKind::kUpdateBefore);
  const auto gone = static_cast<uint8_t>(RowKind::kDelete);
  if (kinds_[at] == static_cast<uint8_t>(RowKind::kUpdateAfter) && row > begin_ && kinds_[at - 1] == before) {
    kinds_[at - 1] = gone;
  }
  kinds_[at] = gone;
  other_kinds_ = true;
  return give(row);
}

Result<Batch> UnsentValues::assemble(int64_t end) {
  const int64_t count = end - begin_;
  arrow::ArrayVector arrays = batch_.columns->Slice(begin_, count)->columns();
  for (Column& column : columns_) {
    if (column.filled == nullptr) continue;
    FZ_TRY(column.filled->Finish(&arrays[static_cast<size_t>(column.place)]));
    column.filled = nullptr;
  }
  arrays.erase(arrays.begin() + position_place_);
  Batch made{arrow::RecordBatch::Make(output_, count, std::move(arrays)), batch_.origin,
             batch_.marks == nullptr ? nullptr : batch_.marks->Slice(begin_, count)};
  if (!other_kinds_) return made;
  return WithKinds(made, {kinds_.begin() + begin_, kinds_.begin() + end}, pool_);
}

bool UnsentValues::stands_in(std::string_view value) const {
  return std::any_of(stand_ins_.begin(), stand_ins_.end(), [&](const auto& each) { return each == value; });
}

// What a column has where only the key means something.
KeptValues::Value UnsentValues::nothing(const Column& column) const {
  return column.nullable ? KeptValues::Value() : KeptValues::Value("");
}

int64_t UnsentValues::position(int64_t row) const {
  const auto& positions = static_cast<const arrow::Int64Array&>(*batch_.columns->column(position_place_));
  return positions.IsNull(row) ? KeptValues::kNowhere : positions.Value(row);
}

Status UnsentValues::unknown(int64_t row, size_t column) const {
  std::string key;
  for (const auto& name : key_names_) {
    FZ_ASSIGN(const auto value, batch_.columns->GetColumnByName(name)->GetScalar(row));
    key += (key.empty() ? "" : ", ") + name + "=" + value->ToString();
  }
  return NamedError(
      "DataError",
      "filling in values that were not sent: " + key + ": column \"" +
          input_->field(columns_[column].place)->name() +
          "\" was not sent, and no event before has a row of this key\n  the events have to begin with a "
          "snapshot of the table (snapshot.mode=initial); a table in which keys are changed needs ALTER "
          "TABLE "
          "... REPLICA IDENTITY FULL: its rows come under their new key without such values");
}

Status UnsentValues::restore(const std::shared_ptr<arrow::RecordBatch>& rows) {
  FZ_TRY(kept_->restore(*rows));
  bytes_.store(kept_->bytes(), std::memory_order_relaxed);
  return Status::OK();
}

}  // namespace frazil
