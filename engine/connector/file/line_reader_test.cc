#include "connector/file/line_reader.h"

#include <arrow/filesystem/mockfs.h>
#include <gtest/gtest.h>

namespace frazil::file {
namespace {

// The first line begins behind the byte order mark, also if it is gathered over several chunks; to go on at
// a position before it gives it again.
TEST(LineReader, ALongFirstLineBeginsBehindTheByteOrderMark) {
  const std::string line = "{\"a\":\"" + std::string(3 * kChunkHeadroom, 'x') + "\"}";
  for (const std::string end : {"", "\n", "\r\n{}"}) {
    const std::string text = "\xef\xbb\xbf" + line + end;
    auto fs = std::make_shared<arrow::fs::internal::MockFileSystem>(arrow::fs::TimePoint{});
    ASSERT_TRUE(fs->CreateFile("file", text).ok());
    for (const int64_t chunk_bytes : {4096, 1 << 20}) {
      LineReader reader({{.fs = fs,
                          .path = "file",
                          .compression = Compression::kNone,
                          .size = static_cast<int64_t>(text.size()),
                          .chunk_bytes = chunk_bytes,
                          .pool = arrow::default_memory_pool()}});
      Read read;
      do {
        EXPECT_EQ(reader.next(), 0);
        read = reader.read({.rows = 1, .bytes = 1 << 20}, /*wait=*/true).ValueOrDie();
        ASSERT_EQ(read.kind, Read::Kind::kRows);
      } while (read.raw->rows() == 0);
      EXPECT_EQ(read.raw->position[0], 3);
      EXPECT_EQ(read.raw->row(0), line);
    }
  }
}

TEST(LineReader, TellsAClosedObjectFromItsBegins) {
  for (const std::string line : {R"({})", R"({"a":1})", R"( {"a":"}\"{", "b":[{"c":"]"},[]], "d":"\\"} )"}) {
    EXPECT_TRUE(IsClosed(line)) << line;
    EXPECT_TRUE(IsClosed(line + "\r")) << line;
    EXPECT_FALSE(IsClosed(line + "x")) << line;
    for (size_t size = line.find('{') + 1; size < line.rfind('}'); ++size)
      EXPECT_FALSE(IsClosed(line.substr(0, size))) << line.substr(0, size);
  }
  EXPECT_TRUE(IsClosed(" \t\r"));
  for (const char* line : {"12", "\"a\"", "[{}]", "x{}", "}", "\\"}) EXPECT_FALSE(IsClosed(line)) << line;
}

}  // namespace
}  // namespace frazil::file
