#include "base/filesystem.h"

#include <gtest/gtest.h>

namespace frazil {

TEST(MakeFilePlace, TakesLocalPathsAsTheyAre) {
  for (const std::string uri :
       {"file:///tmp/a%20b c/", "/tmp/a%20b c", "file:/tmp/a%20b c", "file://localhost/tmp/a%20b c"}) {
    const auto place = MakeFilePlace(uri, nullptr);
    ASSERT_TRUE(place.ok()) << place.status().ToString();
    EXPECT_EQ(place->path, "/tmp/a%20b c");
    EXPECT_TRUE(place->local);
  }
}

TEST(MakeFilePlace, RefusesWhatItCannotOpen) {
  EXPECT_EQ(KindOf(MakeFilePlace("hdfs://x/y", nullptr).status()), ErrorKind::kConfig);
  EXPECT_EQ(KindOf(MakeFilePlace("a/b", nullptr).status()), ErrorKind::kConfig);
  const auto unknown = MakeFilePlace("s3://b/p", {{"acess_key", "hunter2"}});
  EXPECT_EQ(MessageOf(unknown.status()), "reading the S3 options: unknown option \"acess_key\"");
}

}  // namespace frazil
