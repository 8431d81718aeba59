#include "operator/time/batch_groups.h"

#include <arrow/api.h>
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <random>
#include <set>
#include <string>
#include <tuple>

namespace frazil {
namespace {

using Name = std::tuple<std::string, Timestamp, Timestamp>;

// Batches of random rows, of so many keys and panes, counted by group and by a map.
class BatchGroupsTest : public testing::Test {
 protected:
  // How many groups it made of how many rows.
  std::pair<size_t, size_t> run(size_t rows, int keys, int panes) {
    std::vector<std::string> texts(rows);
    std::vector<Timestamp> pane(rows), floor(rows);
    std::vector<int32_t> selected;
    arrow::StringBuilder builder;
    std::map<Name, int64_t> expected;
    for (size_t i = 0; i < rows; ++i) {
      texts[i] = "key " + std::to_string(pick(keys));
      pane[i] = pick(panes) * 60;
      floor[i] = pick(10) == 0 && panes > 1 ? 7 : kWatermarkMin;
      EXPECT_TRUE(builder.Append(texts[i]).ok());
      if (pick(5) == 0) continue;
      selected.push_back(static_cast<int32_t>(i));
      ++expected[{texts[i], pane[i], floor[i]}];
    }
    arrow::ArrayVector columns{builder.Finish().ValueOrDie()};
    EXPECT_TRUE(groups_.group(columns, pane, floor, selected).ok());
    for (std::byte* payload : groups_.payloads()) std::memset(payload, 0, 8);
    for (std::byte* payload : groups_.of_rows()) {
      if (payload != nullptr) ++*reinterpret_cast<int64_t*>(payload);
    }
    std::map<Name, int64_t> counted;
    std::set<std::pair<Timestamp, Timestamp>> ended;
    EncodedKeys encoded;
    EXPECT_TRUE(codec_.encode(columns, static_cast<int64_t>(rows), &encoded).ok());
    for (size_t i = 0; i < groups_.rows().size(); ++i) {
      const auto row = static_cast<size_t>(groups_.rows()[i]);
      EXPECT_EQ(groups_.of_rows()[row], groups_.payloads()[i]);
      EXPECT_EQ(groups_.hashes()[i], encoded.hash(static_cast<int64_t>(row)));
      counted[{texts[row], pane[row], floor[row]}] +=
          *reinterpret_cast<const int64_t*>(groups_.payloads()[i]);
    }
    EXPECT_EQ(counted, expected);
    EXPECT_EQ(groups_.hashes().size(), groups_.payloads().size());
    return {groups_.payloads().size(), selected.size()};
  }

  int64_t pick(int below) { return std::uniform_int_distribution<int64_t>(0, below - 1)(random_); }

  std::mt19937 random_{42};
  KeyCodec codec_ = KeyCodec::Make({arrow::utf8()}).ValueOrDie();
  BatchGroups groups_ = BatchGroups::Make({arrow::utf8()}, 8, arrow::default_memory_pool()).ValueOrDie();
};

TEST_F(BatchGroupsTest, FewPanesAndMany) {
  for (int round = 0; round < 30; ++round) {
    EXPECT_LE(run(1000, 20, 1).first, 20u);
    EXPECT_LE(run(1000, 20, 2).first, 80u);
    EXPECT_LE(run(1000, 5, 40).first, 400u);
    run(static_cast<size_t>(pick(3)), 5, 2);
  }
}

TEST_F(BatchGroupsTest, RowsAreLeftApartWhereGroupingSavesNothing) {
  for (int i = 0; i < 8; ++i) {
    const auto [groups, rows] = run(1000, 10'000, 2);
    EXPECT_LT(groups, rows);
  }
  for (int i = 0; i < 256; ++i) {
    const auto [groups, rows] = run(100, 10, 2);  // does not look whether it would
    ASSERT_EQ(groups, rows);
  }
  const auto [groups, rows] = run(1000, 10, 2);  // then it looks
  EXPECT_LT(groups, rows / 4);
  EXPECT_LT(run(1000, 10, 2).first, 50u);
}

TEST_F(BatchGroupsTest, LargeTablesAreNotKept) {
  for (int i = 0; i < 3; ++i) run(100'000, 50'000, 2);
  EXPECT_LE(run(1000, 20, 1).first, 20u);
}

}  // namespace
}  // namespace frazil
