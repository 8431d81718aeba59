// sum: of integers in 128 bits, of decimals in 192, of floats as a double-double. If values are taken away
// again, also how many there are: without any left it is null.
#include "aggregate/double_double.h"
#include "aggregate/exact_sum.h"
#include "aggregate/float_changes.h"
#include "aggregate/plain.h"
#include "expr/types.h"

namespace frazil {
namespace {

// The sum in a state.
template <typename Sum>
const Sum& SumIn(const Sum& state) {
  return state;
}
template <typename Sum>
const Sum& SumIn(const Counted<Sum>& state) {
  return state.sum;
}

// What every sum does. T: how values lie, Number: as what they are added.
template <typename Function, typename T, typename Number, typename State>
class Sum : public PlainAggregate<Function, State> {
 public:
  using PlainAggregate<Function, State>::PlainAggregate;

  Status add(std::span<std::byte* const> accs, int32_t offset, const arrow::ArrayVector& inputs,
             const AggregateRows&, AggregateEffects*) const override {
    const Reader<T> values(*inputs[0]);
    ForEachRow(accs, inputs[0].get(), [&](int64_t i) {
      At<State>(accs[static_cast<size_t>(i)], offset).add(static_cast<Number>(values[i]));
    });
    return Status::OK();
  }

  Status retract(std::span<std::byte* const> accs, int32_t offset, const arrow::ArrayVector& inputs,
                 AggregateEffects* effects) const override {
    if constexpr (requires(State & state, Number value) { state.take(value); }) {
      return this->template take_each<T>(accs, offset, *inputs[0], effects);
    } else {
      return Aggregate::retract(accs, offset, inputs, effects);
    }
  }

  Status combine(State& into, const State& from) const {
    if constexpr (std::is_same_v<State, DoubleDouble>) {
      if (!from.empty()) into.add(from);
      return Status::OK();
    } else {
      return into.add(from) ? Status::OK() : this->damaged("a sum that is too large");
    }
  }
};

// The result is int64 or a duration.
template <typename T, typename State>
class SumOfIntegers : public Sum<SumOfIntegers<T, State>, T, Int128, State> {
 public:
  using Sum<SumOfIntegers<T, State>, T, Int128, State>::Sum;

  bool valid(const State& state) const {
    if constexpr (requires { state.valid(); }) return state.valid();
    return true;
  }

  Result<std::shared_ptr<arrow::Array>> finish(std::span<const std::byte* const> accs, int32_t offset,
                                               arrow::MemoryPool* pool,
                                               AggregateEffects* effects) const override {
    return this->template finish_fixed<int64_t>(accs, offset, pool, effects,
                                                [&](const State& state, auto& column) -> Status {
                                                  if (state.empty())
                                                    return column.append_null(), Status::OK();
                                                  const Int128 sum = SumIn(state).value();
                                                  if (sum < INT64_MIN || sum > INT64_MAX)
                                                    return overflow(SumIn(state));
                                                  column.append(static_cast<int64_t>(sum));
                                                  return Status::OK();
                                                });
  }

 private:
  Status overflow(const IntegerSum& state) const {
    return Error(ErrorKind::kUser,
                 this->text() + ": the result " +
                     arrow::Decimal128(state.sum.high, state.sum.low).ToIntegerString() +
                     " is outside int64; cast the argument first: .cast(fz.Decimal[38, 0])");
  }
};

template <typename State>
class SumOfDecimals : public Sum<SumOfDecimals<State>, Wide, Wide, State> {
 public:
  using Sum<SumOfDecimals<State>, Wide, Wide, State>::Sum;

  bool valid(const State& state) const {
    if constexpr (requires { state.valid(); }) {
      if (!state.valid()) return false;
    }
    const DecimalSum& sum = SumIn(state);
    return !sum.empty() || (sum.low == 0 && sum.middle == 0);
  }

  Result<std::shared_ptr<arrow::Array>> finish(std::span<const std::byte* const> accs, int32_t offset,
                                               arrow::MemoryPool* pool,
                                               AggregateEffects* effects) const override {
    const int32_t scale = static_cast<const arrow::Decimal128Type&>(*this->result_type()).scale();
    return this->template finish_fixed<Wide>(
        accs, offset, pool, effects, [&](const State& state, auto& column) -> Status {
          if (state.empty()) return column.append_null(), Status::OK();
          const arrow::Decimal256 sum = SumIn(state).value();
          if (!sum.FitsInPrecision(arrow::Decimal128Type::kMaxPrecision)) {
            return Error(ErrorKind::kUser, this->text() + ": the result " + sum.ToString(scale) +
                                               " is outside " + expr::TypeName(*this->result_type()) +
                                               "; cast the argument to a smaller scale or to float64");
          }
          column.append({SumIn(state).low, static_cast<int64_t>(SumIn(state).middle)});
          return Status::OK();
        });
  }
};

// T: float or double.
template <typename T, typename State>
class SumOfFloats : public Sum<SumOfFloats<T, State>, T, double, State> {
 public:
  using Sum<SumOfFloats<T, State>, T, double, State>::Sum;

  bool valid(const State& state) const { return state.valid(); }

  Result<std::shared_ptr<arrow::Array>> finish(std::span<const std::byte* const> accs, int32_t offset,
                                               arrow::MemoryPool* pool,
                                               AggregateEffects* effects) const override {
    return this->template finish_fixed<double>(accs, offset, pool, effects,
                                               [](const State& state, auto& column) {
                                                 if (state.empty()) {
                                                   column.append_null();
                                                 } else {
                                                   column.append(state.value());
                                                 }
                                                 return Status::OK();
                                               });
  }
};

}  // namespace

Result<AggregatePtr> MakeSum(AggregateCall& call) {
  const arrow::DataType& type = *call.type();
  if (type.id() == arrow::Type::DECIMAL128) {
    const int32_t scale = static_cast<const arrow::Decimal128Type&>(type).scale();
    const auto result = arrow::decimal128(arrow::Decimal128Type::kMaxPrecision, scale);
    if (call.changes()) return std::make_unique<SumOfDecimals<Counted<DecimalSum>>>(call, result);
    return std::make_unique<SumOfDecimals<DecimalSum>>(call, result);
  }
  const auto refused = [&]() -> Result<AggregatePtr> {
    return call.mismatch("an integer, a float, a decimal of up to 38 digits, a bool or a duration");
  };
  const bool sums = type.id() == arrow::Type::BOOL || expr::IsInteger(type) || expr::IsFloat(type) ||
                    expr::IsDuration(type);
  if (!sums) return refused();
  return DispatchFixed(
      type,
      [&]<typename T>(Lies<T>) -> Result<AggregatePtr> {
        if constexpr (std::is_same_v<T, Wide>) {
          return refused();
        } else if constexpr (std::is_floating_point_v<T>) {
          if (call.changes()) {
            return std::make_unique<SumOfFloats<T, FloatChanges>>(call, arrow::float64());
          }
          return std::make_unique<SumOfFloats<T, DoubleDouble>>(call, arrow::float64());
        } else {
          const auto result = expr::IsDuration(type) ? call.type() : arrow::int64();
          if (call.changes()) return std::make_unique<SumOfIntegers<T, Counted<IntegerSum>>>(call, result);
          return std::make_unique<SumOfIntegers<T, IntegerSum>>(call, result);
        }
      },
      refused);
}

}  // namespace frazil
