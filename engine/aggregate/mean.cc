// mean: the sum as of `sum`, and how many; divided and rounded once at the end.
#include "aggregate/double_double.h"
#include "aggregate/exact_sum.h"
#include "aggregate/float_changes.h"
#include "aggregate/plain.h"
#include "expr/types.h"

namespace frazil {
namespace {

constexpr int32_t kMoreDigits = 4;  // of the mean of decimals

// What every mean does. Function gives result(state, column) -> Status for states with values. T: how values
// lie, Number: as what they are added; Out: how results lie.
template <typename Function, typename T, typename Number, typename State, typename Out>
class Mean : public PlainAggregate<Function, State> {
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

  bool valid(const State& state) const { return state.valid(); }

  Status combine(State& into, const State& from) const {
    return into.add(from) ? Status::OK() : this->damaged("a sum or count that is too large");
  }

  Result<std::shared_ptr<arrow::Array>> finish(std::span<const std::byte* const> accs, int32_t offset,
                                               arrow::MemoryPool* pool,
                                               AggregateEffects* effects) const override {
    return this->template finish_fixed<Out>(
        accs, offset, pool, effects, [&](const State& state, auto& column) -> Status {
          if (state.empty()) return column.append_null(), Status::OK();
          return static_cast<const Function&>(*this).result(state, column);
        });
  }
};

template <typename T, typename State>
class MeanOfFloats : public Mean<MeanOfFloats<T, State>, T, double, State, double> {
 public:
  using Mean<MeanOfFloats<T, State>, T, double, State, double>::Mean;
  Status result(const State& state, FixedColumn<double>& column) const {
    const auto count = static_cast<double>(state.count());
    if constexpr (std::is_same_v<State, FloatChanges>) {
      column.append(state.divided_by(count));
    } else {
      column.append(state.sum.divided_by(count));
    }
    return Status::OK();
  }
};

template <typename T>
class MeanOfIntegers : public Mean<MeanOfIntegers<T>, T, Int128, Counted<IntegerSum>, double> {
 public:
  using Mean<MeanOfIntegers<T>, T, Int128, Counted<IntegerSum>, double>::Mean;
  Status result(const Counted<IntegerSum>& state, FixedColumn<double>& column) const {
    DoubleDouble sum;
    sum.hi = static_cast<double>(state.sum.value());
    sum.lo = static_cast<double>(state.sum.value() - static_cast<Int128>(sum.hi));
    column.append(sum.divided_by(static_cast<double>(state.count())));
    return Status::OK();
  }
};

class MeanOfDurations : public Mean<MeanOfDurations, int64_t, Int128, Counted<IntegerSum>, int64_t> {
 public:
  using Mean::Mean;
  Status result(const Counted<IntegerSum>& state, FixedColumn<int64_t>& column) const {
    const Int128 mean = RoundedQuotient(state.sum.value(), state.count());
    if (mean < INT64_MIN || mean > INT64_MAX) return damaged("a mean that cannot be");
    column.append(static_cast<int64_t>(mean));
    return Status::OK();
  }
};

class MeanOfDecimals : public Mean<MeanOfDecimals, Wide, Wide, Counted<DecimalSum>, Wide> {
 public:
  MeanOfDecimals(const AggregateCall& call, const std::shared_ptr<arrow::DataType>& result,
                 int32_t more_digits)
      : Mean(call, result), more_digits_(more_digits) {}

  Status result(const Counted<DecimalSum>& state, FixedColumn<Wide>& column) const {
    const arrow::BasicDecimal256 sum = state.sum.value().IncreaseScaleBy(more_digits_);
    arrow::BasicDecimal256 quotient, rest;
    if (sum.Divide(arrow::BasicDecimal256(state.count()), &quotient, &rest) !=
        arrow::DecimalStatus::kSuccess) {
      return damaged("a mean that cannot be");
    }
    const bool odd = (quotient.little_endian_array()[0] & 1) != 0;
    const auto twice = arrow::BasicDecimal256::Abs(rest) + arrow::BasicDecimal256::Abs(rest);
    const arrow::BasicDecimal256 count(state.count());
    if (twice > count || (twice == count && odd)) quotient += arrow::BasicDecimal256(rest < 0 ? -1 : 1);
    const arrow::Decimal256 mean(quotient);
    if (!mean.FitsInPrecision(arrow::Decimal128Type::kMaxPrecision)) {
      const int32_t scale = static_cast<const arrow::Decimal128Type&>(*result_type()).scale();
      return Error(ErrorKind::kUser, text() + ": the result " + mean.ToString(scale) + " is outside " +
                                         expr::TypeName(*result_type()) +
                                         "; cast the argument to a smaller scale or to float64");
    }
    const auto& words = mean.little_endian_array();
    column.append({words[0], static_cast<int64_t>(words[1])});
    return Status::OK();
  }

 private:
  const int32_t more_digits_;
};

}  // namespace

Result<AggregatePtr> MakeMean(AggregateCall& call) {
  const arrow::DataType& type = *call.type();
  if (type.id() == arrow::Type::DECIMAL128) {
    constexpr int32_t kDigits = arrow::Decimal128Type::kMaxPrecision;
    const int32_t scale = static_cast<const arrow::Decimal128Type&>(type).scale();
    const int32_t more = std::min(kMoreDigits, kDigits - scale);
    return std::make_unique<MeanOfDecimals>(call, arrow::decimal128(kDigits, scale + more), more);
  }
  if (expr::IsDuration(type)) return std::make_unique<MeanOfDurations>(call, call.type());
  const auto refused = [&]() -> Result<AggregatePtr> {
    return call.mismatch("an integer, a float, a decimal of up to 38 digits, a bool or a duration");
  };
  if (type.id() != arrow::Type::BOOL && !expr::IsInteger(type) && !expr::IsFloat(type)) return refused();
  return DispatchFixed(
      type,
      [&]<typename T>(Lies<T>) -> Result<AggregatePtr> {
        if constexpr (std::is_same_v<T, Wide>) {
          return refused();
        } else if constexpr (std::is_floating_point_v<T>) {
          if (call.changes()) {
            return std::make_unique<MeanOfFloats<T, FloatChanges>>(call, arrow::float64());
          }
          return std::make_unique<MeanOfFloats<T, Counted<DoubleDouble>>>(call, arrow::float64());
        } else {
          return std::make_unique<MeanOfIntegers<T>>(call, arrow::float64());
        }
      },
      refused);
}

}  // namespace frazil
