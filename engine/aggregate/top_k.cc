// top_k: the k largest (or smallest) values of a group, or the values of the k rows where another argument is
// largest, exactly. A heap whose top is the worst of the best.
#include <algorithm>

#include "aggregate/boxed.h"

namespace frazil {
namespace {

struct Entry {
  Held by;
  OrderKey order = {};  // these two only where there is a second argument
  Held value;
};

struct Best {
  std::vector<Entry> entries;
  int64_t held = 0;  // bytes on the heap of what the entries hold

  Best() = default;
  Best(const Best&) = delete;
  Best& operator=(const Best&) = delete;
  ~Best() {
    for (Entry& entry : entries) {
      entry.by.clear();
      entry.value.clear();
    }
  }
  int64_t heap_bytes() const { return held + static_cast<int64_t>(entries.capacity() * sizeof(Entry)); }
};

class TopK : public BoxedAggregate<TopK, Best> {
 public:
  using State = Boxed<Best>;

  // by: of the second argument, or the type itself
  TopK(const AggregateCall& call, ValueType type, ValueType by, bool smallest, int64_t k)
      : BoxedAggregate(call, arrow::list(type.type())),
        type_(std::move(type)),
        by_(std::move(by)),
        two_(call.args() == 2),
        smallest_(smallest),
        k_(static_cast<size_t>(k)) {}

  bool needs_order() const override { return two_; }

  Status add(std::span<std::byte* const> accs, int32_t offset, const arrow::ArrayVector& inputs,
             const AggregateRows& rows, AggregateEffects* effects) const override {
    if (two_) FZ_CHECK(rows.order.size() == accs.size());
    ValueReader values(type_, *inputs[0], !two_);
    ValueReader by(by_, *inputs.back(), true);
    return each(accs, offset, effects, [&](State& state, int64_t i) -> Status {
      if (values.is_null(i) || by.is_null(i)) return Status::OK();
      if (two_) {
        offer(Open(state), by[i], rows.order[static_cast<size_t>(i)], values[i]);
      } else {
        offer(Open(state), by[i], {}, {});
      }
      return Status::OK();
    });
  }

  void write(const State& state, SavedWriter& writer) const {
    writer.put(static_cast<uint32_t>(k_));
    writer.put(state.box == nullptr ? uint32_t{0} : static_cast<uint32_t>(state.box->entries.size()));
    if (state.box == nullptr) return;
    for (const Entry& entry : state.box->entries) {
      writer.put_value(by_, entry.by.view());
      if (!two_) continue;
      writer.put(entry.order);
      writer.put_value(type_, entry.value.view());
    }
  }

  Status read(State& into, SavedReader& reader) const {
    uint32_t k = 0, size = 0;
    if (!reader.take(&k) || k != k_) return damaged("another k");
    if (!reader.take(&size) || size > k_) return damaged();
    for (uint32_t i = 0; i < size; ++i) {
      std::string_view by, value;
      OrderKey order = {};
      if (!reader.take_value(by_, &by)) return damaged();
      if (two_ && (!reader.take(&order) || !reader.take_value(type_, &value))) return damaged();
      offer(Open(into), by, order, value);
    }
    return Status::OK();
  }

  Result<std::shared_ptr<arrow::Array>> finish(std::span<const std::byte* const> accs, int32_t offset,
                                               arrow::MemoryPool* pool,
                                               AggregateEffects* effects) const override {
    ListColumn lists(pool);
    ValueBuilder items(type_, pool);
    FZ_TRY(each_result(accs, offset, effects, [&](const State& state) -> Status {
      if (state.box == nullptr) return lists.null(items.length());
      FZ_TRY(lists.begin(items.length()));
      for (const Entry* entry : sorted(*state.box)) {
        FZ_TRY(items.append(two_ ? entry->value.view() : entry->by.view()));
      }
      return Status::OK();
    }));
    FZ_ASSIGN(auto built, items.finish());
    return lists.finish(result_type(), built);
  }

 private:
  // True if the first comes before the second: by the value, then by order of rows, then (rows that became
  // several) by bytes.
  bool better(std::string_view by, const OrderKey& order, std::string_view value, const Entry& than) const {
    if (const int found = by_.compare(by, than.by.view()); found != 0)
      return smallest_ ? found < 0 : found > 0;
    if (!two_) return false;
    if (order != than.order) return order < than.order;
    return value < than.value.view();
  }
  bool better(const Entry& a, const Entry& b) const {
    return better(a.by.view(), a.order, two_ ? a.value.view() : std::string_view(), b);
  }

  void offer(Best& best, std::string_view by, const OrderKey& order, std::string_view value) const {
    const auto compare = [&](const Entry& a, const Entry& b) { return better(a, b); };
    std::vector<Entry>& entries = best.entries;
    if (entries.size() < k_) {
      entries.emplace_back();
    } else {
      if (!better(by, order, value, entries.front())) return;
      std::ranges::pop_heap(entries, compare);
    }
    Entry& entry = entries.back();
    best.held += entry.by.assign(by);
    entry.order = order;
    if (two_) best.held += entry.value.assign(value);
    std::ranges::push_heap(entries, compare);
  }

  std::vector<const Entry*> sorted(const Best& best) const {
    std::vector<const Entry*> entries;
    for (const Entry& entry : best.entries) entries.push_back(&entry);
    std::ranges::sort(entries, [&](const Entry* a, const Entry* b) { return better(*a, *b); });
    return entries;
  }

  const ValueType type_;
  const ValueType by_;
  const bool two_;
  const bool smallest_;
  const size_t k_;
};

}  // namespace

Result<AggregatePtr> MakeTopK(AggregateCall& call) {
  auto type = ValueType::Of(call.type(0));
  if (!type) return call.mismatch(kAnyValueExpected, 0);
  auto by = ValueType::Of(call.type(call.args() - 1));
  if (!by) return call.mismatch(kAnyValueExpected, 1);
  FZ_ASSIGN(const int64_t k, call.take_int("k", 10, 1, kTopValues));
  FZ_ASSIGN(const bool smallest, call.take_bool("smallest", false));
  return std::make_unique<TopK>(call, *std::move(type), *std::move(by), smallest, k);
}

}  // namespace frazil
