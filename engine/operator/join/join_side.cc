#include "operator/join/join_side.h"

#include <arrow/api.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "base/limits.h"
#include "operator/time/order_mark.h"
#include "state/take_rows.h"

namespace frazil {
namespace {

// When blocks are many (so many), and small: rows to a block, on average.
constexpr int64_t kSmallBlocks = 256;
constexpr int64_t kSmallBlockRows = 64;

const auto kOrderType = [] { return arrow::fixed_size_binary(kOrderBytes); };

std::shared_ptr<arrow::Schema> WithOrder(const arrow::Schema& input) {
  arrow::FieldVector fields = input.fields();
  fields.push_back(arrow::field(std::string(kHiddenPrefix) + std::string(kOrderMark), kOrderType(), false));
  return arrow::schema(std::move(fields));
}

}  // namespace

Result<JoinInput> JoinInput::Make(const nlohmann::json& spec, const std::shared_ptr<arrow::Schema>& schema) {
  JoinInput made;
  made.schema = schema;
  for (const auto& key : spec.at("keys")) {
    const int column = schema->GetFieldIndex(key.get<std::string>());
    if (column < 0) {
      return Error(ErrorKind::kConfig,
                   "reading the plan: no key column " + key.dump() + " in a join's input");
    }
    made.keys.push_back(column);
    made.key_types.push_back(schema->field(column)->type());
  }
  FZ_ASSIGN(made.time, RowTime::Make(spec, *schema));
  return made;
}

Result<std::array<BoundInput, 2>> BindJoinInputs(const nlohmann::json& spec,
                                                 const std::vector<std::shared_ptr<arrow::Schema>>& inputs) {
  if (inputs.size() != 2) return Error(ErrorKind::kConfig, "reading the plan: a join has two inputs");
  FZ_ASSIGN(JoinInput left, JoinInput::Make(spec.at("left"), inputs[0]));
  FZ_ASSIGN(JoinInput right, JoinInput::Make(spec.at("right"), inputs[1]));
  const auto same = [](const auto& a, const auto& b) { return a->Equals(*b); };
  if (!std::equal(left.key_types.begin(), left.key_types.end(), right.key_types.begin(),
                  right.key_types.end(), same)) {
    return Error(ErrorKind::kConfig, "reading the plan: the keys of a join are of different types");
  }
  FZ_ASSIGN(KeyCodec left_keys, KeyCodec::Make(left.key_types));
  FZ_ASSIGN(KeyCodec right_keys, KeyCodec::Make(right.key_types));
  return std::array<BoundInput, 2>{BoundInput{std::move(left), std::move(left_keys)},
                                   BoundInput{std::move(right), std::move(right_keys)}};
}

arrow::ArrayVector JoinInput::keys_of(const arrow::RecordBatch& rows) const {
  arrow::ArrayVector columns;
  for (const int key : keys) columns.push_back(rows.column(key));
  return columns;
}

std::vector<uint8_t> JoinInput::keyed(const arrow::RecordBatch& rows) const {
  std::vector<uint8_t> keyed(static_cast<size_t>(rows.num_rows()), 1);
  for (const int key : keys) {
    const auto& column = *rows.column(key);
    if (column.null_count() == 0) continue;
    for (int64_t i = 0; i < rows.num_rows(); ++i) {
      if (column.IsNull(i)) keyed[static_cast<size_t>(i)] = 0;
    }
  }
  return keyed;
}

JoinSide::JoinSide(const std::shared_ptr<arrow::Schema>& input, arrow::MemoryPool* pool)
    : pool_(pool), rows_(WithOrder(*input), pool) {}

Result<std::shared_ptr<arrow::RecordBatch>> JoinSide::with_order(const Batch& batch) const {
  std::shared_ptr<arrow::Array> order = MarkOf(batch, kOrderMark);
  if (order == nullptr) {
    arrow::FixedSizeBinaryBuilder builder(kOrderType(), pool_);
    FZ_TRY(builder.AppendEmptyValues(batch.rows()));
    FZ_TRY(builder.Finish(&order));
  }
  arrow::ArrayVector columns = batch.columns->columns();
  columns.push_back(std::move(order));
  return arrow::RecordBatch::Make(schema(), batch.rows(), std::move(columns));
}

Result<std::vector<uint32_t>> JoinSide::hold(const std::shared_ptr<arrow::RecordBatch>& rows,
                                             std::span<const int32_t> which) {
  std::vector<uint32_t> numbers;
  if (which.empty()) return numbers;
  // A copy: what comes may be a slice of something larger.
  FZ_ASSIGN(auto kept, TakeRows(rows, which, pool_));
  FZ_ASSIGN(const uint32_t block, rows_.add(std::move(kept)));
  ++holds_;
  numbers.reserve(which.size());
  for (uint32_t row = 0; row < which.size(); ++row) {
    uint32_t number = static_cast<uint32_t>(slots_.size());
    if (free_.empty()) {
      slots_.emplace_back();
    } else {
      number = free_.back();
      free_.pop_back();
    }
    slots_[number] = {{block, row}, true, true};
    numbers.push_back(number);
  }
  arrived_.insert(arrived_.end(), numbers.begin(), numbers.end());
  return numbers;
}

Status JoinSide::release(uint32_t number) {
  FZ_CHECK(slots_[number].held);
  FZ_TRY(rows_.release(slots_[number].row));
  slots_[number] = {};
  free_.push_back(number);
  return Status::OK();
}

Result<std::shared_ptr<arrow::RecordBatch>> JoinSide::gather(std::span<const uint32_t> numbers) const {
  std::vector<HeldRow> rows;
  rows.reserve(numbers.size());
  for (const uint32_t number : numbers) rows.push_back(slots_[number].row);
  return rows_.gather(rows);
}

const uint8_t* JoinSide::order_of(uint32_t number) const {
  const HeldRow place = slots_[number].row;
  const arrow::RecordBatch& block = rows_.block(place.block);
  const auto& marks = static_cast<const arrow::FixedSizeBinaryArray&>(*block.column(block.num_columns() - 1));
  return marks.GetValue(place.row);
}

bool JoinSide::is_behind(uint32_t number, uint32_t other) const {
  return std::memcmp(order_of(number), order_of(other), kOrderBytes) > 0;
}

std::vector<uint32_t> JoinSide::unsaved() const {
  std::vector<uint32_t> numbers;
  std::vector<uint8_t> seen(slots_.size());
  for (const uint32_t number : arrived_) {
    if (!slots_[number].unsaved || seen[number] != 0) continue;
    seen[number] = 1;
    numbers.push_back(number);
  }
  return numbers;
}

std::vector<uint32_t> JoinSide::all() const {
  std::vector<uint32_t> numbers;
  for (uint32_t number = 0; number < slots_.size(); ++number) {
    if (slots_[number].held) numbers.push_back(number);
  }
  return numbers;
}

Status JoinSide::settle() {
  for (const uint32_t number : arrived_) slots_[number].unsaved = false;
  arrived_.clear();
  rows_.settle();
  const bool small = holds_ > kSmallBlocks && holds_ > rows_.size() / kSmallBlockRows;
  return small || rows_.sparse() ? pack() : Status::OK();
}

// Writes all rows anew, a batch at a time.
Status JoinSide::pack() {
  const std::vector<uint32_t> numbers = all();
  const auto step = static_cast<size_t>(limits::kBatchRows);
  for (size_t from = 0; from < numbers.size(); from += step) {
    const std::span part(numbers.data() + from, std::min(step, numbers.size() - from));
    FZ_ASSIGN(auto rows, gather(part));
    std::vector<int32_t> which(part.size());
    std::iota(which.begin(), which.end(), 0);
    FZ_ASSIGN(rows, TakeRows(rows, which, pool_));  // a slice would keep its block
    FZ_ASSIGN(const uint32_t block, rows_.add(std::move(rows)));
    for (uint32_t row = 0; row < part.size(); ++row) {
      HeldRow& place = slots_[part[row]].row;
      FZ_TRY(rows_.release(place));
      place = {block, row};
    }
  }
  rows_.settle();
  holds_ = 0;
  return Status::OK();
}

int64_t JoinSide::bytes() const {
  return rows_.bytes() + static_cast<int64_t>(slots_.capacity() * sizeof(Slot) +
                                              (free_.capacity() + arrived_.capacity()) * sizeof(uint32_t));
}

}  // namespace frazil
