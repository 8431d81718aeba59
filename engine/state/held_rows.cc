#include "state/held_rows.h"

#include <arrow/api.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/batch.h"
#include "base/check.h"
#include "base/limits.h"
#include "state/state_pool.h"
#include "state/take_rows.h"

namespace frazil {
namespace {

// Blocks are compacted only if there is more than this to gain (bytes).
constexpr int64_t kCompactBytesMin = 1 << 20;

Result<std::shared_ptr<arrow::RecordBatch>> Copy(const std::shared_ptr<arrow::RecordBatch>& rows,
                                                 arrow::MemoryPool* pool) {
  std::vector<int32_t> all(static_cast<size_t>(rows->num_rows()));
  std::iota(all.begin(), all.end(), 0);
  return TakeRows(rows, all, pool);
}

}  // namespace

Result<uint32_t> HeldRows::add(std::shared_ptr<arrow::RecordBatch> rows) {
  FZ_CHECK(rows->num_rows() > 0);
  if (StatePool::Tight(pool_, 0)) {
    FZ_ASSIGN(rows, Copy(rows, pool_));
  }
  Block block;
  block.live = rows->num_rows();
  block.bytes = BatchBytes({rows, {}, nullptr});
  block.rows = std::move(rows);
  live_ += block.live;
  bytes_ += block.bytes;
  live_bytes_ += block.bytes;
  if (free_.empty()) {
    blocks_.push_back(std::move(block));
    return static_cast<uint32_t>(blocks_.size() - 1);
  }
  const uint32_t number = free_.back();
  free_.pop_back();
  blocks_[number] = std::move(block);
  return number;
}

Status HeldRows::release(HeldRow row) {
  Block& block = blocks_[row.block];
  FZ_CHECK(block.live > 0);
  const int64_t share = block.bytes / block.rows->num_rows();
  --live_;
  live_bytes_ -= share;
  if (--block.live > 0) return Status::OK();
  live_bytes_ -= block.bytes - share * block.rows->num_rows();
  bytes_ -= block.bytes;
  block = {};
  free_.push_back(row.block);
  return Status::OK();
}

Result<std::shared_ptr<arrow::RecordBatch>> HeldRows::gather(std::span<const HeldRow> rows) const {
  if (rows.empty()) return arrow::RecordBatch::MakeEmpty(schema_, pool_);
  const auto follows = [](HeldRow a, HeldRow b) { return a.block != b.block || a.row + 1 != b.row; };
  if (std::adjacent_find(rows.begin(), rows.end(), follows) == rows.end()) {
    return blocks_[rows.front().block].rows->Slice(rows.front().row, static_cast<int64_t>(rows.size()));
  }
  // The rows of each block are taken, put one behind the other, and then brought into their order.
  std::vector<uint32_t> numbers;
  for (const HeldRow& row : rows) numbers.push_back(row.block);
  std::sort(numbers.begin(), numbers.end());
  numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
  std::vector<std::vector<int32_t>> parts(numbers.size());
  std::vector<std::pair<size_t, size_t>> places;  // part and place in it
  places.reserve(rows.size());
  for (const HeldRow& row : rows) {
    const auto part =
        static_cast<size_t>(std::lower_bound(numbers.begin(), numbers.end(), row.block) - numbers.begin());
    places.emplace_back(part, parts[part].size());
    parts[part].push_back(static_cast<int32_t>(row.row));
  }
  arrow::RecordBatchVector taken;
  for (size_t i = 0; i < numbers.size(); ++i) {
    FZ_ASSIGN(auto part, TakeRows(blocks_[numbers[i]].rows, parts[i], pool_));
    taken.push_back(std::move(part));
  }
  if (taken.size() == 1) return taken.front();
  FZ_ASSIGN(const auto together, arrow::ConcatenateRecordBatches(taken, pool_));
  std::vector<size_t> begins(parts.size());
  for (size_t i = 1; i < parts.size(); ++i) begins[i] = begins[i - 1] + parts[i - 1].size();
  std::vector<int32_t> order;
  order.reserve(rows.size());
  for (const auto& [part, place] : places) order.push_back(static_cast<int32_t>(begins[part] + place));
  return TakeRows(together, order, pool_);
}

void HeldRows::settle() {
  for (Block& block : blocks_) block.is_new = false;
}

bool HeldRows::sparse() const { return bytes_ - live_bytes_ > std::max(kCompactBytesMin, live_bytes_); }

Status HeldRows::compact(std::span<HeldRow* const> rows) {
  FZ_CHECK(static_cast<int64_t>(rows.size()) == live_);
  std::vector<HeldRow*> moved;
  for (HeldRow* row : rows) {
    const Block& block = blocks_[row->block];
    FZ_CHECK(!block.is_new);
    if (block.live < block.rows->num_rows()) moved.push_back(row);
  }
  std::sort(moved.begin(), moved.end(), [](const HeldRow* a, const HeldRow* b) { return *a < *b; });
  std::vector<std::shared_ptr<arrow::RecordBatch>> made;
  for (size_t from = 0; from < moved.size(); from += limits::kBatchRows) {
    const size_t to = std::min(moved.size(), from + limits::kBatchRows);
    std::vector<HeldRow> part;
    for (size_t i = from; i < to; ++i) part.push_back(*moved[i]);
    FZ_ASSIGN(auto batch, gather(part));
    FZ_ASSIGN(batch, Copy(batch, pool_));  // a slice would keep the whole block
    made.push_back(std::move(batch));
  }
  for (size_t i = 0; i < made.size(); ++i) {
    const size_t from = i * limits::kBatchRows;
    FZ_ASSIGN(const uint32_t block, add(made[i]));
    blocks_[block].is_new = false;
    for (size_t j = from; j < from + static_cast<size_t>(made[i]->num_rows()); ++j) {
      FZ_TRY(release(*moved[j]));
      *moved[j] = {block, static_cast<uint32_t>(j - from)};
    }
  }
  return Status::OK();
}

}  // namespace frazil
