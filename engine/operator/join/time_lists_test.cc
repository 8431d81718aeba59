#include "operator/join/time_lists.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <vector>

namespace frazil {
namespace {

std::vector<TimedRow> All(const TimeLists::List& list) {
  std::vector<TimedRow> rows;
  TimeLists::Place place;
  while (const TimedRow* row = TimeLists::next(list, &place)) rows.push_back(*row);
  return rows;
}

TEST(TimeListsTest, HasNothingWhenEmpty) {
  TimeLists lists(arrow::default_memory_pool());
  TimeLists::List list{};
  EXPECT_TRUE(TimeLists::empty(list));
  EXPECT_FALSE(TimeLists::any(list, kWatermarkMin, kWatermarkMax));
  EXPECT_FALSE(lists.remove(&list, {1, 1}));
  EXPECT_EQ(lists.bytes(), 0);
}

TEST(TimeListsTest, BoundsAreClosed) {
  TimeLists lists(arrow::default_memory_pool());
  TimeLists::List list{};
  ASSERT_TRUE(lists.insert(&list, {10, 7}).ok());
  EXPECT_TRUE(TimeLists::any(list, 10, 10));
  EXPECT_TRUE(TimeLists::any(list, 5, 10));
  EXPECT_TRUE(TimeLists::any(list, 10, 15));
  EXPECT_FALSE(TimeLists::any(list, 11, 15));
  EXPECT_FALSE(TimeLists::any(list, 5, 9));
  lists.clear(&list);
}

// Against a set, with rows mostly at the end, at the front, or anywhere.
TEST(TimeListsTest, IsASet) {
  std::mt19937 random(1);
  for (const int spread : {3, 500, 100'000}) {
    TimeLists lists(arrow::default_memory_pool());
    TimeLists::List list{};
    std::set<TimedRow> expected;
    for (int step = 0; step < 6'000; ++step) {
      const TimedRow row{step + static_cast<Timestamp>(random() % static_cast<unsigned>(spread)),
                         random() % 4};
      if (random() % 4 != 0) {
        if (expected.insert(row).second) {
          ASSERT_TRUE(lists.insert(&list, row).ok());
        }
      } else if (!expected.empty()) {
        const TimedRow gone = random() % 2 == 0 ? *expected.begin() : row;
        EXPECT_EQ(lists.remove(&list, gone), expected.erase(gone) == 1);
      }
      if (step % 500 == 0) {
        ASSERT_EQ(All(list), std::vector<TimedRow>(expected.begin(), expected.end()));
      }
      const auto at = expected.lower_bound({row.time, 0});
      EXPECT_EQ(TimeLists::any(list, row.time, row.time + 2),
                at != expected.end() && at->time <= row.time + 2);
      const TimedRow* before = TimeLists::previous(list, TimeLists::lower_bound(list, {row.time, 0}));
      ASSERT_EQ(before == nullptr, at == expected.begin());
      if (before != nullptr) {
        EXPECT_EQ(*before, *std::prev(at));
      }
    }
    ASSERT_EQ(All(list), std::vector<TimedRow>(expected.begin(), expected.end()));
    for (const TimedRow row : expected) EXPECT_TRUE(lists.remove(&list, row));
    EXPECT_TRUE(TimeLists::empty(list));
    EXPECT_EQ(lists.bytes(), 0);
  }
}

TEST(TimeListsTest, FreesAll) {
  TimeLists lists(arrow::default_memory_pool());
  TimeLists::List list{};
  for (int i = 0; i < 5'000; ++i) ASSERT_TRUE(lists.insert(&list, {i * 7919 % 5'000, 0}).ok());
  EXPECT_GT(lists.bytes(), 5'000 * 16);
  EXPECT_LT(lists.bytes(), 5'000 * 40);
  lists.clear(&list);
  EXPECT_TRUE(TimeLists::empty(list));
  EXPECT_EQ(lists.bytes(), 0);
}

// Many keys with a row or two each, which come and go.
TEST(TimeListsTest, SmallListsShareMemory) {
  TimeLists lists(arrow::default_memory_pool());
  std::vector<TimeLists::List> keys(10'000);
  for (int round = 0; round < 3; ++round) {
    for (auto& list : keys) ASSERT_TRUE(lists.insert(&list, {round, 1}).ok());
    EXPECT_LT(lists.bytes(), 10'000 * 26);
    for (size_t i = 0; i < keys.size(); i += 2) ASSERT_TRUE(lists.insert(&keys[i], {round, 2}).ok());
    for (size_t i = 0; i < keys.size(); ++i) {
      ASSERT_EQ(All(keys[i]).size(), i % 2 == 0 ? 2u : 1u);
      ASSERT_TRUE(lists.remove(&keys[i], {round, 1}));
      ASSERT_EQ(lists.remove(&keys[i], {round, 2}), i % 2 == 0);
    }
    EXPECT_EQ(lists.bytes(), 0);
  }
}

}  // namespace
}  // namespace frazil
