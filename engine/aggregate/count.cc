// count: rows, or rows where the argument is not null.
#include "aggregate/plain.h"

namespace frazil {
namespace {

struct CountState {
  int64_t count = 0;
};

class Count : public PlainAggregate<Count, CountState> {
 public:
  explicit Count(const AggregateCall& call) : PlainAggregate(call, arrow::int64()) {}
  bool result_nullable() const override { return false; }

  Status add(std::span<std::byte* const> accs, int32_t offset, const arrow::ArrayVector& inputs,
             const AggregateRows&, AggregateEffects*) const override {
    if (!inputs.empty() && inputs[0]->type_id() == arrow::Type::NA) return Status::OK();
    const arrow::Array* array = inputs.empty() ? nullptr : inputs[0].get();
    ForEachRow(accs, array, [&](int64_t i) { ++At<CountState>(accs[static_cast<size_t>(i)], offset).count; });
    return Status::OK();
  }

  Status retract(std::span<std::byte* const> accs, int32_t offset, const arrow::ArrayVector& inputs,
                 AggregateEffects* effects) const override {
    if (!inputs.empty() && inputs[0]->type_id() == arrow::Type::NA) return Status::OK();
    const arrow::Array* array = inputs.empty() ? nullptr : inputs[0].get();
    return TryEachRow(accs, array, effects, [&](int64_t i) {
      int64_t& count = At<CountState>(accs[static_cast<size_t>(i)], offset).count;
      return count-- > 0 ? Status::OK() : absent();
    });
  }

  bool valid(const CountState& state) const { return state.count >= 0; }

  Status combine(CountState& into, const CountState& from) const {
    if (__builtin_add_overflow(into.count, from.count, &into.count))
      return damaged("a count that is too large");
    return Status::OK();
  }

  Result<std::shared_ptr<arrow::Array>> finish(std::span<const std::byte* const> accs, int32_t offset,
                                               arrow::MemoryPool* pool,
                                               AggregateEffects* effects) const override {
    return finish_fixed<int64_t>(accs, offset, pool, effects, [](const CountState& state, auto& column) {
      column.append(state.count);
      return Status::OK();
    });
  }
};

}  // namespace

Result<AggregatePtr> MakeCount(AggregateCall& call) { return std::make_unique<Count>(call); }

}  // namespace frazil
