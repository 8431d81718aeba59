#pragma once

#include <string>
#include <type_traits>
#include <utility>

#include "aggregate/column.h"

namespace frazil {

// Base of aggregates whose accumulator is a State of plain bytes, without padding. Function gives
//   Status combine(State& into, const State& from) const
//   bool valid(const State&) const      false for what its add and combine cannot have made
// and add and finish of Aggregate. Saved: the version byte kVersion and the State.
template <typename Function, typename State>
class PlainAggregate : public Aggregate {
 public:
  static_assert(std::is_trivially_copyable_v<State> && sizeof(State) % 8 == 0 && alignof(State) <= 8);
  static constexpr char kVersion = 1;

  explicit PlainAggregate(const AggregateCall& call, std::shared_ptr<arrow::DataType> result)
      : text_(call.text()), result_(std::move(result)) {}

  int32_t width() const override { return sizeof(State); }
  void create(std::byte* acc) const override { new (acc) State(); }
  std::shared_ptr<arrow::DataType> result_type() const override { return result_; }
  std::shared_ptr<arrow::DataType> saved_type() const override {
    return arrow::fixed_size_binary(1 + sizeof(State));
  }

  Result<std::shared_ptr<arrow::Array>> save(std::span<const std::byte* const> accs, int32_t offset,
                                             arrow::MemoryPool* pool) const override {
    constexpr size_t kWidth = 1 + sizeof(State);
    FZ_ASSIGN(std::shared_ptr<arrow::Buffer> bytes,
              arrow::AllocateBuffer(static_cast<int64_t>(accs.size() * kWidth), pool));
    uint8_t* to = bytes->mutable_data();
    for (const std::byte* acc : accs) {
      *to = static_cast<uint8_t>(kVersion);
      std::memcpy(to + 1, acc + offset, sizeof(State));
      to += kWidth;
    }
    return std::make_shared<arrow::FixedSizeBinaryArray>(saved_type(), static_cast<int64_t>(accs.size()),
                                                         std::move(bytes));
  }

  Status merge(std::span<std::byte* const> into, int32_t offset, const arrow::Array& saved,
               AggregateEffects* effects) const override {
    const auto rows = static_cast<int64_t>(into.size());
    if (saved.length() != rows || !saved.type()->Equals(*saved_type())) return damaged("its type or length");
    const auto& column = static_cast<const arrow::FixedSizeBinaryArray&>(saved);
    return TryEachRow(into, nullptr, effects, [&](int64_t i) -> Status {
      if (column.IsNull(i)) return damaged("a null");
      const uint8_t* bytes = column.GetValue(i);
      if (*bytes != static_cast<uint8_t>(kVersion)) return damaged("version " + std::to_string(*bytes));
      State from;
      std::memcpy(&from, bytes + 1, sizeof(State));
      if (!self().valid(from)) return damaged("a value that cannot be");
      return self().combine(At<State>(into[static_cast<size_t>(i)], offset), from);
    });
  }

 protected:
  // Retracts values that lie as T from states that have bool take(T): false if it is not there.
  template <typename T>
  Status take_each(std::span<std::byte* const> accs, int32_t offset, const arrow::Array& input,
                   AggregateEffects* effects) const {
    const Reader<T> values(input);
    return TryEachRow(accs, &input, effects, [&](int64_t i) {
      auto& state = At<State>(accs[static_cast<size_t>(i)], offset);
      return state.take(values[i]) ? Status::OK() : absent();
    });
  }

  Status absent() const {
    return Error(ErrorKind::kUser, text_ +
                                       ": a row takes back a value that is not there; the steps before it "
                                       "gave other values for the same row");
  }

  Status damaged(const std::string& what) const {
    return Error(ErrorKind::kState, "reading the state of " + text_ + ": " + what +
                                        "; the state is damaged or of another version");
  }

  // Builds the result of values that lie as T: f(state, column) -> Status appends one value.
  template <typename T, typename F>
  Result<std::shared_ptr<arrow::Array>> finish_fixed(std::span<const std::byte* const> accs, int32_t offset,
                                                     arrow::MemoryPool* pool, AggregateEffects* effects,
                                                     F f) const {
    FixedColumn<T> column(result_, pool);
    FZ_TRY(column.reserve(static_cast<int64_t>(accs.size())));
    for (size_t i = 0; i < accs.size(); ++i) {
      if (Status status = f(At<State>(accs[i], offset), column); !status.ok()) {
        effects->failed = static_cast<int64_t>(i);
        return status;
      }
    }
    return column.finish();
  }

  const std::string& text() const { return text_; }

 private:
  const Function& self() const { return static_cast<const Function&>(*this); }

  const std::string text_;
  const std::shared_ptr<arrow::DataType> result_;
};

}  // namespace frazil
