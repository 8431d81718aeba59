// sum: of integers in 128 bits, of decimals in 192, of floats as a double-double.
#include "aggregate/double_double.h"
#include "aggregate/exact_sum.h"
#include "aggregate/plain.h"
#include "expr/types.h"

namespace frazil {
namespace {

// T: how the values lie. The result is int64 or a duration.
template <typename T>
class SumOfIntegers : public PlainAggregate<SumOfIntegers<T>, IntegerSum> {
 public:
  using PlainAggregate<SumOfIntegers<T>, IntegerSum>::PlainAggregate;

  Status add(std::span<std::byte* const> accs, int32_t offset, const arrow::ArrayVector& inputs,
             const AggregateRows&, AggregateEffects*) const override {
    const Reader<T> values(*inputs[0]);
    ForEachRow(accs, inputs[0].get(),
               [&](int64_t i) { At<IntegerSum>(accs[static_cast<size_t>(i)], offset).add(values[i]); });
    return Status::OK();
  }

  bool valid(const IntegerSum&) const { return true; }

  Status combine(IntegerSum& into, const IntegerSum& from) const {
    return into.add(from) ? Status::OK() : this->damaged("a sum that is too large");
  }

  Result<std::shared_ptr<arrow::Array>> finish(std::span<const std::byte* const> accs, int32_t offset,
                                               arrow::MemoryPool* pool,
                                               AggregateEffects* effects) const override {
    return this->template finish_fixed<int64_t>(accs, offset, pool, effects,
                                                [&](const IntegerSum& state, auto& column) -> Status {
                                                  if (state.empty())
                                                    return column.append_null(), Status::OK();
                                                  if (state.value() < INT64_MIN || state.value() > INT64_MAX)
                                                    return overflow(state);
                                                  column.append(static_cast<int64_t>(state.value()));
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

class SumOfDecimals : public PlainAggregate<SumOfDecimals, DecimalSum> {
 public:
  using PlainAggregate::PlainAggregate;

  Status add(std::span<std::byte* const> accs, int32_t offset, const arrow::ArrayVector& inputs,
             const AggregateRows&, AggregateEffects*) const override {
    const Reader<Wide> values(*inputs[0]);
    ForEachRow(accs, inputs[0].get(),
               [&](int64_t i) { At<DecimalSum>(accs[static_cast<size_t>(i)], offset).add(values[i]); });
    return Status::OK();
  }

  bool valid(const DecimalSum& state) const {
    return !state.empty() || (state.low == 0 && state.middle == 0);
  }

  Status combine(DecimalSum& into, const DecimalSum& from) const {
    return into.add(from) ? Status::OK() : damaged("a sum that is too large");
  }

  Result<std::shared_ptr<arrow::Array>> finish(std::span<const std::byte* const> accs, int32_t offset,
                                               arrow::MemoryPool* pool,
                                               AggregateEffects* effects) const override {
    const int32_t scale = static_cast<const arrow::Decimal128Type&>(*result_type()).scale();
    return finish_fixed<Wide>(
        accs, offset, pool, effects, [&](const DecimalSum& state, auto& column) -> Status {
          if (state.empty()) return column.append_null(), Status::OK();
          const arrow::Decimal256 sum = state.value();
          if (!sum.FitsInPrecision(arrow::Decimal128Type::kMaxPrecision)) {
            return Error(ErrorKind::kUser, text() + ": the result " + sum.ToString(scale) + " is outside " +
                                               expr::TypeName(*result_type()) +
                                               "; cast the argument to a smaller scale or to float64");
          }
          column.append({state.low, static_cast<int64_t>(state.middle)});
          return Status::OK();
        });
  }
};

// T: float or double.
template <typename T>
class SumOfFloats : public PlainAggregate<SumOfFloats<T>, DoubleDouble> {
 public:
  using PlainAggregate<SumOfFloats<T>, DoubleDouble>::PlainAggregate;

  Status add(std::span<std::byte* const> accs, int32_t offset, const arrow::ArrayVector& inputs,
             const AggregateRows&, AggregateEffects*) const override {
    const Reader<T> values(*inputs[0]);
    ForEachRow(accs, inputs[0].get(), [&](int64_t i) {
      At<DoubleDouble>(accs[static_cast<size_t>(i)], offset).add(static_cast<double>(values[i]));
    });
    return Status::OK();
  }

  bool valid(const DoubleDouble& state) const { return state.valid(); }

  Status combine(DoubleDouble& into, const DoubleDouble& from) const {
    if (!from.empty()) into.add(from);
    return Status::OK();
  }

  Result<std::shared_ptr<arrow::Array>> finish(std::span<const std::byte* const> accs, int32_t offset,
                                               arrow::MemoryPool* pool,
                                               AggregateEffects* effects) const override {
    return this->template finish_fixed<double>(accs, offset, pool, effects,
                                               [](const DoubleDouble& state, auto& column) {
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
    return std::make_unique<SumOfDecimals>(call,
                                           arrow::decimal128(arrow::Decimal128Type::kMaxPrecision, scale));
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
          return std::make_unique<SumOfFloats<T>>(call, arrow::float64());
        } else {
          return std::make_unique<SumOfIntegers<T>>(call,
                                                    expr::IsDuration(type) ? call.type() : arrow::int64());
        }
      },
      refused);
}

}  // namespace frazil
