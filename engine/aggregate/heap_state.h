#pragma once

#include <string>
#include <utility>

#include "aggregate/column.h"
#include "aggregate/saved.h"
#include "base/check.h"

namespace frazil {

// Base of aggregates whose accumulator, a State of plain bytes, owns memory on the heap. Function gives
//   void free(State&) const
//   int64_t heap(const State&) const
//   void write(const State&, SavedWriter&) const
//   Status read(State& into, SavedReader&) const      adds a saved one; damaged() for what cannot be
// and add and finish of Aggregate. Saved: the version byte kVersion, and what write wrote.
template <typename Function, typename State>
class HeapAggregate : public Aggregate {
 public:
  static_assert(std::is_trivially_copyable_v<State> && sizeof(State) % 8 == 0 && alignof(State) <= 8);
  static constexpr char kVersion = 1;

  HeapAggregate(const AggregateCall& call, std::shared_ptr<arrow::DataType> result)
      : text_(call.text()), result_(std::move(result)) {}

  int32_t width() const override { return sizeof(State); }
  void create(std::byte* acc) const override { new (acc) State(); }
  void destroy(std::byte* acc) const override { self().free(At<State>(acc, 0)); }
  int64_t heap_bytes(const std::byte* acc) const override { return self().heap(At<State>(acc, 0)); }
  std::shared_ptr<arrow::DataType> result_type() const override { return result_; }
  std::shared_ptr<arrow::DataType> saved_type() const override { return arrow::binary(); }

  Result<std::shared_ptr<arrow::Array>> save(std::span<const std::byte* const> accs, int32_t offset,
                                             arrow::MemoryPool* pool) const override {
    arrow::BinaryBuilder builder(pool);
    FZ_TRY(builder.Reserve(static_cast<int64_t>(accs.size())));
    std::string bytes;
    for (const std::byte* acc : accs) {
      bytes.assign(1, kVersion);
      SavedWriter writer(bytes);
      self().write(At<State>(acc, offset), writer);
      FZ_TRY(builder.Append(bytes));
    }
    return builder.Finish();
  }

  Status merge(std::span<std::byte* const> into, int32_t offset, const arrow::Array& saved,
               AggregateEffects* effects) const override {
    const auto rows = static_cast<int64_t>(into.size());
    if (saved.length() != rows || saved.type_id() != arrow::Type::BINARY)
      return damaged("its type or length");
    const auto& column = static_cast<const arrow::BinaryArray&>(saved);
    return TryEachRow(into, nullptr, effects, [&](int64_t i) -> Status {
      if (column.IsNull(i)) return damaged("a null");
      SavedReader reader(column.GetView(i));
      char version = 0;
      if (!reader.take(&version)) return damaged("nothing");
      if (version != kVersion) return damaged("version " + std::to_string(static_cast<uint8_t>(version)));
      auto& state = At<State>(into[static_cast<size_t>(i)], offset);
      return accounted(state, effects, [&]() -> Status {
        FZ_TRY(self().read(state, reader));
        return reader.left() == 0 ? Status::OK() : damaged("bytes behind its end");
      });
    });
  }

 protected:
  Status damaged(const std::string& what = "bytes that cannot be") const {
    return Error(ErrorKind::kState, "reading the state of " + text_ + ": " + what +
                                        "; the state is damaged or of another version");
  }

  // Adds the rows that have an accumulator: f(state, row) -> Status.
  template <typename F>
  Status each(std::span<std::byte* const> accs, int32_t offset, AggregateEffects* effects, F f) const {
    return TryEachRow(accs, nullptr, effects, [&](int64_t i) {
      auto& state = At<State>(accs[static_cast<size_t>(i)], offset);
      return accounted(state, effects, [&] { return f(state, i); });
    });
  }

  // Calls f(state) -> Status for every accumulator.
  template <typename F>
  Status each_result(std::span<const std::byte* const> accs, int32_t offset, AggregateEffects* effects,
                     F f) const {
    for (size_t i = 0; i < accs.size(); ++i) {
      if (Status status = f(At<State>(accs[i], offset)); !status.ok()) {
        effects->failed = static_cast<int64_t>(i);
        return status;
      }
    }
    return Status::OK();
  }

  const std::string& text() const { return text_; }

 private:
  const Function& self() const { return static_cast<const Function&>(*this); }

  template <typename F>
  Status accounted(const State& state, AggregateEffects* effects, F f) const {
    const int64_t before = self().heap(state);
    Status status = f();
    effects->heap_bytes += self().heap(state) - before;
    return status;
  }

  const std::string text_;
  const std::shared_ptr<arrow::DataType> result_;
};

}  // namespace frazil
