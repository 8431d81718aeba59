#pragma once

#include "aggregate/heap_state.h"
#include "aggregate/list_column.h"

namespace frazil {

template <typename Box>
struct Boxed {
  Box* box = nullptr;  // none before the first value
};

// Base of aggregates whose state is an object on the heap; Box has int64_t heap_bytes() const for what it
// owns. Function gives write and read of HeapAggregate, and add and finish of Aggregate.
template <typename Function, typename Box>
class BoxedAggregate : public HeapAggregate<Function, Boxed<Box>> {
 public:
  using State = Boxed<Box>;
  using HeapAggregate<Function, State>::HeapAggregate;

  void free(State& state) const {
    delete state.box;
    state.box = nullptr;
  }
  int64_t heap(const State& state) const {
    return state.box == nullptr ? 0 : static_cast<int64_t>(sizeof(Box)) + state.box->heap_bytes();
  }

 protected:
  static Box& Open(State& state) {
    if (state.box == nullptr) state.box = new Box();
    return *state.box;
  }

  Status over(int64_t max_bytes, const char* advice) const {
    return Error(ErrorKind::kUser, this->text() + ": a group has more than " + std::to_string(max_bytes) +
                                       " bytes of values; set max_bytes higher" + advice);
  }
};

// The option max_bytes: bound of what one group may keep.
inline Result<int64_t> TakeMaxBytes(AggregateCall& call) {
  return call.take_int("max_bytes", kGroupBytes, 1, kGroupBytesMax);
}

}  // namespace frazil
