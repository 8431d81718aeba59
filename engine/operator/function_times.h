#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

namespace frazil {

// What a node's calls of Python functions take, nanoseconds on the wall. Any thread.
struct FunctionTimes {
  std::atomic<int64_t> calls{0};
  std::atomic<int64_t> call_ns{0};  // in the function, and in what makes its arguments
  std::atomic<int64_t> wait_ns{0};  // for the interpreter, before that
};

// While it lives, calls of this thread are counted for a node. A node that is called by another one counts
// its own; then the other goes on.
class CountedCalls {
 public:
  explicit CountedCalls(FunctionTimes* times) : outer_(std::exchange(current_, times)) {}
  ~CountedCalls() { current_ = outer_; }
  CountedCalls(const CountedCalls&) = delete;
  CountedCalls& operator=(const CountedCalls&) = delete;

  // Where a call of this thread is counted; null outside of a node.
  static FunctionTimes* current() { return current_; }

 private:
  static inline thread_local FunctionTimes* current_ = nullptr;
  FunctionTimes* const outer_;
};

}  // namespace frazil
