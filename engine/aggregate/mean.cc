// mean: the sum as of `sum`, and how many; divided and rounded once at the end.
#include "aggregate/double_double.h"
#include "aggregate/exact_sum.h"
#include "aggregate/plain.h"
#include "expr/types.h"

namespace frazil {
namespace {

constexpr int32_t kMoreDigits = 4;              // of the mean of decimals
constexpr int64_t kRowsMax = int64_t{1} << 56;  // no more can have been added; damaged states may say so

template <typename Sum>
struct MeanState {
  Sum sum;
  int64_t count = 0;
};

// What every mean does. Function gives result(state, column) -> Status for states with values. T: how values
// lie; Out: how results lie.
template <typename Function, typename T, typename Sum, typename Out>
class Mean : public PlainAggregate<Function, MeanState<Sum>> {
 public:
  using State = MeanState<Sum>;
  using PlainAggregate<Function, State>::PlainAggregate;

  Status add(std::span<std::byte* const> accs, int32_t offset, const arrow::ArrayVector& inputs,
             const AggregateRows&, AggregateEffects*) const override {
    const Reader<T> values(*inputs[0]);
    ForEachRow(accs, inputs[0].get(), [&](int64_t i) {
      auto& state = At<State>(accs[static_cast<size_t>(i)], offset);
      state.sum.add(values[i]);
      ++state.count;
    });
    return Status::OK();
  }

  bool valid(const State& state) const {
    if (state.count < 0 || state.count > kRowsMax || state.sum.empty() != (state.count == 0)) return false;
    if constexpr (std::is_same_v<Sum, DoubleDouble>) return state.sum.valid();
    if constexpr (std::is_same_v<Sum, IntegerSum>) {
      const Int128 most = static_cast<Int128>(state.count) << 64;
      return state.count == 0 || (state.sum.value() >= -most && state.sum.value() <= most);
    }
    return true;
  }

  Status combine(State& into, const State& from) const {
    if (from.count == 0) return Status::OK();
    into.count += from.count;
    bool fits = into.count <= kRowsMax;
    if constexpr (std::is_same_v<Sum, DoubleDouble>) {
      into.sum.add(from.sum);
    } else {
      fits = into.sum.add(from.sum) && fits;
    }
    return fits ? Status::OK() : this->damaged("a sum or count that is too large");
  }

  Result<std::shared_ptr<arrow::Array>> finish(std::span<const std::byte* const> accs, int32_t offset,
                                               arrow::MemoryPool* pool,
                                               AggregateEffects* effects) const override {
    return this->template finish_fixed<Out>(
        accs, offset, pool, effects, [&](const State& state, auto& column) -> Status {
          if (state.count == 0) return column.append_null(), Status::OK();
          return static_cast<const Function&>(*this).result(state, column);
        });
  }
};

template <typename T>
class MeanOfFloats : public Mean<MeanOfFloats<T>, T, DoubleDouble, double> {
 public:
  using Mean<MeanOfFloats<T>, T, DoubleDouble, double>::Mean;
  Status result(const MeanState<DoubleDouble>& state, FixedColumn<double>& column) const {
    column.append(state.sum.divided_by(static_cast<double>(state.count)));
    return Status::OK();
  }
};

template <typename T>
class MeanOfIntegers : public Mean<MeanOfIntegers<T>, T, IntegerSum, double> {
 public:
  using Mean<MeanOfIntegers<T>, T, IntegerSum, double>::Mean;
  Status result(const MeanState<IntegerSum>& state, FixedColumn<double>& column) const {
    DoubleDouble sum;
    sum.hi = static_cast<double>(state.sum.value());
    sum.lo = static_cast<double>(state.sum.value() - static_cast<Int128>(sum.hi));
    column.append(sum.divided_by(static_cast<double>(state.count)));
    return Status::OK();
  }
};

class MeanOfDurations : public Mean<MeanOfDurations, int64_t, IntegerSum, int64_t> {
 public:
  using Mean::Mean;
  Status result(const MeanState<IntegerSum>& state, FixedColumn<int64_t>& column) const {
    const Int128 mean = RoundedQuotient(state.sum.value(), state.count);
    if (mean < INT64_MIN || mean > INT64_MAX) return damaged("a mean that cannot be");
    column.append(static_cast<int64_t>(mean));
    return Status::OK();
  }
};

class MeanOfDecimals : public Mean<MeanOfDecimals, Wide, DecimalSum, Wide> {
 public:
  MeanOfDecimals(const AggregateCall& call, const std::shared_ptr<arrow::DataType>& result,
                 int32_t more_digits)
      : Mean(call, result), more_digits_(more_digits) {}

  Status result(const MeanState<DecimalSum>& state, FixedColumn<Wide>& column) const {
    const arrow::BasicDecimal256 sum = state.sum.value().IncreaseScaleBy(more_digits_);
    arrow::BasicDecimal256 quotient, rest;
    if (sum.Divide(arrow::BasicDecimal256(state.count), &quotient, &rest) != arrow::DecimalStatus::kSuccess) {
      return damaged("a mean that cannot be");
    }
    const bool odd = (quotient.little_endian_array()[0] & 1) != 0;
    const auto twice = arrow::BasicDecimal256::Abs(rest) + arrow::BasicDecimal256::Abs(rest);
    const arrow::BasicDecimal256 count(state.count);
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
          return std::make_unique<MeanOfFloats<T>>(call, arrow::float64());
        } else {
          return std::make_unique<MeanOfIntegers<T>>(call, arrow::float64());
        }
      },
      refused);
}

}  // namespace frazil
