#include "operator/time/hopping_merge.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/limits.h"

namespace frazil {

Result<std::unique_ptr<HoppingMerge>> HoppingMerge::Make(Accumulators* accumulators,
                                                         arrow::MemoryPool* pool) {
  auto made = std::unique_ptr<HoppingMerge>(new HoppingMerge(accumulators, pool));
  const auto bytes = static_cast<int32_t>(sizeof(Head)) + accumulators->width();
  FZ_ASSIGN(made->keys_, StateTable::Make({.payload_bytes = bytes}, pool));
  return made;
}

HoppingMerge::~HoppingMerge() {
  if (keys_ != nullptr) clear();
}

void HoppingMerge::clear() {
  clear_scratch();
  if (!accumulators_->plain()) {
    StateTable::Scan scan;
    std::vector<std::byte*> keys;
    while (!scan.done) {
      keys_->scan(&scan, limits::kBatchRows, &keys);
      for (std::byte* key : keys) accumulators_->destroy(Back(key));
    }
    for (uint32_t top = 1; top <= nodes_.size() / node_bytes(); ++top) {
      accumulators_->destroy(Aggregate(node(top)));
    }
  }
  keys_->clear();
  nodes_.clear();
  stacked_ = newest_ = kWatermarkMin;
}

void HoppingMerge::clear_scratch() {
  if (!accumulators_->plain()) {
    for (size_t i = 0; i < scratch_used_; ++i) {
      accumulators_->destroy(scratch_.data() + i * static_cast<size_t>(accumulators_->width()));
    }
  }
  scratch_used_ = 0;
}

Status HoppingMerge::move_to(Timestamp start, std::span<const Pane> panes) {
  start_ = start;
  if (stacked_ < start) {
    clear();
    stacked_ = newest_ = panes.empty() ? kWatermarkMin : panes.back().start;
    for (size_t i = panes.size(); i-- > 0;) FZ_TRY(stack(panes[i]));
    return Status::OK();
  }
  for (const Pane& pane : panes) {
    if (pane.start <= newest_) continue;
    FZ_TRY(add_to_back(pane));
    newest_ = pane.start;
  }
  return Status::OK();
}

template <typename Take>
Status HoppingMerge::for_rows(const StateTable& table, Take take) {
  StateTable::Scan scan;
  std::vector<std::byte*> rows, keys;
  std::vector<std::string_view> names;
  std::vector<uint8_t> inserted;
  while (!scan.done) {
    table.scan(&scan, limits::kBatchRows, &rows);
    if (rows.empty()) continue;
    names.clear();
    for (const std::byte* row : rows) names.push_back(table.key(row));
    FZ_TRY(encoded_.assign(names));
    keys.resize(rows.size());
    inserted.resize(rows.size());
    FZ_TRY(keys_->probe(encoded_, keys, inserted));
    for (size_t i = 0; i < keys.size(); ++i) {
      if (inserted[i] == 0) continue;
      *HeadOf(keys[i]) = {0, 0};
      accumulators_->create(Back(keys[i]));
    }
    FZ_TRY(take(rows, keys));
  }
  return Status::OK();
}

Status HoppingMerge::merge(std::span<std::byte* const> into, std::span<std::byte* const> from) {
  if (into.empty()) return Status::OK();
  FZ_ASSIGN(const auto saved, accumulators_->save(from, pool_));
  return accumulators_->merge(into, saved);
}

// Puts the rows of a pane, older than those before it, on top of their keys' stacks.
Status HoppingMerge::stack(const Pane& pane) {
  return for_rows(
      *pane.table, [&](const std::vector<std::byte*>& rows, const std::vector<std::byte*>& keys) -> Status {
        const size_t first = nodes_.size() / node_bytes();
        if (first + rows.size() >= std::numeric_limits<uint32_t>::max()) {
          return Error(ErrorKind::kUser, "a window that hops has more than 4 billion keys in its pieces");
        }
        FZ_TRY(nodes_.resize(nodes_.size() + rows.size() * node_bytes()));
        std::vector<std::byte*> made, on, below;
        for (size_t i = 0; i < rows.size(); ++i) {
          Head* head = HeadOf(keys[i]);
          const auto top = static_cast<uint32_t>(first + i + 1);
          *node(top) = {pane.start, head->top};
          made.push_back(Aggregate(node(top)));
          accumulators_->create(made.back());
          if (head->top != 0) {
            on.push_back(made.back());
            below.push_back(Aggregate(node(head->top)));
          }
          head->top = top;
        }
        FZ_TRY(merge(made, rows));
        return merge(on, below);
      });
}

Status HoppingMerge::add_to_back(const Pane& pane) {
  return for_rows(*pane.table,
                  [&](const std::vector<std::byte*>& rows, const std::vector<std::byte*>& keys) -> Status {
                    std::vector<std::byte*> backs;
                    for (std::byte* key : keys) {
                      HeadOf(key)->has_back = 1;
                      backs.push_back(Back(key));
                    }
                    return merge(backs, rows);
                  });
}

// The oldest pane of a key that the window has; those before it are forgotten.
uint32_t HoppingMerge::top_of(std::byte* key) {
  Head* head = HeadOf(key);
  while (head->top != 0 && node(head->top)->pane < start_) {
    head->top = static_cast<uint32_t>(node(head->top)->below);
  }
  return head->top;
}

Status HoppingMerge::results(std::span<std::byte* const> keys, Results* results) {
  const auto width = static_cast<size_t>(accumulators_->width());
  clear_scratch();
  FZ_TRY(scratch_.resize(keys.size() * width));
  results->keys.clear();
  results->accumulators.clear();
  std::vector<std::byte*> into, from;
  for (std::byte* key : keys) {
    const uint32_t top = top_of(key);
    const bool has_back = HeadOf(key)->has_back != 0;
    if (top == 0 && !has_back) continue;
    std::byte* made = scratch_.data() + scratch_used_++ * width;
    accumulators_->create(made);
    results->keys.push_back(key);
    results->accumulators.push_back(made);
    std::byte* first = top != 0 ? Aggregate(node(top)) : Back(key);
    if (accumulators_->plain()) {
      std::memcpy(made, first, width);
    } else {
      into.push_back(made);
      from.push_back(first);
    }
  }
  FZ_TRY(merge(into, from));
  into.clear();
  from.clear();
  for (size_t i = 0; i < results->keys.size(); ++i) {
    std::byte* key = results->keys[i];
    if (HeadOf(key)->top == 0 || HeadOf(key)->has_back == 0) continue;
    into.push_back(results->accumulators[i]);
    from.push_back(Back(key));
  }
  return merge(into, from);
}

}  // namespace frazil
