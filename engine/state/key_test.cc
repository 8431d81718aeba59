#include "state/key.h"

#include <arrow/api.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace frazil {
namespace {

template <typename Builder, typename T>
std::shared_ptr<arrow::Array> Column(std::initializer_list<T> values) {
  Builder builder;
  for (const T& value : values) EXPECT_TRUE(builder.Append(value).ok());
  return *builder.Finish();
}

TEST(Key, WideningKeepsTheHash) {
  EXPECT_EQ(*HashKeys({Column<arrow::Int32Builder, int32_t>({-1, 7})}, 2),
            *HashKeys({Column<arrow::Int64Builder, int64_t>({-1, 7})}, 2));
  EXPECT_EQ(*HashKeys({Column<arrow::FloatBuilder, float>({1.5F})}, 1),
            *HashKeys({Column<arrow::DoubleBuilder, double>({1.5})}, 1));
}

TEST(Key, ZerosAndNansAreOneKeyEach) {
  const auto hashes = *HashKeys({Column<arrow::DoubleBuilder, double>({0.0, -0.0, NAN, -NAN})}, 4);
  EXPECT_EQ(hashes[0], hashes[1]);
  EXPECT_EQ(hashes[2], hashes[3]);
  EXPECT_NE(hashes[0], hashes[2]);
}

TEST(Key, ColumnsDoNotRunIntoEachOther) {
  const auto a = *HashKeys({Column<arrow::StringBuilder, std::string>({"ab", "a"}),
                            Column<arrow::StringBuilder, std::string>({"c", "bc"})},
                           2);
  EXPECT_NE(a[0], a[1]);
}

// Computed by another implementation (Python xxhash). A change of the encoding or the hash would send keys to
// other groups than checkpoints say.
TEST(Key, VersionOneIsFixed) {
  EXPECT_EQ((*HashKeys({Column<arrow::Int64Builder, int64_t>({42})}, 1))[0], 4435642637180117100u);
  EXPECT_EQ((*HashKeys({Column<arrow::StringBuilder, std::string>({"user"})}, 1))[0], 17232961362812549401u);
}

TEST(Key, GroupsCoverAllWorkers) {
  for (int workers : {1, 2, 3, 7}) {
    std::set<int> seen;
    for (int group = 0; group < kKeyGroups; ++group) seen.insert(WorkerOf(group, workers));
    EXPECT_EQ(static_cast<int>(seen.size()), workers);
    EXPECT_EQ(*seen.rbegin(), workers - 1);
  }
  EXPECT_EQ(GroupOf(~0ull), kKeyGroups - 1);
}

}  // namespace
}  // namespace frazil
