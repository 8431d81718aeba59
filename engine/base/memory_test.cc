#include "base/memory.h"

#include <arrow/buffer.h>
#include <gtest/gtest.h>

#include "base/status.h"

namespace frazil {

TEST(AccountedPool, CountsAndGivesBack) {
  MemoryBudget budget(1000);
  AccountedPool pool("sink", &budget, arrow::default_memory_pool());
  {
    auto buffer = *arrow::AllocateResizableBuffer(100, &pool);
    EXPECT_EQ(pool.bytes_allocated(), budget.used());
    EXPECT_GE(pool.bytes_allocated(), 100);
    ASSERT_TRUE(buffer->Resize(500).ok());
    EXPECT_GE(budget.used(), 500);
  }
  EXPECT_EQ(budget.used(), 0);
  EXPECT_GE(pool.max_memory(), 500);
}

TEST(AccountedPool, RefusesPastTheLimitOfAllTags) {
  MemoryBudget budget(1000);
  AccountedPool a("decode", &budget, arrow::default_memory_pool());
  AccountedPool b("sink", &budget, arrow::default_memory_pool());
  auto held = *arrow::AllocateBuffer(900, &a);
  const auto refused = arrow::AllocateBuffer(200, &b);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(KindOf(refused.status()), ErrorKind::kUser);
  EXPECT_NE(MessageOf(refused.status()).find("`sink`"), std::string::npos);
  held.reset();
  EXPECT_TRUE(arrow::AllocateBuffer(200, &b).ok());
}

}  // namespace frazil
