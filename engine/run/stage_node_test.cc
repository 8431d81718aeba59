#include "run/stage_node.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace frazil {
namespace {

TEST(ExchangeKeys, AreColumnsUnlessTransformed) {
  const auto plain = ParseExchangeKeys({{"keys", {"a", "b"}}}).ValueOrDie();
  ASSERT_EQ(plain.size(), 2u);
  EXPECT_EQ(plain[1].column, "b");
  EXPECT_EQ(plain[1].transform, "identity");

  const auto day =
      ParseExchangeKeys({{"keys", {"ts"}}, {"transforms", {{{"name", "bucket"}, {"param", 16}}}}})
          .ValueOrDie();
  ASSERT_EQ(day.size(), 1u);
  EXPECT_EQ(day[0].transform, "bucket");
  EXPECT_EQ(day[0].param, 16);
}

TEST(ExchangeKeys, NeedATransformEach) {
  const auto status =
      ParseExchangeKeys({{"keys", {"a", "b"}}, {"transforms", nlohmann::json::array()}}).status();
  EXPECT_EQ(KindOf(status), ErrorKind::kConfig);
}

}  // namespace
}  // namespace frazil
