// quantile: DDSketch. Values are counted in bins of equal relative width; when the bins of one sign span more
// than max_bins, the lowest ones (nearest zero) are one. Which bins are collapsed depends on the largest
// value alone, so the sketch is a function of the values, not of their order. Source: Masson, Rim, Lee,
// "DDSketch: a fast and fully-mergeable quantile sketch with relative-error guarantees" (2019).
#include <algorithm>
#include <cmath>
#include <limits>

#include "aggregate/boxed.h"
#include "aggregate/log_bins.h"
#include "expr/types.h"

namespace frazil {
namespace {

constexpr int64_t kRowsMax = int64_t{1} << 56;  // no more can have been added; damaged states may say so

// Counts of the bins of one sign, by number.
struct Bins {
  std::vector<int32_t> numbers;
  std::vector<int64_t> counts;

  void add(int32_t number, int64_t rows, int32_t max_bins) {
    if (!numbers.empty()) number = std::max(number, lowest(numbers.back(), max_bins));
    const auto at = std::ranges::lower_bound(numbers, number) - numbers.begin();
    if (static_cast<size_t>(at) < numbers.size() && numbers[static_cast<size_t>(at)] == number) {
      counts[static_cast<size_t>(at)] += rows;
      return;
    }
    numbers.insert(numbers.begin() + at, number);
    counts.insert(counts.begin() + at, rows);
    if (numbers.back() == number) collapse(lowest(number, max_bins));
  }

  int64_t heap_bytes() const {
    return static_cast<int64_t>(numbers.capacity() * sizeof(int32_t) + counts.capacity() * sizeof(int64_t));
  }

 private:
  static int32_t lowest(int32_t last, int32_t max_bins) { return last - max_bins + 1; }

  void collapse(int32_t lowest) {
    if (numbers.front() >= lowest) return;
    const auto kept = std::ranges::lower_bound(numbers, lowest) - numbers.begin();
    int64_t rows = 0;
    for (auto i = kept; i-- > 0;) rows += counts[static_cast<size_t>(i)];
    if (numbers[static_cast<size_t>(kept)] == lowest) {
      counts[static_cast<size_t>(kept)] += rows;
      erase(kept);
    } else {
      numbers[static_cast<size_t>(kept) - 1] = lowest;
      counts[static_cast<size_t>(kept) - 1] = rows;
      erase(kept - 1);
    }
  }
  void erase(int64_t end) {
    numbers.erase(numbers.begin(), numbers.begin() + end);
    counts.erase(counts.begin(), counts.begin() + end);
  }
};

struct Sketch {
  Bins positive;
  Bins negative;  // of the absolute values
  int64_t zeros = 0;
  int64_t infinite[2] = {0, 0};  // below, above
  int64_t nans = 0;
  int64_t count = 0;                                     // of all
  double min = std::numeric_limits<double>::infinity();  // of the finite ones
  double max = -std::numeric_limits<double>::infinity();

  int64_t heap_bytes() const { return positive.heap_bytes() + negative.heap_bytes(); }
};

struct QuantileOptions {
  std::vector<double> q;
  bool list;
  double accuracy;
  int32_t max_bins;
};

double AsDouble(Wide value, double scale) { return static_cast<double>(value.value()) / scale; }
template <typename T>
double AsDouble(T value, double) {
  return static_cast<double>(value);
}

// T: how values lie; Out: double, or int64_t for durations.
template <typename T, typename Out>
class Quantile : public BoxedAggregate<Quantile<T, Out>, Sketch> {
 public:
  using State = Boxed<Sketch>;

  Quantile(const AggregateCall& call, std::shared_ptr<arrow::DataType> item, QuantileOptions options,
           double scale)
      : BoxedAggregate<Quantile<T, Out>, Sketch>(call, options.list ? arrow::list(item) : item),
        item_(std::move(item)),
        options_(std::move(options)),
        scale_(scale),
        bins_(options_.accuracy) {}

  Status add(std::span<std::byte* const> accs, int32_t offset, const arrow::ArrayVector& inputs,
             const AggregateRows&, AggregateEffects* effects) const override {
    const Reader<T> values(*inputs[0]);
    const bool nulls = inputs[0]->null_count() != 0;
    return this->each(accs, offset, effects, [&](State& state, int64_t i) {
      if (!nulls || inputs[0]->IsValid(i)) count(this->Open(state), AsDouble(values[i], scale_));
      return Status::OK();
    });
  }

  void write(const State& state, SavedWriter& writer) const {
    writer.put(options_.accuracy);
    if (state.box == nullptr) return writer.put(int64_t{0});
    const Sketch& sketch = *state.box;
    writer.put(sketch.count);
    for (int64_t rows : {sketch.zeros, sketch.infinite[0], sketch.infinite[1], sketch.nans}) writer.put(rows);
    writer.put(sketch.min);
    writer.put(sketch.max);
    for (const Bins* bins : {&sketch.positive, &sketch.negative}) {
      writer.put(static_cast<uint32_t>(bins->numbers.size()));
      for (size_t i = 0; i < bins->numbers.size(); ++i) {
        writer.put(bins->numbers[i]);
        writer.put(bins->counts[i]);
      }
    }
  }

  Status read(State& into, SavedReader& reader) const {
    double accuracy = 0;
    if (!reader.take(&accuracy) || accuracy != options_.accuracy) return this->damaged("another accuracy");
    Sketch from;
    if (!reader.take(&from.count) || from.count < 0 || from.count > kRowsMax) return this->damaged();
    if (from.count == 0) return Status::OK();
    int64_t rows = 0;
    for (int64_t* part : {&from.zeros, &from.infinite[0], &from.infinite[1], &from.nans}) {
      if (!reader.take(part) || *part < 0 || *part > from.count) return this->damaged();
      rows += *part;
    }
    if (!reader.take(&from.min) || !reader.take(&from.max)) return this->damaged();
    for (Bins* bins : {&from.positive, &from.negative}) {
      if (!read_bins(*bins, reader, from.count, &rows)) return this->damaged();
    }
    const bool finite = from.count != from.infinite[0] + from.infinite[1] + from.nans;
    const bool bounds = finite ? std::isfinite(from.min) && std::isfinite(from.max) && from.min <= from.max
                               : from.min > from.max;
    if (rows != from.count || !bounds) return this->damaged();
    Sketch& sketch = this->Open(into);
    merge_sketch(sketch, from);
    return sketch.count <= kRowsMax ? Status::OK() : this->damaged();
  }

  Result<std::shared_ptr<arrow::Array>> finish(std::span<const std::byte* const> accs, int32_t offset,
                                               arrow::MemoryPool* pool,
                                               AggregateEffects* effects) const override {
    FixedColumn<Out> items(item_, pool);
    FZ_TRY(items.reserve(static_cast<int64_t>(accs.size() * options_.q.size())));
    ListColumn lists(pool);
    int64_t length = 0;
    FZ_TRY(this->each_result(accs, offset, effects, [&](const State& state) -> Status {
      if (options_.list) FZ_TRY(state.box == nullptr ? lists.null(length) : lists.begin(length));
      if (state.box == nullptr) {
        if (!options_.list) items.append_null();
        return Status::OK();
      }
      for (double q : options_.q) items.append(result(at(*state.box, q)));
      length += static_cast<int64_t>(options_.q.size());
      return Status::OK();
    }));
    FZ_ASSIGN(auto built, items.finish());
    if (!options_.list) return built;
    return lists.finish(this->result_type(), built);
  }

 private:
  void count(Sketch& sketch, double x) const {
    ++sketch.count;
    if (!std::isfinite(x)) {
      ++(std::isnan(x) ? sketch.nans : sketch.infinite[x > 0 ? 1 : 0]);
      return;
    }
    sketch.min = std::min(sketch.min, x + 0.0);
    sketch.max = std::max(sketch.max, x + 0.0);
    if (std::abs(x) < std::numeric_limits<double>::min()) {
      ++sketch.zeros;
    } else {
      (x > 0 ? sketch.positive : sketch.negative).add(bins_.bin(std::abs(x)), 1, options_.max_bins);
    }
  }

  bool read_bins(Bins& bins, SavedReader& reader, int64_t count, int64_t* rows) const {
    uint32_t size = 0;
    if (!reader.take(&size) || size > static_cast<uint32_t>(options_.max_bins)) return false;
    for (uint32_t i = 0; i < size; ++i) {
      int32_t number = 0;
      int64_t of_bin = 0;
      if (!reader.take(&number) || !reader.take(&of_bin)) return false;
      if (number < bins_.first() || number > bins_.last() || of_bin < 1 || of_bin > count) return false;
      if (i != 0 && number <= bins.numbers.back()) return false;
      bins.numbers.push_back(number);
      bins.counts.push_back(of_bin);
      *rows += of_bin;
      if (*rows > count) return false;
    }
    return true;
  }

  void merge_sketch(Sketch& into, const Sketch& from) const {
    into.count += from.count;
    into.zeros += from.zeros;
    into.infinite[0] += from.infinite[0];
    into.infinite[1] += from.infinite[1];
    into.nans += from.nans;
    into.min = std::min(into.min, from.min);
    into.max = std::max(into.max, from.max);
    for (const auto& [to, of] :
         {std::pair(&into.positive, &from.positive), std::pair(&into.negative, &from.negative)}) {
      // Backwards, so that what is collapsed is collapsed at once.
      for (size_t i = of->numbers.size(); i-- > 0;) to->add(of->numbers[i], of->counts[i], options_.max_bins);
    }
  }

  // The value of rank floor(q * (count - 1)) from 0; the smallest and the largest finite ones are exact.
  double at(const Sketch& sketch, double q) const {
    auto rank = static_cast<int64_t>(std::floor(q * static_cast<double>(sketch.count - 1)));
    const auto within = [&](int64_t rows) {
      rank -= rows;
      return rank < 0;
    };
    const auto bounded = [&](double value) { return std::clamp(value, sketch.min, sketch.max); };
    if (within(sketch.infinite[0])) return -std::numeric_limits<double>::infinity();
    const int64_t finite = sketch.count - sketch.infinite[0] - sketch.infinite[1] - sketch.nans;
    if (finite != 0 && rank == 0) return sketch.min;
    if (finite != 0 && rank == finite - 1) return sketch.max;
    for (size_t i = sketch.negative.numbers.size(); i-- > 0;) {
      if (within(sketch.negative.counts[i])) return bounded(-bins_.middle(sketch.negative.numbers[i]));
    }
    if (within(sketch.zeros)) return bounded(0);
    for (size_t i = 0; i < sketch.positive.numbers.size(); ++i) {
      if (within(sketch.positive.counts[i])) return bounded(bins_.middle(sketch.positive.numbers[i]));
    }
    if (within(sketch.infinite[1])) return std::numeric_limits<double>::infinity();
    return std::numeric_limits<double>::quiet_NaN();
  }

  static Out result(double value) {
    if constexpr (std::is_same_v<Out, double>) {
      return value;
    } else {
      return value >= 0x1p63 ? INT64_MAX : static_cast<int64_t>(std::nearbyint(value));
    }
  }

  const std::shared_ptr<arrow::DataType> item_;
  const QuantileOptions options_;
  const double scale_;  // of decimals, a power of ten
  const LogBins bins_;
};

Result<QuantileOptions> TakeOptions(AggregateCall& call) {
  QuantileOptions options;
  const nlohmann::json q = call.take("q");
  options.list = q.is_array();
  constexpr const char* kExpected = "expected a number from 0 to 1, or a list of them, got ";
  for (const nlohmann::json& one : options.list ? q : nlohmann::json::array({q})) {
    if (!one.is_number() || !(one.get<double>() >= 0 && one.get<double>() <= 1)) {
      return call.refused("q", kExpected + q.dump());
    }
    options.q.push_back(one.get<double>());
  }
  if (options.q.empty() || options.q.size() > static_cast<size_t>(kQuantiles)) {
    return call.refused("q", "expected 1 to " + std::to_string(kQuantiles) + " numbers, got " + q.dump());
  }
  FZ_ASSIGN(options.accuracy, call.take_number("accuracy", 0.01, 1e-4, 0.5));
  FZ_ASSIGN(const int64_t max_bins, call.take_int("max_bins", 2048, 64, 65'536));
  options.max_bins = static_cast<int32_t>(max_bins);
  return options;
}

}  // namespace

Result<AggregatePtr> MakeQuantile(AggregateCall& call) {
  const arrow::DataType& type = *call.type();
  const auto refused = [&]() -> Result<AggregatePtr> {
    return call.mismatch("an integer, a float, a decimal of up to 38 digits, or a duration");
  };
  if (!expr::IsNumber(type) && !expr::IsDuration(type)) return refused();
  FZ_ASSIGN(QuantileOptions options, TakeOptions(call));
  if (expr::IsDuration(type)) {
    return std::make_unique<Quantile<int64_t, int64_t>>(call, call.type(), std::move(options), 1);
  }
  return DispatchFixed(
      type,
      [&]<typename T>(Lies<T>) -> Result<AggregatePtr> {
        double scale = 1;
        if constexpr (std::is_same_v<T, Wide>) {
          scale = std::pow(10.0, static_cast<const arrow::Decimal128Type&>(type).scale());
        }
        return std::make_unique<Quantile<T, double>>(call, arrow::float64(), std::move(options), scale);
      },
      refused);
}

}  // namespace frazil
