// collect_list: all values of a group in the order of rows.
#include <algorithm>
#include <numeric>

#include "aggregate/boxed.h"
#include "aggregate/value_table.h"

namespace frazil {
namespace {

struct Collected {
  std::vector<OrderKey> order;
  std::vector<uint8_t> null;  // of each value; a null has no bytes of its own
  ValueList values;
  std::vector<uint32_t> number;  // in `values`, of each that is not null

  int64_t heap_bytes() const {
    return values.heap_bytes() + static_cast<int64_t>(order.capacity() * sizeof(OrderKey) + null.capacity() +
                                                      number.capacity() * sizeof(uint32_t));
  }
};

class CollectList : public BoxedAggregate<CollectList, Collected> {
 public:
  using State = Boxed<Collected>;

  CollectList(const AggregateCall& call, ValueType type, bool ignore_nulls, int64_t max_bytes)
      : BoxedAggregate(call, arrow::list(type.type())),
        type_(std::move(type)),
        ignore_nulls_(ignore_nulls),
        max_bytes_(max_bytes) {}

  bool needs_order() const override { return true; }

  Status add(std::span<std::byte* const> accs, int32_t offset, const arrow::ArrayVector& inputs,
             const AggregateRows& rows, AggregateEffects* effects) const override {
    FZ_CHECK(rows.order.size() == accs.size());
    ValueReader values(type_, *inputs[0]);
    return each(accs, offset, effects, [&](State& state, int64_t i) -> Status {
      const bool null = values.is_null(i);
      if (null && ignore_nulls_) return Status::OK();
      return append(Open(state), rows.order[static_cast<size_t>(i)], null,
                    null ? std::string_view() : values[i]);
    });
  }

  void write(const State& state, SavedWriter& writer) const {
    const uint32_t size = state.box == nullptr ? 0 : Size(*state.box);
    writer.put(size);
    for (uint32_t i = 0; i < size; ++i) {
      writer.put(state.box->order[i]);
      writer.put(state.box->null[i]);
      if (state.box->null[i] == 0) writer.put_value(type_, view(*state.box, i));
    }
  }

  Status read(State& into, SavedReader& reader) const {
    uint32_t size = 0;
    if (!reader.take(&size)) return damaged();
    for (uint32_t i = 0; i < size; ++i) {
      OrderKey order;
      uint8_t null = 0;
      std::string_view value;
      if (!reader.take(&order) || !reader.take(&null) || null > (ignore_nulls_ ? 0 : 1)) return damaged();
      if (null == 0 && !reader.take_value(type_, &value)) return damaged();
      FZ_TRY(append(Open(into), order, null == 1, value));
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
      for (uint32_t i : sorted(*state.box)) {
        FZ_TRY(state.box->null[i] == 0 ? items.append(view(*state.box, i)) : items.append_null());
      }
      return Status::OK();
    }));
    FZ_ASSIGN(auto built, items.finish());
    return lists.finish(result_type(), built);
  }

 private:
  static uint32_t Size(const Collected& list) { return static_cast<uint32_t>(list.order.size()); }

  std::string_view view(const Collected& list, uint32_t i) const {
    return list.values.view(type_, list.number[i]);
  }

  Status append(Collected& list, const OrderKey& order, bool null, std::string_view value) const {
    const uint32_t number = list.number.empty() ? 0 : list.number.back() + (list.null.back() == 0 ? 1 : 0);
    list.order.push_back(order);
    list.null.push_back(null ? 1 : 0);
    list.number.push_back(number);
    if (!null) list.values.append(type_, value);
    constexpr int64_t kOfEach = sizeof(OrderKey) + 8;
    if (list.values.bytes() + kOfEach * Size(list) > max_bytes_) return over(max_bytes_, "");
    return Status::OK();
  }

  // By order of rows. Equal keys come from one row that became several; then nulls come first, and bytes
  // decide.
  std::vector<uint32_t> sorted(const Collected& list) const {
    std::vector<uint32_t> rows(Size(list));
    std::iota(rows.begin(), rows.end(), 0);
    std::ranges::sort(rows, [&](uint32_t a, uint32_t b) {
      if (list.order[a] != list.order[b]) return list.order[a] < list.order[b];
      if (list.null[a] != list.null[b]) return list.null[a] > list.null[b];
      return list.null[a] == 0 && view(list, a) < view(list, b);
    });
    return rows;
  }

  const ValueType type_;
  const bool ignore_nulls_;
  const int64_t max_bytes_;
};

}  // namespace

Result<AggregatePtr> MakeCollectList(AggregateCall& call) {
  auto type = ValueType::Of(call.type());
  if (!type) return call.mismatch(kAnyValueExpected);
  FZ_ASSIGN(const bool ignore_nulls, call.take_bool("ignore_nulls", true));
  FZ_ASSIGN(const int64_t max_bytes, TakeMaxBytes(call));
  return std::make_unique<CollectList>(call, *std::move(type), ignore_nulls, max_bytes);
}

}  // namespace frazil
