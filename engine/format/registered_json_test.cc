#include "format/registered_json.h"

#include <arrow/array.h>
#include <gtest/gtest.h>

namespace frazil {
namespace {

RawBatch Rows(const std::vector<std::string>& rows) {
  RawBatch raw;
  raw.place = "orders-0";
  std::string bytes;
  for (const auto& row : rows) {
    raw.offset.push_back(static_cast<uint32_t>(bytes.size()));
    raw.length.push_back(row == "(none)" ? RawBatch::kNullRow : static_cast<uint32_t>(row.size()));
    raw.position.push_back(100 + static_cast<int64_t>(raw.position.size()));
    bytes += row;
  }
  bytes.append(kRawPadding, '}');
  raw.data = arrow::Buffer::FromString(std::move(bytes));
  return raw;
}

std::string Framed(const std::string& object) { return std::string("\0\0\0\0\7", 5) + object; }

Decoded Decode(const std::vector<std::string>& rows) {
  auto decoder = MakeRegisteredJsonDecoder(arrow::schema({arrow::field("x", arrow::int32(), false)}),
                                           arrow::default_memory_pool())
                     .ValueOrDie();
  return decoder->decode(Rows(rows)).ValueOrDie();
}

TEST(RegisteredJsonTest, ObjectsBehindTheIdAreRead) {
  const Decoded decoded = Decode({Framed(R"({"x":1})"), Framed(R"({"x":2,"y":"\n"})")});
  EXPECT_EQ(decoded.rows->column(0)->ToString(), "[\n  1,\n  2\n]");
  EXPECT_TRUE(decoded.kept.empty());
  EXPECT_TRUE(decoded.rejected.empty());
}

TEST(RegisteredJsonTest, ABadMessageCostsOnlyItself) {
  const Decoded decoded = Decode({"(none)", Framed(R"({"x":1})"), R"({"x":2})", Framed(R"({"x":"a"})"),
                                  Framed(R"({"x":3})"), Framed(""), Framed(R"({"x":4}{)")});
  EXPECT_EQ(decoded.rows->column(0)->ToString(), "[\n  1,\n  3\n]");
  EXPECT_EQ(decoded.kept, (std::vector<int32_t>{1, 4}));
  ASSERT_EQ(decoded.rejected.size(), 5U);
  EXPECT_EQ(decoded.rejected[0].reason, "the row has no value (a tombstone)");
  EXPECT_EQ(decoded.rejected[1].position, 102);
  EXPECT_NE(decoded.rejected[1].reason.find("it looks like JSON: format=\"json\""), std::string::npos);
  EXPECT_EQ(decoded.rejected[2].position, 103);
  EXPECT_EQ(decoded.rejected[2].column, "x");
  EXPECT_EQ(decoded.rejected[2].raw, Framed(R"({"x":"a"})"));
  EXPECT_EQ(decoded.rejected[4].position, 106);
}

}  // namespace
}  // namespace frazil
