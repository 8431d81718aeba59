#include "operator/changes/hold_changes.h"

#include <arrow/api.h>
#include <arrow/compute/api.h>

#include <utility>

#include "base/calendar.h"
#include "base/check.h"
#include "base/limits.h"
#include "operator/changes/kinds.h"
#include "operator/changes/row_pairs.h"
#include "operator/ordered/keyed_state.h"
#include "state/key.h"
#include "state/take_rows.h"

namespace frazil {
namespace {

constexpr std::string_view kWhat = "changes that are held";
constexpr int64_t kChangeBytes = 192;  // about those of one in a map, without its key

std::shared_ptr<arrow::Schema> WithoutKind(const arrow::Schema& input) {
  arrow::FieldVector fields = input.fields();
  fields.pop_back();
  return arrow::schema(std::move(fields));
}

std::shared_ptr<arrow::Schema> SavedSchema(const arrow::Schema& rows) {
  arrow::FieldVector columns;
  for (const auto& field : rows.fields()) columns.push_back(field->WithNullable(true));
  const auto row = arrow::struct_(columns);
  return KeyedSchema(
      {arrow::field("given", arrow::int64()), arrow::field("before", row), arrow::field("after", row)});
}

arrow::ArrayVector Chosen(const arrow::RecordBatch& rows, std::span<const int> columns) {
  arrow::ArrayVector chosen;
  for (const int column : columns) chosen.push_back(rows.column(column));
  return chosen;
}

}  // namespace

Result<std::unique_ptr<HoldChanges>> HoldChanges::Make(const nlohmann::json& spec,
                                                       const std::shared_ptr<arrow::Schema>& input,
                                                       const OperatorContext& context) {
  if (!HasKinds(*input))
    return Error(ErrorKind::kConfig, "reading the plan: changes are held, and there are none");
  const auto every = spec.at("every_us").get<int64_t>();
  const auto keys = spec.at("keys").size();
  if (every <= 0 || keys > spec.at("row").size()) {
    return Error(ErrorKind::kConfig, "reading the plan: keys and time of changes that are held");
  }
  std::vector<int> row;
  arrow::DataTypeVector types;
  for (const auto& name : spec.at("row")) {
    row.push_back(input->GetFieldIndex(name.get<std::string>()));
    if (row.back() < 0) return Error(ErrorKind::kConfig, "reading the plan: no key column " + name.dump());
    types.push_back(input->field(row.back())->type());
  }
  FZ_ASSIGN(KeyCodec codec, KeyCodec::Make(std::move(types)));
  return std::unique_ptr<HoldChanges>(
      new HoldChanges(every, std::move(row), keys, std::move(codec), input, context));
}

HoldChanges::HoldChanges(int64_t every, std::vector<int> row, size_t keys, KeyCodec codec,
                         const std::shared_ptr<arrow::Schema>& input, const OperatorContext& context)
    : every_(every),
      row_(std::move(row)),
      keys_(keys),
      codec_(std::move(codec)),
      output_(input),
      saved_schema_(SavedSchema(*WithoutKind(*input))),
      pool_(context.kept()),
      encoded_(context.pool),
      rows_(WithoutKind(*input), context.kept()) {}

Result<Progress> HoldChanges::process(Batch batch, Output&) {
  FZ_ASSIGN(const auto kinds, KindsOf(batch));
  FZ_CHECK(kinds != nullptr);
  const auto visible = VisibleColumns(batch);
  const auto rows = arrow::RecordBatch::Make(rows_.schema(), batch.rows(), visible->columns());
  const arrow::ArrayVector columns = Chosen(*rows, row_);
  FZ_TRY(codec_.encode(columns, rows->num_rows(), &encoded_));
  FZ_ASSIGN(
      const auto hashes,
      HashKeys({columns.begin(), columns.begin() + static_cast<std::ptrdiff_t>(keys_)}, rows->num_rows()));
  FZ_ASSIGN(const uint32_t block, rows_.add(rows));
  for (int64_t i = 0; i < rows->num_rows(); ++i) {
    const std::string_view key = encoded_.key(i);
    auto found = changes_.find(key);
    const bool first = found == changes_.end();
    if (first) {
      found = changes_.emplace(key, Change{}).first;
      found->second.hash = hashes[static_cast<size_t>(i)];
      key_bytes_ += static_cast<int64_t>(key.size());
    }
    const HeldRow row{block, static_cast<uint32_t>(i)};
    FZ_TRY(note(static_cast<RowKind>(kinds->Value(i)), row, first, &found->second));
  }
  count_bytes();
  return Progress::kDone;
}

// `first` if nothing of it has changed so far: then a row that goes is as it was given.
Status HoldChanges::note(RowKind kind, HeldRow row, bool first, Change* change) {
  change->is_new = true;
  if (kind == RowKind::kInsert || kind == RowKind::kUpdateAfter) {
    FZ_TRY(release(&change->after));
    change->after = row;
    return Status::OK();
  }
  if (kind == RowKind::kDelete) FZ_TRY(release(&change->after));
  if (!first) return rows_.release(row);
  change->before = row;
  return Status::OK();
}

Status HoldChanges::release(std::optional<HeldRow>* row) {
  if (!row->has_value()) return Status::OK();
  FZ_TRY(rows_.release(**row));
  row->reset();
  return Status::OK();
}

Result<Progress> HoldChanges::advance(int, Timestamp to, Output& out) {
  watermark_ = std::max(watermark_, to);
  const int64_t passed = FloorDivide(watermark_, every_);
  const bool due = watermark_ == kWatermarkMax || passed > given_;
  given_ = std::max(given_, passed);
  if (due) {
    giving_ = Giving::kGone;
    at_ = changes_.begin();
  }
  return give(out);
}

// Of those that are being given, the next ones; none when all have been.
std::vector<const HoldChanges::Change*> HoldChanges::next_to_give() {
  std::vector<const Change*> next;
  for (; at_ != changes_.end() && next.size() < static_cast<size_t>(limits::kBatchRows); ++at_) {
    const bool gone = at_->second.before.has_value() && !at_->second.after.has_value();
    const bool there = at_->second.after.has_value();
    if (giving_ == Giving::kGone ? gone : there) next.push_back(&at_->second);
  }
  return next;
}

Result<Progress> HoldChanges::give(Output& out) {
  while (giving_ != Giving::kNo) {
    if (out.full()) return Progress::kMore;
    const std::vector<const Change*> next = next_to_give();
    if (next.empty()) {
      giving_ = giving_ == Giving::kGone ? Giving::kThere : Giving::kNo;
      at_ = changes_.begin();
      if (giving_ == Giving::kNo) FZ_TRY(forget());
      continue;
    }
    std::vector<HeldRow> before, after;
    for (const Change* change : next) {
      if (change->before.has_value()) before.push_back(*change->before);
      if (change->after.has_value()) after.push_back(*change->after);
    }
    FZ_ASSIGN(const auto rows_before, gathered(before));
    FZ_ASSIGN(const auto rows_after, gathered(after));
    RowPairs pairs(rows_before->columns(), rows_after->columns());
    int64_t was = 0, is = 0;
    for (const Change* change : next) {
      if (change->before.has_value() && change->after.has_value()) {
        pairs.update(was++, is++);
      } else if (change->before.has_value()) {
        pairs.remove(was++);
      } else {
        pairs.insert(is++);
      }
    }
    if (pairs.size() == 0) continue;
    FZ_ASSIGN(auto columns, pairs.columns(pool_));
    FZ_TRY(
        out.push({arrow::RecordBatch::Make(output_, static_cast<int64_t>(pairs.size()), std::move(columns)),
                  {},
                  nullptr}));
  }
  promise_ = watermark_;
  return Progress::kDone;
}

// All changes: they were given, or are of a time before.
Status HoldChanges::forget() {
  for (auto& [key, change] : changes_) {
    FZ_TRY(release(&change.before));
    FZ_TRY(release(&change.after));
  }
  changes_.clear();
  key_bytes_ = 0;
  count_bytes();
  return Status::OK();
}

Result<std::shared_ptr<arrow::RecordBatch>> HoldChanges::gathered(const std::vector<HeldRow>& rows) const {
  if (rows.empty()) return arrow::RecordBatch::MakeEmpty(rows_.schema(), pool_);
  return rows_.gather(rows);
}

void HoldChanges::count_bytes() {
  bytes_.store(rows_.bytes() + key_bytes_ + static_cast<int64_t>(changes_.size()) * kChangeBytes,
               std::memory_order_relaxed);
}

// Called at a barrier: nothing is being given.
Result<StateRows> HoldChanges::state_changes(bool full) {
  StateRows out;
  FZ_ASSIGN(out.emplace_back(), SavedNote(saved_schema_, "given", given_, pool_));
  std::vector<Changes::const_iterator> slice;
  const auto save = [&]() -> Status {
    if (slice.empty()) return Status::OK();
    FZ_ASSIGN(out.emplace_back(), saved(slice));
    slice.clear();
    return Status::OK();
  };
  for (auto at = changes_.begin(); at != changes_.end(); ++at) {
    if (full || at->second.is_new) slice.push_back(at);
    at->second.is_new = false;
    if (slice.size() == static_cast<size_t>(limits::kBatchRows)) FZ_TRY(save());
  }
  FZ_TRY(save());
  rows_.settle();
  FZ_TRY(compact());
  return out;
}

Status HoldChanges::compact() {
  if (!rows_.sparse()) return Status::OK();
  std::vector<HeldRow*> rows;
  for (auto& [key, change] : changes_) {
    for (auto* side : {&change.before, &change.after}) {
      if (side->has_value()) rows.push_back(&**side);
    }
  }
  FZ_TRY(rows_.compact(rows));
  count_bytes();
  return Status::OK();
}

// One side of changes: null where it has no row.
Result<std::shared_ptr<arrow::StructArray>> HoldChanges::saved_rows(
    const std::vector<Changes::const_iterator>& changes, std::optional<HeldRow> Change::*side) const {
  std::vector<HeldRow> rows;
  arrow::TypedBufferBuilder<bool> valid(pool_);
  arrow::Int32Builder places(pool_);
  for (const auto& at : changes) {
    const auto& row = at->second.*side;
    FZ_TRY(valid.Append(row.has_value()));
    FZ_TRY(row.has_value() ? places.Append(static_cast<int32_t>(rows.size())) : places.AppendNull());
    if (row.has_value()) rows.push_back(*row);
  }
  FZ_ASSIGN(const auto found, gathered(rows));
  FZ_ASSIGN(const auto at, places.Finish());
  arrow::ArrayVector columns;
  arrow::compute::ExecContext context(pool_);
  for (const auto& column : found->columns()) {
    FZ_ASSIGN(columns.emplace_back(),
              arrow::compute::Take(*column, *at, arrow::compute::TakeOptions::NoBoundsCheck(), &context));
  }
  FZ_ASSIGN(auto validity, valid.Finish());
  return std::make_shared<arrow::StructArray>(saved_schema_->field(3)->type(),
                                              static_cast<int64_t>(changes.size()), std::move(columns),
                                              std::move(validity));
}

Result<std::shared_ptr<arrow::RecordBatch>> HoldChanges::saved(
    const std::vector<Changes::const_iterator>& changes) const {
  const auto count = static_cast<int64_t>(changes.size());
  arrow::UInt64Builder hashes(pool_);
  arrow::BinaryBuilder keys(pool_);
  for (const auto& at : changes) {
    FZ_TRY(hashes.Append(at->second.hash));
    FZ_TRY(keys.Append(at->first));
  }
  arrow::ArrayVector columns(2);
  FZ_TRY(hashes.Finish(&columns[0]));
  FZ_TRY(keys.Finish(&columns[1]));
  FZ_ASSIGN(columns.emplace_back(), arrow::MakeArrayFromScalar(arrow::Int64Scalar(given_), count, pool_));
  FZ_ASSIGN(columns.emplace_back(), saved_rows(changes, &Change::before));
  FZ_ASSIGN(columns.emplace_back(), saved_rows(changes, &Change::after));
  return arrow::RecordBatch::Make(saved_schema_, count, std::move(columns));
}

// Holds the rows of one side of a checkpoint; none where it is null.
Result<std::vector<std::optional<HeldRow>>> HoldChanges::held_again(const arrow::StructArray& rows) {
  std::vector<std::optional<HeldRow>> held(static_cast<size_t>(rows.length()));
  std::vector<int32_t> which;
  for (int64_t i = 0; i < rows.length(); ++i) {
    if (rows.IsValid(i)) which.push_back(static_cast<int32_t>(i));
  }
  if (which.empty()) return held;
  FZ_ASSIGN(auto columns, rows.Flatten(pool_));
  FZ_ASSIGN(
      const auto taken,
      TakeRows(arrow::RecordBatch::Make(rows_.schema(), rows.length(), std::move(columns)), which, pool_));
  for (int i = 0; i < taken->num_columns(); ++i) {
    if (!rows_.schema()->field(i)->nullable() && taken->column(i)->null_count() > 0) {
      return RestoreError(kWhat, "a row without " + rows_.schema()->field(i)->name());
    }
  }
  FZ_ASSIGN(const uint32_t block, rows_.add(taken));
  for (size_t i = 0; i < which.size(); ++i) {
    held[static_cast<size_t>(which[i])] = HeldRow{block, static_cast<uint32_t>(i)};
  }
  return held;
}

Status HoldChanges::restore(const std::shared_ptr<arrow::RecordBatch>& rows) {
  FZ_TRY(CheckRestored(*rows, *saved_schema_, kWhat));
  const auto& hashes = static_cast<const arrow::UInt64Array&>(*rows->column(0));
  const auto& keys = static_cast<const arrow::BinaryArray&>(*rows->column(1));
  const auto& given = static_cast<const arrow::Int64Array&>(*rows->column(2));
  if (given.null_count() > 0) return RestoreError(kWhat, "a row that does not say of when it is");
  for (int64_t i = 0; i < rows->num_rows(); ++i) {
    if (given.Value(i) <= given_) continue;
    FZ_TRY(forget());
    given_ = given.Value(i);
  }
  FZ_ASSIGN(auto before, held_again(static_cast<const arrow::StructArray&>(*rows->column(3))));
  FZ_ASSIGN(auto after, held_again(static_cast<const arrow::StructArray&>(*rows->column(4))));
  for (int64_t i = 0; i < rows->num_rows(); ++i) {
    const auto at = static_cast<size_t>(i);
    if (keys.IsNull(i) || given.Value(i) < given_) {  // how far all was given, or given by now
      FZ_TRY(release(&before[at]));
      FZ_TRY(release(&after[at]));
      continue;
    }
    if (hashes.IsNull(i)) return RestoreError(kWhat, "a row without the hash of its key");
    const auto [found, made] = changes_.try_emplace(std::string(keys.GetView(i)));
    if (made) key_bytes_ += static_cast<int64_t>(found->first.size());
    Change& change = found->second;
    FZ_TRY(release(&change.before));
    FZ_TRY(release(&change.after));
    change = {before[at], after[at], hashes.Value(i), false};
  }
  rows_.settle();
  count_bytes();
  return Status::OK();
}

}  // namespace frazil
