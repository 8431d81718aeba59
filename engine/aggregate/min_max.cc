// min, max: the smallest and the largest value.
#include <cmath>

#include "aggregate/plain.h"
#include "aggregate/value_order.h"

namespace frazil {
namespace {

// The values as they lie in accumulators, so that they and the flag fill whole words.
template <typename T>
using Kept =
    std::conditional_t<std::is_same_v<T, bool>, uint32_t,
                       std::conditional_t<std::is_integral_v<T> && sizeof(T) < 4,
                                          std::conditional_t<std::is_signed_v<T>, int32_t, uint32_t>, T>>;

template <typename T>
struct Best {
  Kept<T> value = {};
  std::conditional_t<sizeof(Kept<T>) == 4, uint32_t, uint64_t> found = 0;
};

template <typename T, bool kLargest>
class MinMax : public PlainAggregate<MinMax<T, kLargest>, Best<T>> {
 public:
  using PlainAggregate<MinMax<T, kLargest>, Best<T>>::PlainAggregate;

  Status add(std::span<std::byte* const> accs, int32_t offset, const arrow::ArrayVector& inputs,
             const AggregateRows&, AggregateEffects*) const override {
    const Reader<T> values(*inputs[0]);
    ForEachRow(accs, inputs[0].get(), [&](int64_t i) {
      offer(At<Best<T>>(accs[static_cast<size_t>(i)], offset), Canonical<Kept<T>>(values[i]));
    });
    return Status::OK();
  }

  bool valid(const Best<T>& state) const {
    if (state.found > 1) return false;
    if constexpr (std::is_integral_v<T> && sizeof(T) < 4) {
      if (static_cast<Kept<T>>(static_cast<T>(state.value)) != state.value) return false;
    }
    return state.found == 0 || InRange(*this->result_type(), state.value);
  }

  Status combine(Best<T>& into, const Best<T>& from) const {
    if (from.found != 0) offer(into, Canonical<Kept<T>>(from.value));
    return Status::OK();
  }

  Result<std::shared_ptr<arrow::Array>> finish(std::span<const std::byte* const> accs, int32_t offset,
                                               arrow::MemoryPool* pool,
                                               AggregateEffects* effects) const override {
    return this->template finish_fixed<T>(accs, offset, pool, effects,
                                          [](const Best<T>& state, auto& column) {
                                            if (state.found != 0) {
                                              column.append(static_cast<T>(state.value));
                                            } else {
                                              column.append_null();
                                            }
                                            return Status::OK();
                                          });
  }

 private:
  static void offer(Best<T>& state, Kept<T> value) {
    const bool better = kLargest ? Before(state.value, value) : Before(value, state.value);
    if (state.found == 0 || better) {
      state.value = value;
      state.found = 1;
    }
  }
};

template <bool kLargest>
Result<AggregatePtr> Make(AggregateCall& call) {
  return DispatchFixed(
      *call.type(),
      [&]<typename T>(Lies<T>) -> Result<AggregatePtr> {
        return std::make_unique<MinMax<T, kLargest>>(call, call.type());
      },
      [&]() -> Result<AggregatePtr> { return call.mismatch("a number, bool, date, time or duration"); });
}

}  // namespace

Result<AggregatePtr> MakeMin(AggregateCall& call) { return Make<false>(call); }
Result<AggregatePtr> MakeMax(AggregateCall& call) { return Make<true>(call); }

}  // namespace frazil
