// variance, stddev: from n, the sum of x and the sum of x^2, subtracted exactly at the end. A square has 106
// bits: its two halves are added up apart, so that these sums are as exact as sums of doubles are.
#include <algorithm>
#include <array>

#include "aggregate/double_double.h"
#include "aggregate/float_changes.h"
#include "aggregate/plain.h"
#include "expr/types.h"

namespace frazil {
namespace {

constexpr int64_t kRowsMax = int64_t{1} << 53;  // counts that a double holds; damaged states may have more

// Sum: DoubleDouble, or FloatChanges if values are taken away again.
template <typename Sum>
struct VarianceState {
  int64_t count = 0;
  Sum sum;
  Sum squares;  // of the squares, rounded
  Sum rests;    // of what rounding them cut off
};

DoubleDouble Total(const DoubleDouble& sum) { return sum; }
DoubleDouble Total(const FloatChanges& sum) { return sum.total(); }

// A sum of doubles kept exactly as doubles that do not overlap, smallest first. Source: Shewchuk, "Adaptive
// precision floating-point arithmetic" (1997), GROW-EXPANSION.
class Expansion {
 public:
  void add(double x) {
    for (size_t i = 0; i < size_; ++i) x = DoubleDouble::TwoSum(x, parts_[i], &parts_[i]);
    parts_[size_++] = x;
  }
  void add_product(double a, double b) {
    const double product = a * b;
    add(std::fma(a, b, -product));
    add(product);
  }
  double value() const {
    double sum = 0;
    for (size_t i = 0; i < size_; ++i) sum += parts_[i];
    return sum;
  }

 private:
  std::array<double, 14> parts_;  // 2 for each of 7 products
  size_t size_ = 0;
};

// n * sum of x^2 - (sum of x)^2.
double ScaledVariance(const VarianceState<DoubleDouble>& state) {
  Expansion exact;
  const auto n = static_cast<double>(state.count);
  for (const double part : {state.squares.hi, state.squares.lo, state.rests.hi, state.rests.lo}) {
    exact.add_product(n, part);
  }
  const auto [hi, lo] = state.sum;
  exact.add_product(-hi, hi);
  exact.add_product(-2 * hi, lo);
  exact.add_product(-lo, lo);
  return exact.value();
}

template <typename T>
double AsDouble(T value, double) {
  return static_cast<double>(value);
}
double AsDouble(Wide value, double scale) { return static_cast<double>(value.value()) / scale; }

// What is added up of a value.
struct Parts {
  double x, square, rest;
};

Parts PartsOf(double x) {
  const double square = x * x;
  const double rest = std::fma(x, x, -square);
  return {x, square, std::isfinite(square) ? rest : 0};
}

template <typename T, typename Sum>
class Variance : public PlainAggregate<Variance<T, Sum>, VarianceState<Sum>> {
 public:
  using State = VarianceState<Sum>;

  Variance(const AggregateCall& call, int64_t ddof, bool root, double scale)
      : PlainAggregate<Variance<T, Sum>, State>(call, arrow::float64()),
        ddof_(ddof),
        root_(root),
        scale_(scale) {}

  Status add(std::span<std::byte* const> accs, int32_t offset, const arrow::ArrayVector& inputs,
             const AggregateRows&, AggregateEffects*) const override {
    const Reader<T> values(*inputs[0]);
    ForEachRow(accs, inputs[0].get(), [&](int64_t i) {
      auto& state = At<State>(accs[static_cast<size_t>(i)], offset);
      const Parts parts = PartsOf(AsDouble(values[i], scale_));
      ++state.count;
      state.sum.add(parts.x);
      state.squares.add(parts.square);
      state.rests.add(parts.rest);
    });
    return Status::OK();
  }

  Status retract(std::span<std::byte* const> accs, int32_t offset, const arrow::ArrayVector& inputs,
                 AggregateEffects* effects) const override {
    if constexpr (std::is_same_v<Sum, FloatChanges>) {
      const Reader<T> values(*inputs[0]);
      return TryEachRow(accs, inputs[0].get(), effects, [&](int64_t i) {
        auto& state = At<State>(accs[static_cast<size_t>(i)], offset);
        const Parts parts = PartsOf(AsDouble(values[i], scale_));
        const bool there =
            state.sum.take(parts.x) && state.squares.take(parts.square) && state.rests.take(parts.rest);
        --state.count;
        return there ? Status::OK() : this->absent();
      });
    } else {
      return Aggregate::retract(accs, offset, inputs, effects);
    }
  }

  bool valid(const State& state) const {
    if (state.count < 0 || state.count > kRowsMax) return false;
    for (const Sum& sum : {state.sum, state.squares, state.rests}) {
      if (!sum.valid() || sum.empty() != (state.count == 0)) return false;
      if constexpr (std::is_same_v<Sum, FloatChanges>) {
        if (sum.count() != state.count) return false;
      }
    }
    return true;
  }

  Status combine(State& into, const State& from) const {
    if (from.count == 0) return Status::OK();
    into.count += from.count;
    into.sum.add(from.sum);
    into.squares.add(from.squares);
    into.rests.add(from.rests);
    return into.count <= kRowsMax ? Status::OK() : this->damaged("a count that is too large");
  }

  Result<std::shared_ptr<arrow::Array>> finish(std::span<const std::byte* const> accs, int32_t offset,
                                               arrow::MemoryPool* pool,
                                               AggregateEffects* effects) const override {
    return this->template finish_fixed<double>(
        accs, offset, pool, effects, [&](const State& state, auto& column) {
          if (state.count <= ddof_) {
            column.append_null();
          } else {
            const double found =
                variance({state.count, Total(state.sum), Total(state.squares), Total(state.rests)});
            column.append(root_ ? std::sqrt(found) : found);
          }
          return Status::OK();
        });
  }

 private:
  double variance(const VarianceState<DoubleDouble>& state) const {
    const auto n = static_cast<double>(state.count);
    if (!std::isfinite(state.sum.hi)) return std::numeric_limits<double>::quiet_NaN();
    if (!std::isfinite(state.squares.hi)) return std::numeric_limits<double>::infinity();
    // A sum of 2^52 values may have a square that is too large while the squares are not.
    const double scaled = ScaledVariance(state);
    if (!std::isfinite(scaled)) return std::numeric_limits<double>::infinity();
    return std::max(scaled, 0.0) / (n * (n - static_cast<double>(ddof_)));
  }

  const int64_t ddof_;
  const bool root_;
  const double scale_;  // of decimals, a power of ten
};

Result<AggregatePtr> Make(AggregateCall& call, bool root) {
  const arrow::DataType& type = *call.type();
  FZ_ASSIGN(const int64_t ddof, call.take_int("ddof", 1, 0, 1));
  const auto refused = [&]() -> Result<AggregatePtr> {
    return call.mismatch("an integer, a float, or a decimal of up to 38 digits");
  };
  if (!expr::IsNumber(type)) return refused();
  return DispatchFixed(
      type,
      [&]<typename T>(Lies<T>) -> Result<AggregatePtr> {
        double scale = 1;
        if constexpr (std::is_same_v<T, Wide>) {
          scale = std::pow(10.0, static_cast<const arrow::Decimal128Type&>(type).scale());
        }
        if (call.changes()) return std::make_unique<Variance<T, FloatChanges>>(call, ddof, root, scale);
        return std::make_unique<Variance<T, DoubleDouble>>(call, ddof, root, scale);
      },
      refused);
}

}  // namespace

Result<AggregatePtr> MakeVariance(AggregateCall& call) { return Make(call, false); }
Result<AggregatePtr> MakeStddev(AggregateCall& call) { return Make(call, true); }

}  // namespace frazil
