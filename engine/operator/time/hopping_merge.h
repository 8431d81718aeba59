#pragma once

#include <arrow/memory_pool.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/batch.h"
#include "operator/time/accumulators.h"
#include "state/key_codec.h"
#include "state/pool_array.h"
#include "state/table.h"

namespace frazil {

// Puts windows that hop together from their panes, with a bounded number of merges for each key and window,
// however many panes a window has: the two stacks of a queue with aggregates (Tangwongsan, Hirzel, Schneider,
// "Low-latency sliding-window aggregation in worst-case constant time", 2017, section 3). Of each key there
// is a stack of the older panes it is in, each with the aggregate of itself and all newer ones of the stack,
// and one aggregate of the panes since. When a window begins behind the last of the stack, it is made anew of
// the panes at hand. Nothing is taken away from an aggregate, which floats and minima could not do.
//
// It reads panes, which no longer change, and is made of them again after a restart. One thread;
// `accumulators` and the pool outlive it.
class HoppingMerge {
 public:
  struct Pane {
    Timestamp start;
    const StateTable* table;
  };

  static Result<std::unique_ptr<HoppingMerge>> Make(Accumulators* accumulators, arrow::MemoryPool* pool);
  ~HoppingMerge();

  // Goes on to a window that begins at `start`: `panes` are all that it has, by start, rising. Windows come
  // in order.
  Status move_to(Timestamp start, std::span<const Pane> panes);

  // Forgets all windows, and their memory.
  void clear();

  // Keys of the window, and some that it has not: to be scanned.
  const StateTable& keys() const { return *keys_; }
  // The aggregates of those of the keys that the window has, until the next call or move_to().
  struct Results {
    std::vector<std::byte*> keys;  // rows of keys()
    std::vector<std::byte*> accumulators;
  };
  Status results(std::span<std::byte* const> keys, Results* results);

  int64_t bytes() const { return keys_->bytes() + nodes_.bytes() + scratch_.bytes(); }

 private:
  // What a key has; its aggregate of the newer panes stands behind it.
  struct Head {
    uint32_t top;       // 1 + number of a node; 0: none
    uint32_t has_back;  // whether there is an aggregate of newer panes
  };
  // A pane of a key in its stack; the aggregate stands behind it.
  struct Node {
    Timestamp pane;
    uint64_t below;  // as Head::top
  };

  HoppingMerge(Accumulators* accumulators, arrow::MemoryPool* pool)
      : accumulators_(accumulators), pool_(pool), encoded_(pool), nodes_(pool), scratch_(pool) {}

  static Head* HeadOf(std::byte* key) { return reinterpret_cast<Head*>(key); }
  static std::byte* Back(std::byte* key) { return key + sizeof(Head); }
  Node* node(uint32_t top) { return reinterpret_cast<Node*>(nodes_.data() + (top - 1) * node_bytes()); }
  static std::byte* Aggregate(Node* node) { return reinterpret_cast<std::byte*>(node) + sizeof(Node); }
  size_t node_bytes() const { return sizeof(Node) + static_cast<size_t>(accumulators_->width()); }

  void clear_scratch();
  Status stack(const Pane& pane);
  Status add_to_back(const Pane& pane);
  // Calls `take` with the rows of a pane, some at a time, and their keys' heads.
  template <typename Take>
  Status for_rows(const StateTable& table, Take take);
  // Adds accumulators to others.
  Status merge(std::span<std::byte* const> into, std::span<std::byte* const> from);
  uint32_t top_of(std::byte* key);

  Accumulators* const accumulators_;
  arrow::MemoryPool* const pool_;
  std::unique_ptr<StateTable> keys_;
  EncodedKeys encoded_;
  PoolArray<std::byte> nodes_;
  PoolArray<std::byte> scratch_;  // accumulators of results()
  size_t scratch_used_ = 0;       // of them
  Timestamp start_ = kWatermarkMin;
  Timestamp stacked_ = kWatermarkMin;  // the newest pane of the stacks
  Timestamp newest_ = kWatermarkMin;   // the newest pane of all
};

}  // namespace frazil
