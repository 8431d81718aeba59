// min, max: the smallest and the largest value. any, all are max and min of bools, any_value is min: some
// value, and the same one in every run.
#include "aggregate/heap_state.h"
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

// Of strings and binaries.
class MinMaxBytes : public HeapAggregate<MinMaxBytes, Held> {
 public:
  MinMaxBytes(const AggregateCall& call, ValueType type, bool largest)
      : HeapAggregate(call, type.type()), type_(std::move(type)), largest_(largest) {}

  Status add(std::span<std::byte* const> accs, int32_t offset, const arrow::ArrayVector& inputs,
             const AggregateRows&, AggregateEffects* effects) const override {
    ValueReader values(type_, *inputs[0]);
    ForEachRow(accs, inputs[0].get(), [&](int64_t i) {
      effects->heap_bytes += offer(At<Held>(accs[static_cast<size_t>(i)], offset), values[i]);
    });
    return Status::OK();
  }

  void free(Held& state) const { state.clear(); }
  int64_t heap(const Held& state) const { return state.heap_bytes(); }
  void write(const Held& state, SavedWriter& writer) const { writer.put_held(type_, state); }
  Status read(Held& into, SavedReader& reader) const {
    bool found = false, null = false;
    std::string_view value;
    if (!reader.take_held(type_, &found, &null, &value) || null) return damaged();
    if (found) offer(into, value);
    return Status::OK();
  }

  Result<std::shared_ptr<arrow::Array>> finish(std::span<const std::byte* const> accs, int32_t offset,
                                               arrow::MemoryPool* pool,
                                               AggregateEffects* effects) const override {
    ValueBuilder builder(type_, pool);
    FZ_TRY(each_result(accs, offset, effects, [&](const Held& state) {
      return state.empty() ? builder.append_null() : builder.append(state.view());
    }));
    return builder.finish();
  }

 private:
  int64_t offer(Held& state, std::string_view value) const {
    if (!state.empty()) {
      const int order = value.compare(state.view());
      if (largest_ ? order <= 0 : order >= 0) return 0;
    }
    return state.assign(value);
  }

  const ValueType type_;
  const bool largest_;
};

template <bool kLargest>
Result<AggregatePtr> Make(AggregateCall& call) {
  return DispatchFixed(
      *call.type(),
      [&]<typename T>(Lies<T>) -> Result<AggregatePtr> {
        return std::make_unique<MinMax<T, kLargest>>(call, call.type());
      },
      [&]() -> Result<AggregatePtr> {
        auto type = ValueType::Of(call.type());
        if (!type) return call.mismatch(kAnyValueExpected);
        return std::make_unique<MinMaxBytes>(call, *std::move(type), kLargest);
      });
}

}  // namespace

Result<AggregatePtr> MakeMin(AggregateCall& call) { return Make<false>(call); }
Result<AggregatePtr> MakeMax(AggregateCall& call) { return Make<true>(call); }
Result<AggregatePtr> MakeAny(AggregateCall& call) {
  if (call.type()->id() != arrow::Type::BOOL) return call.mismatch("bool");
  return Make<true>(call);
}
Result<AggregatePtr> MakeAll(AggregateCall& call) {
  if (call.type()->id() != arrow::Type::BOOL) return call.mismatch("bool");
  return Make<false>(call);
}

}  // namespace frazil
