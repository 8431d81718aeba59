// count_distinct, collect_set, most_common: the different values of a group, each exactly.
#include <algorithm>
#include <numeric>

#include "aggregate/boxed.h"
#include "aggregate/value_table.h"

namespace frazil {
namespace {

struct Distinct {
  ValueTable values;
  std::vector<int64_t> counts;  // of each value; only where they are asked for
  int64_t heap_bytes() const {
    return values.heap_bytes() + static_cast<int64_t>(counts.capacity() * sizeof(int64_t));
  }
};

constexpr int64_t kRowsMax = int64_t{1} << 56;  // no more can have been added; damaged states may say so

// Keeps the values; Function gives finish.
template <typename Function, bool kCounts>
class KeepDistinct : public BoxedAggregate<Function, Distinct> {
 public:
  using State = Boxed<Distinct>;

  KeepDistinct(const AggregateCall& call, std::shared_ptr<arrow::DataType> result, ValueType type,
               int64_t max_bytes, const char* advice)
      : BoxedAggregate<Function, Distinct>(call, std::move(result)),
        type_(std::move(type)),
        max_bytes_(max_bytes),
        advice_(advice) {}

  Status add(std::span<std::byte* const> accs, int32_t offset, const arrow::ArrayVector& inputs,
             const AggregateRows&, AggregateEffects* effects) const override {
    ValueReader values(type_, *inputs[0], true);
    return this->each(accs, offset, effects, [&](State& state, int64_t i) -> Status {
      return values.is_null(i) ? Status::OK() : count(this->Open(state), values[i], 1);
    });
  }

  void write(const State& state, SavedWriter& writer) const {
    writer.put(state.box == nullptr ? uint32_t{0} : state.box->values.size());
    for (uint32_t i = 0; state.box != nullptr && i < state.box->values.size(); ++i) {
      if constexpr (kCounts) writer.put(state.box->counts[i]);
      writer.put_value(type_, state.box->values.view(type_, i));
    }
  }

  Status read(State& into, SavedReader& reader) const {
    uint32_t size = 0;
    if (!reader.take(&size)) return this->damaged();
    for (uint32_t i = 0; i < size; ++i) {
      int64_t rows = 1;
      std::string_view value;
      if (kCounts && (!reader.take(&rows) || rows < 1 || rows > kRowsMax)) return this->damaged();
      if (!reader.take_value(type_, &value)) return this->damaged();
      FZ_TRY(count(this->Open(into), value, rows));
    }
    return Status::OK();
  }

 protected:
  const ValueType& type() const { return type_; }

 private:
  Status count(Distinct& distinct, std::string_view value, int64_t rows) const {
    const auto [number, is_new] = distinct.values.insert(type_, value);
    if constexpr (kCounts) {
      if (is_new) distinct.counts.push_back(0);
      distinct.counts[number] += rows;
      if (distinct.counts[number] > kRowsMax) return this->damaged();
    }
    if (is_new && distinct.values.counted_bytes() > max_bytes_) return this->over(max_bytes_, advice_);
    return Status::OK();
  }

  const ValueType type_;
  const int64_t max_bytes_;
  const char* const advice_;
};

class CountDistinct : public KeepDistinct<CountDistinct, false> {
 public:
  using KeepDistinct::KeepDistinct;
  bool result_nullable() const override { return false; }

  Result<std::shared_ptr<arrow::Array>> finish(std::span<const std::byte* const> accs, int32_t offset,
                                               arrow::MemoryPool* pool, AggregateEffects*) const override {
    FixedColumn<int64_t> column(result_type(), pool);
    FZ_TRY(column.reserve(static_cast<int64_t>(accs.size())));
    for (const std::byte* acc : accs) {
      const Distinct* distinct = At<State>(acc, offset).box;
      column.append(distinct == nullptr ? 0 : distinct->values.size());
    }
    return column.finish();
  }
};

class CollectSet : public KeepDistinct<CollectSet, false> {
 public:
  using KeepDistinct::KeepDistinct;

  Result<std::shared_ptr<arrow::Array>> finish(std::span<const std::byte* const> accs, int32_t offset,
                                               arrow::MemoryPool* pool,
                                               AggregateEffects* effects) const override {
    ListColumn lists(pool);
    ValueBuilder items(type(), pool);
    FZ_TRY(each_result(accs, offset, effects, [&](const State& state) -> Status {
      if (state.box == nullptr) return lists.null(items.length());
      FZ_TRY(lists.begin(items.length()));
      const ValueTable& values = state.box->values;
      for (uint32_t number : values.sorted(type())) FZ_TRY(items.append(values.view(type(), number)));
      return Status::OK();
    }));
    FZ_ASSIGN(auto built, items.finish());
    return lists.finish(result_type(), built);
  }
};

class MostCommon : public KeepDistinct<MostCommon, true> {
 public:
  MostCommon(const AggregateCall& call, std::shared_ptr<arrow::DataType> result, ValueType type,
             int64_t max_bytes, int64_t k)
      : KeepDistinct(call, std::move(result), std::move(type), max_bytes, ""), k_(k) {}

  Result<std::shared_ptr<arrow::Array>> finish(std::span<const std::byte* const> accs, int32_t offset,
                                               arrow::MemoryPool* pool,
                                               AggregateEffects* effects) const override {
    ListColumn lists(pool);
    ValueBuilder values(type(), pool);
    FixedColumn<int64_t> counts(arrow::int64(), pool);
    FZ_TRY(each_result(accs, offset, effects, [&](const State& state) -> Status {
      if (state.box == nullptr) return lists.null(values.length());
      FZ_TRY(lists.begin(values.length()));
      const auto best = most(*state.box);
      FZ_TRY(counts.reserve(static_cast<int64_t>(best.size())));
      for (uint32_t number : best) {
        FZ_TRY(values.append(state.box->values.view(type(), number)));
        counts.append(state.box->counts[number]);
      }
      return Status::OK();
    }));
    FZ_ASSIGN(auto built, values.finish());
    FZ_ASSIGN(auto counted, counts.finish());
    const auto& item = static_cast<const arrow::ListType&>(*result_type()).value_type();
    FZ_ASSIGN(auto pairs, arrow::StructArray::Make({built, counted}, item->fields()));
    return lists.finish(result_type(), pairs);
  }

 private:
  // The numbers of the k values with the highest counts, the smaller value first among equals.
  std::vector<uint32_t> most(const Distinct& distinct) const {
    std::vector<uint32_t> numbers(distinct.values.size());
    std::iota(numbers.begin(), numbers.end(), 0);
    const auto end = numbers.begin() + std::min<int64_t>(k_, distinct.values.size());
    std::partial_sort(numbers.begin(), end, numbers.end(), [&](uint32_t a, uint32_t b) {
      if (distinct.counts[a] != distinct.counts[b]) return distinct.counts[a] > distinct.counts[b];
      return type().compare(distinct.values.view(type(), a), distinct.values.view(type(), b)) < 0;
    });
    numbers.erase(end, numbers.end());
    return numbers;
  }

  const int64_t k_;
};

}  // namespace

Result<AggregatePtr> MakeCountDistinct(AggregateCall& call) {
  auto type = ValueType::Of(call.type());
  if (!type) return call.mismatch(kAnyValueExpected);
  FZ_ASSIGN(const int64_t max_bytes, TakeMaxBytes(call));
  return std::make_unique<CountDistinct>(call, arrow::int64(), *std::move(type), max_bytes,
                                         ", or use approx_count_distinct, whose size is fixed");
}

Result<AggregatePtr> MakeCollectSet(AggregateCall& call) {
  auto type = ValueType::Of(call.type());
  if (!type) return call.mismatch(kAnyValueExpected);
  FZ_ASSIGN(const int64_t max_bytes, TakeMaxBytes(call));
  return std::make_unique<CollectSet>(call, arrow::list(call.type()), *std::move(type), max_bytes, "");
}

Result<AggregatePtr> MakeMostCommon(AggregateCall& call) {
  auto type = ValueType::Of(call.type());
  if (!type) return call.mismatch(kAnyValueExpected);
  FZ_ASSIGN(const int64_t k, call.take_int("k", 10, 1, kTopValues));
  FZ_ASSIGN(const int64_t max_bytes, TakeMaxBytes(call));
  auto result = arrow::list(arrow::struct_(
      {arrow::field("value", call.type(), false), arrow::field("count", arrow::int64(), false)}));
  return std::make_unique<MostCommon>(call, std::move(result), *std::move(type), max_bytes, k);
}

}  // namespace frazil
