// approx_count_distinct: HyperLogLog. Few values are kept as a sorted list of registers, many as a byte for
// each register; either way the result is a function of the registers, so it depends on the set of values
// alone. Sources: Flajolet, Fusy, Gandouet, Meunier, "HyperLogLog" (2007); the estimator without tables of
// corrections: Ertl, "New cardinality estimation algorithms for HyperLogLog sketches" (2017), algorithm 6.
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "aggregate/boxed.h"

namespace frazil {
namespace {

struct Registers {
  std::vector<uint32_t> few;   // register << 8 | rank, sorted by register
  std::vector<uint8_t> ranks;  // of every register, once they are many; `few` is empty then

  int64_t heap_bytes() const {
    return static_cast<int64_t>(few.capacity() * sizeof(uint32_t) + ranks.capacity());
  }
  // Raises a register to a rank. `count`: of all registers.
  void raise(uint32_t number, uint8_t rank, size_t count) {
    if (!ranks.empty()) {
      ranks[number] = std::max(ranks[number], rank);
      return;
    }
    const uint32_t entry = number << 8 | rank;
    const auto at = std::ranges::lower_bound(few, number << 8);
    if (at != few.end() && *at >> 8 == number) {
      *at = std::max(*at, entry);
    } else if ((few.size() + 1) * sizeof entry <= count / 4) {
      few.insert(at, entry);
    } else {
      ranks.resize(count);
      for (uint32_t one : few) ranks[one >> 8] = static_cast<uint8_t>(one);
      ranks[number] = rank;
      std::vector<uint32_t>().swap(few);
    }
  }
};

double Sigma(double x) {
  if (x == 1) return HUGE_VAL;
  double y = 1, sum = x;
  for (double before = -1; sum != before;) {
    x *= x;
    before = sum;
    sum += x * y;
    y += y;
  }
  return sum;
}

double Tau(double x) {
  if (x == 0 || x == 1) return 0;
  double y = 1, sum = 1 - x;
  for (double before = -1; sum != before;) {
    x = std::sqrt(x);
    before = sum;
    y /= 2;
    sum -= (1 - x) * (1 - x) * y;
  }
  return sum / 3;
}

class ApproxCountDistinct : public BoxedAggregate<ApproxCountDistinct, Registers> {
 public:
  using State = Boxed<Registers>;

  ApproxCountDistinct(const AggregateCall& call, ValueType type, int bits)
      : BoxedAggregate(call, arrow::int64()),
        type_(std::move(type)),
        bits_(bits),
        registers_(size_t{1} << bits),
        rank_max_(static_cast<uint8_t>(64 - bits + 1)) {}

  bool result_nullable() const override { return false; }

  Status add(std::span<std::byte* const> accs, int32_t offset, const arrow::ArrayVector& inputs,
             const AggregateRows&, AggregateEffects* effects) const override {
    ValueReader values(type_, *inputs[0], true);
    return each(accs, offset, effects, [&](State& state, int64_t i) {
      if (values.is_null(i)) return Status::OK();
      const std::string_view value = values[i];
      const uint64_t hash = XXH3_64bits(value.data(), value.size());
      const uint64_t rest = hash << bits_;
      const int rank = rest == 0 ? rank_max_ : std::countl_zero(rest) + 1;
      Open(state).raise(static_cast<uint32_t>(hash >> (64 - bits_)), static_cast<uint8_t>(rank), registers_);
      return Status::OK();
    });
  }

  // Bits; the number of `few`, and these; or kMany and all ranks.
  void write(const State& state, SavedWriter& writer) const {
    writer.put(static_cast<uint8_t>(bits_));
    if (state.box == nullptr) return writer.put(uint32_t{0});
    if (state.box->ranks.empty()) {
      writer.put(static_cast<uint32_t>(state.box->few.size()));
      for (uint32_t entry : state.box->few) writer.put(entry);
    } else {
      writer.put(kMany);
      for (uint8_t rank : state.box->ranks) writer.put(rank);
    }
  }

  Status read(State& into, SavedReader& reader) const {
    uint8_t bits = 0;
    uint32_t count = 0;
    if (!reader.take(&bits) || bits != bits_) return damaged("another number of bits");
    if (!reader.take(&count) || (count != kMany && count > registers_)) return damaged();
    const auto size = count == kMany ? static_cast<uint32_t>(registers_) : count;
    for (uint32_t i = 0; i < size; ++i) {
      uint32_t number = i;
      uint8_t rank = 0;
      if (count == kMany) {
        if (!reader.take(&rank)) return damaged();
      } else {
        uint32_t entry = 0;
        if (!reader.take(&entry)) return damaged();
        number = entry >> 8;
        rank = static_cast<uint8_t>(entry);
        if (rank == 0 || number >= registers_) return damaged();
      }
      if (rank > rank_max_) return damaged();
      if (rank != 0) Open(into).raise(number, rank, registers_);
    }
    return Status::OK();
  }

  Result<std::shared_ptr<arrow::Array>> finish(std::span<const std::byte* const> accs, int32_t offset,
                                               arrow::MemoryPool* pool, AggregateEffects*) const override {
    FixedColumn<int64_t> column(result_type(), pool);
    FZ_TRY(column.reserve(static_cast<int64_t>(accs.size())));
    for (const std::byte* acc : accs) {
      const Registers* box = At<State>(acc, offset).box;
      column.append(box == nullptr ? 0 : estimate(*box));
    }
    return column.finish();
  }

 private:
  static constexpr uint32_t kMany = UINT32_MAX;

  int64_t estimate(const Registers& registers) const {
    std::vector<double> of_rank(static_cast<size_t>(rank_max_) + 1);
    for (uint32_t entry : registers.few) ++of_rank[entry & 0xFF];
    for (uint8_t rank : registers.ranks) ++of_rank[rank];
    const auto count = static_cast<double>(registers_);
    if (registers.ranks.empty()) of_rank[0] = count - static_cast<double>(registers.few.size());
    double sum = count * Tau(1 - of_rank[rank_max_] / count);
    for (size_t rank = rank_max_ - 1; rank >= 1; --rank) sum = (sum + of_rank[rank]) / 2;
    sum += count * Sigma(of_rank[0] / count);
    constexpr double kAlpha = 0.72134752044448170368;  // 1 / (2 ln 2)
    const double result = kAlpha * count * count / sum;
    return result < 9e18 ? std::llround(result) : INT64_MAX;
  }

  const ValueType type_;
  const int bits_;
  const size_t registers_;
  const uint8_t rank_max_;
};

}  // namespace

Result<AggregatePtr> MakeApproxCountDistinct(AggregateCall& call) {
  auto type = ValueType::Of(call.type());
  if (!type) return call.mismatch(kAnyValueExpected);
  FZ_ASSIGN(const int64_t bits, call.take_int("bits", 12, 4, 18));
  return std::make_unique<ApproxCountDistinct>(call, *std::move(type), static_cast<int>(bits));
}

}  // namespace frazil
