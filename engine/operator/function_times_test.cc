#include "operator/function_times.h"

#include <gtest/gtest.h>

#include <thread>

namespace frazil {
namespace {

TEST(FunctionTimes, ANodeThatIsCalledByAnotherCountsItsOwn) {
  FunctionTimes outer, inner;
  EXPECT_EQ(CountedCalls::current(), nullptr);
  {
    const CountedCalls of_outer(&outer);
    EXPECT_EQ(CountedCalls::current(), &outer);
    {
      const CountedCalls of_inner(&inner);
      EXPECT_EQ(CountedCalls::current(), &inner);
      std::thread([] { EXPECT_EQ(CountedCalls::current(), nullptr); }).join();
    }
    EXPECT_EQ(CountedCalls::current(), &outer);
  }
  EXPECT_EQ(CountedCalls::current(), nullptr);
}

}  // namespace
}  // namespace frazil
