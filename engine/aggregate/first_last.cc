// first, last: the value of the row that is first or last in the order of rows. arg_min, arg_max: the value
// of the row where another argument is smallest or largest, among equals the first or last row.
#include "aggregate/heap_state.h"

namespace frazil {
namespace {

struct FirstState {
  OrderKey order = {};
  Held value;
};

struct ArgState {
  Held by;
  OrderKey order = {};
  Held value;
};

// Whether a row is before (< 0) or behind the one that is held. Rows of the same order key come from one row
// that became several; then bytes decide.
int Compared(const OrderKey& order, bool null, std::string_view value, const OrderKey& held_order,
             const Held& held) {
  if (order != held_order) return order < held_order ? -1 : 1;
  if (held.is_null() || null) return static_cast<int>(null) - static_cast<int>(held.is_null());
  return value.compare(held.view());
}

int64_t Assign(Held& held, bool null, std::string_view value) {
  return null ? held.assign_null() : held.assign(value);
}

class First : public HeapAggregate<First, FirstState> {
 public:
  First(const AggregateCall& call, ValueType type, bool last, bool ignore_nulls)
      : HeapAggregate(call, type.type()), type_(std::move(type)), last_(last), ignore_nulls_(ignore_nulls) {}

  bool needs_order() const override { return true; }

  Status add(std::span<std::byte* const> accs, int32_t offset, const arrow::ArrayVector& inputs,
             const AggregateRows& rows, AggregateEffects* effects) const override {
    FZ_CHECK(rows.order.size() == accs.size());
    ValueReader values(type_, *inputs[0]);
    ForEachRow(accs, ignore_nulls_ ? inputs[0].get() : nullptr, [&](int64_t i) {
      auto& state = At<FirstState>(accs[static_cast<size_t>(i)], offset);
      const bool null = values.is_null(i);
      effects->heap_bytes +=
          offer(state, rows.order[static_cast<size_t>(i)], null, null ? std::string_view() : values[i]);
    });
    return Status::OK();
  }

  void free(FirstState& state) const { state.value.clear(); }
  int64_t heap(const FirstState& state) const { return state.value.heap_bytes(); }
  void write(const FirstState& state, SavedWriter& writer) const {
    writer.put(state.order);
    writer.put_held(type_, state.value);
  }
  Status read(FirstState& into, SavedReader& reader) const {
    OrderKey order;
    bool found = false, null = false;
    std::string_view value;
    if (!reader.take(&order) || !reader.take_held(type_, &found, &null, &value)) return damaged();
    if (null && ignore_nulls_) return damaged();
    if (found) offer(into, order, null, value);
    return Status::OK();
  }

  Result<std::shared_ptr<arrow::Array>> finish(std::span<const std::byte* const> accs, int32_t offset,
                                               arrow::MemoryPool* pool,
                                               AggregateEffects* effects) const override {
    ValueBuilder builder(type_, pool);
    FZ_TRY(each_result(accs, offset, effects, [&](const FirstState& state) {
      const bool none = state.value.empty() || state.value.is_null();
      return none ? builder.append_null() : builder.append(state.value.view());
    }));
    return builder.finish();
  }

 private:
  int64_t offer(FirstState& state, const OrderKey& order, bool null, std::string_view value) const {
    if (!state.value.empty()) {
      const int found = Compared(order, null, value, state.order, state.value);
      if (last_ ? found <= 0 : found >= 0) return 0;
    }
    state.order = order;
    return Assign(state.value, null, value);
  }

  const ValueType type_;
  const bool last_;
  const bool ignore_nulls_;
};

class ArgMinMax : public HeapAggregate<ArgMinMax, ArgState> {
 public:
  ArgMinMax(const AggregateCall& call, ValueType type, ValueType by, bool largest, bool ignore_nulls)
      : HeapAggregate(call, type.type()),
        type_(std::move(type)),
        by_(std::move(by)),
        largest_(largest),
        ignore_nulls_(ignore_nulls) {}

  bool needs_order() const override { return true; }

  Status add(std::span<std::byte* const> accs, int32_t offset, const arrow::ArrayVector& inputs,
             const AggregateRows& rows, AggregateEffects* effects) const override {
    FZ_CHECK(rows.order.size() == accs.size());
    ValueReader values(type_, *inputs[0]);
    ValueReader by(by_, *inputs[1], true);
    ForEachRow(accs, ignore_nulls_ ? inputs[0].get() : nullptr, [&](int64_t i) {
      if (by.is_null(i)) return;
      auto& state = At<ArgState>(accs[static_cast<size_t>(i)], offset);
      const bool null = values.is_null(i);
      effects->heap_bytes += offer(state, by[i], rows.order[static_cast<size_t>(i)], null,
                                   null ? std::string_view() : values[i]);
    });
    return Status::OK();
  }

  void free(ArgState& state) const {
    state.by.clear();
    state.value.clear();
  }
  int64_t heap(const ArgState& state) const { return state.by.heap_bytes() + state.value.heap_bytes(); }
  void write(const ArgState& state, SavedWriter& writer) const {
    writer.put_held(by_, state.by);
    if (state.by.empty()) return;
    writer.put(state.order);
    writer.put_held(type_, state.value);
  }
  Status read(ArgState& into, SavedReader& reader) const {
    OrderKey order;
    bool found = false, null = false;
    std::string_view by, value;
    if (!reader.take_held(by_, &found, &null, &by) || null) return damaged();
    if (!found) return Status::OK();
    if (!reader.take(&order) || !reader.take_held(type_, &found, &null, &value)) return damaged();
    if (!found || (null && ignore_nulls_)) return damaged();
    offer(into, by, order, null, value);
    return Status::OK();
  }

  Result<std::shared_ptr<arrow::Array>> finish(std::span<const std::byte* const> accs, int32_t offset,
                                               arrow::MemoryPool* pool,
                                               AggregateEffects* effects) const override {
    ValueBuilder builder(type_, pool);
    FZ_TRY(each_result(accs, offset, effects, [&](const ArgState& state) {
      const bool none = state.value.empty() || state.value.is_null();
      return none ? builder.append_null() : builder.append(state.value.view());
    }));
    return builder.finish();
  }

 private:
  int64_t offer(ArgState& state, std::string_view by, const OrderKey& order, bool null,
                std::string_view value) const {
    int64_t grown = 0;
    if (!state.by.empty()) {
      int found = by_.compare(by, state.by.view());
      if (found == 0) found = Compared(order, null, value, state.order, state.value);
      if (largest_ ? found <= 0 : found >= 0) return 0;
    }
    grown += state.by.assign(by);
    state.order = order;
    return grown + Assign(state.value, null, value);
  }

  const ValueType type_;
  const ValueType by_;
  const bool largest_;
  const bool ignore_nulls_;
};

Result<AggregatePtr> MakeFirstOrLast(AggregateCall& call, bool last) {
  auto type = ValueType::Of(call.type());
  if (!type) return call.mismatch(kAnyValueExpected);
  FZ_ASSIGN(const bool ignore_nulls, call.take_bool("ignore_nulls", true));
  return std::make_unique<First>(call, *std::move(type), last, ignore_nulls);
}

Result<AggregatePtr> MakeArg(AggregateCall& call, bool largest) {
  auto type = ValueType::Of(call.type(0));
  auto by = ValueType::Of(call.type(1));
  if (!type) return call.mismatch(kAnyValueExpected, 0);
  if (!by) return call.mismatch(kAnyValueExpected, 1);
  FZ_ASSIGN(const bool ignore_nulls, call.take_bool("ignore_nulls", true));
  return std::make_unique<ArgMinMax>(call, *std::move(type), *std::move(by), largest, ignore_nulls);
}

}  // namespace

Result<AggregatePtr> MakeFirst(AggregateCall& call) { return MakeFirstOrLast(call, false); }
Result<AggregatePtr> MakeLast(AggregateCall& call) { return MakeFirstOrLast(call, true); }
Result<AggregatePtr> MakeArgMin(AggregateCall& call) { return MakeArg(call, false); }
Result<AggregatePtr> MakeArgMax(AggregateCall& call) { return MakeArg(call, true); }

}  // namespace frazil
