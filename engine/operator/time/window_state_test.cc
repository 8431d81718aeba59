#include <gtest/gtest.h>

#include "base/memory.h"
#include "operator/time/test_many_keys.h"

namespace frazil {
namespace {

int64_t RowsOf(const StateRows& state) {
  int64_t rows = 0;
  for (const auto& batch : state) rows += batch->num_rows();
  return rows;
}

TEST(WindowState, TwoMillionKeysOfOneWindow) {
  constexpr int64_t kKeys = 2'000'000;
  arrow::ProxyMemoryPool pool(arrow::default_memory_pool());
  ManyKeys keys(&pool);
  keys.add(0, kKeys);
  // Key, count and exact sum; and a pointer for each that no checkpoint has yet.
  EXPECT_LE(keys.window().state_bytes(), kKeys * (56 + 8));
  // The operator says what it has; the rest is what the first half keeps between batches.
  EXPECT_LE(pool.bytes_allocated() - keys.window().state_bytes(), 8 << 20);
  EXPECT_EQ(RowsOf(keys.window().snapshot(false).ValueOrDie()), kKeys + 1);

  keys.add(kKeys / 2, kKeys / 2 + 1000);  // known keys: nothing but their changes
  EXPECT_LE(keys.window().state_bytes(), kKeys * (56 + 8));
  EXPECT_EQ(RowsOf(keys.window().snapshot(false).ValueOrDie()), 1000 + 1);
  EXPECT_EQ(RowsOf(keys.window().snapshot(true).ValueOrDie()), kKeys + 1);
}

}  // namespace
}  // namespace frazil
