#include "connector/file/listing.h"

#include <gtest/gtest.h>

#include "connector/file/position.h"

namespace frazil::file {
namespace {

TEST(FileListing, MatchesPatterns) {
  EXPECT_TRUE(MatchesGlob("/a/*.json", "/a/b.json"));
  EXPECT_FALSE(MatchesGlob("/a/*.json", "/a/b/c.json"));
  EXPECT_TRUE(MatchesGlob("/a/**/*.json", "/a/b/c.json"));
  EXPECT_TRUE(MatchesGlob("/a/**/*.json", "/a/c.json"));
  EXPECT_TRUE(MatchesGlob("/a/**", "/a/b/c"));
  EXPECT_FALSE(MatchesGlob("/a/**/x", "/a/b/y"));
  EXPECT_TRUE(MatchesGlob("/a/?[b-d]", "/a/xc"));
  EXPECT_FALSE(MatchesGlob("/a/?[!b-d]", "/a/xc"));
  EXPECT_FALSE(MatchesGlob("/a?b", "/a/b"));
  EXPECT_FALSE(MatchesGlob("/a[/]b", "/a/b"));
  EXPECT_FALSE(MatchesGlob("/a[", "/a["));
  EXPECT_TRUE(MatchesGlob("/a[]]", "/a]"));
  EXPECT_FALSE(MatchesGlob("/a", "/ab"));
  EXPECT_FALSE(MatchesGlob("/ab", "/a"));
  EXPECT_TRUE(MatchesGlob("*", ""));
}

TEST(FilePosition, GoesToJsonAndBack) {
  Position position;
  position.file = "/a/b";
  position.offset = 17;
  position.done = {{"/a/0", 3}, {"/a/1", 4}};
  position.floor = "/A";
  position.below = {2, 18446744073709551615u};
  EXPECT_EQ(position.ToJson(false), R"({"below":[2,18446744073709551615],"done":[["/a/0",3],["/a/1",4]],)"
                                    R"("file":"/a/b","floor":"/A","offset":17,"v":1})");
  const Position back = Position::Parse(position.ToJson(true)).ValueOrDie();
  EXPECT_EQ(back.ToJson(true), position.ToJson(true));
  for (const char* bad : {"", "{}", "[]", R"({"v":2})", R"({"v":1,"offset":-1})", R"({"v":1,"offset":"1"})",
                          R"({"v":1,"file":1})", R"({"v":1,"done":[["a"]]})", R"({"v":1,"done":5})",
                          R"({"v":1,"below":[1]})"}) {
    EXPECT_FALSE(Position::Parse(bad).ok()) << bad;
  }
}

TEST(FilePosition, NeverPutsAnUnreadFileUnderTheFloor) {
  Position position;
  for (int i = 1000; i < 2000; ++i) position.done["f" + std::to_string(i)] = 1;
  position.Lower({"f1200x"});
  EXPECT_EQ(position.floor, "f1200");
  EXPECT_EQ(position.done.begin()->first, "f1201");
  position.Lower({});
  EXPECT_EQ(position.done.size(), Position::kDoneFiles);
  EXPECT_EQ(position.floor, "f1487");
}

}  // namespace
}  // namespace frazil::file
