#include "format/json_rest.h"

#include <arrow/array.h>
#include <arrow/util/key_value_metadata.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>

#include "format/json.h"
#include "format/raw_batch.h"

namespace frazil {
namespace {

using Json = nlohmann::ordered_json;

std::shared_ptr<arrow::Field> Rest(const std::string& name = "rest", bool nullable = true) {
  return arrow::field(name, arrow::utf8(), nullable, arrow::key_value_metadata({{"fz:rest", "true"}}));
}

Decoded Decode(const arrow::FieldVector& fields, const std::vector<std::string>& rows) {
  auto decoder = MakeJsonDecoder(arrow::schema(fields), {}, arrow::default_memory_pool());
  EXPECT_TRUE(decoder.ok()) << decoder.status().ToString();
  RawBatch raw;
  std::string bytes;
  for (const auto& row : rows) {
    raw.offset.push_back(static_cast<uint32_t>(bytes.size()));
    raw.length.push_back(static_cast<uint32_t>(row.size()));
    raw.position.push_back(static_cast<int64_t>(raw.position.size()));
    bytes += row;
    bytes += '\n';
  }
  bytes.append(kRawPadding, '}');
  raw.data = arrow::Buffer::FromString(std::move(bytes));
  auto decoded = (*decoder)->decode(raw);
  EXPECT_TRUE(decoded.ok()) << decoded.status().ToString();
  EXPECT_TRUE(decoded->rows->ValidateFull().ok());
  return std::move(decoded).ValueOrDie();
}

std::string Text(const arrow::Array& column, int64_t row) {
  return column.IsNull(row) ? "null" : static_cast<const arrow::StringArray&>(column).GetString(row);
}

TEST(JsonRest, HasWhatNoColumnReadsAsItIsWritten) {
  const Decoded decoded = Decode({arrow::field("a", arrow::int64()), Rest()},
                                 {R"({"a":1})", R"({"b" : [1, {"c":"\u00e9}"}] , "a":2,"d": null })",
                                  R"({"b":1.50,"a":3,"b":2})", R"({})", R"({"x":{"a":1}})"});
  ASSERT_EQ(decoded.rejected.size(), 0u);
  const auto& rest = *decoded.rows->column(1);
  EXPECT_EQ(Text(rest, 0), "null");
  EXPECT_EQ(Text(rest, 1), R"({"b" : [1, {"c":"\u00e9}"}],"d": null})");
  EXPECT_EQ(Text(rest, 2), R"({"b":1.50,"b":2})");
  EXPECT_EQ(Text(rest, 3), "null");
  EXPECT_EQ(Text(rest, 4), R"({"x":{"a":1}})");
}

TEST(JsonRest, AMemberThatIsReadInPartIsThereAsAWhole) {
  auto ip = arrow::field("ip", arrow::utf8(), true, arrow::key_value_metadata({{"fz:source", "client.ip"}}));
  const Decoded decoded = Decode({ip, Rest()}, {R"({"client":{"ip":"::1","port":1}})"});
  EXPECT_EQ(Text(*decoded.rows->column(0), 0), "::1");
  EXPECT_EQ(Text(*decoded.rows->column(1), 0), R"({"client":{"ip":"::1","port":1}})");
}

TEST(JsonRest, OfStructsInLists) {
  auto item = arrow::struct_({arrow::field("a", arrow::int64()), Rest("more")});
  const Decoded decoded = Decode({arrow::field("items", arrow::list(item)), Rest()},
                                 {R"({"items":[{"a":1,"b":2},{"a":3},null,{"c":[]}],"z":0})"});
  ASSERT_EQ(decoded.rejected.size(), 0u);
  const auto& list = static_cast<const arrow::ListArray&>(*decoded.rows->column(0));
  const auto& more = *static_cast<const arrow::StructArray&>(*list.values()).field(1);
  EXPECT_EQ(Text(more, 0), R"({"b":2})");
  EXPECT_EQ(Text(more, 1), "null");
  EXPECT_EQ(Text(more, 3), R"({"c":[]})");
  EXPECT_EQ(Text(*decoded.rows->column(1), 0), R"({"z":0})");
}

TEST(JsonRest, WhatIsNoJsonCostsItsRow) {
  const Decoded decoded = Decode({arrow::field("a", arrow::int64()), Rest()},
                                 {R"({"a":1,"b":tru})", R"({"a":2,"b":{"c" 1}})", R"({"a":3,"b":4})",
                                  R"({"b":1,"a":"x"})", R"({"b":5,"a":6})"});
  ASSERT_EQ(decoded.rejected.size(), 3u);
  EXPECT_EQ(decoded.rejected[0].column, "rest");
  EXPECT_EQ(decoded.rejected[0].reason, "members that no column reads are not JSON: {\"b\":tru}");
  EXPECT_EQ(decoded.rejected[2].column, "a");
  ASSERT_EQ(decoded.rows->num_rows(), 2);
  EXPECT_EQ(Text(*decoded.rows->column(1), 0), R"({"b":4})");
  EXPECT_EQ(Text(*decoded.rows->column(1), 1), R"({"b":5})");
}

TEST(JsonRest, RefusesOtherFields) {
  const auto why = [](const arrow::FieldVector& fields) {
    return MakeJsonDecoder(arrow::schema(fields), {}, arrow::default_memory_pool()).status().ToString();
  };
  EXPECT_NE(why({Rest("rest", false)}).find("is a nullable string"), std::string::npos);
  EXPECT_NE(why({Rest("one"), Rest("two")}).find("\"two\": another one"), std::string::npos);
  auto sourced = Rest()->WithMetadata(arrow::key_value_metadata({{"fz:rest", "true"}, {"fz:source", "a"}}));
  EXPECT_NE(why({sourced}).find("has no source"), std::string::npos);
}

// Of random objects, whatever the order and number of the keys that are read: what is read and the rest make
// up the object again.
TEST(JsonRest, NothingIsLost) {
  std::mt19937_64 random(5);
  const auto below = [&](int n) { return static_cast<int>(random() % static_cast<uint64_t>(n)); };
  const std::vector<std::string> names = {"a", "b", "c", "d\"e", "f\\", "\xc3\xa9", "long name of a member",
                                          ""};
  const std::vector<Json> values = {1, "x,}", nullptr, true, Json::array({1, "]"}), {{"a", {{"b", 2}}}}, 1.5};
  std::vector<std::string> rows;
  std::vector<Json> objects;
  for (int i = 0; i < 2000; ++i) {
    Json object = Json::object();
    for (int n = below(6); n > 0; --n)
      object[names[static_cast<size_t>(below(8))]] = values[static_cast<size_t>(below(7))];
    if (object.contains("a")) object["a"] = below(100);
    objects.push_back(object);
    rows.push_back(object.dump(below(2) == 0 ? -1 : 1));
    std::erase(rows.back(), '\n');
  }
  const Decoded decoded = Decode({arrow::field("a", arrow::int64()), Rest()}, rows);
  ASSERT_EQ(decoded.rejected.size(), 0u);
  for (int64_t i = 0; i < decoded.rows->num_rows(); ++i) {
    Json left = objects[static_cast<size_t>(i)];
    left.erase("a");
    const std::string text = Text(*decoded.rows->column(1), i);
    if (left.empty()) {
      EXPECT_EQ(text, "null");
    } else {
      EXPECT_EQ(Json::parse(text), left);
    }
  }
}

}  // namespace
}  // namespace frazil
