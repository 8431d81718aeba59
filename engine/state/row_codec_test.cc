#include "state/row_codec.h"

#include <arrow/api.h>
#include <arrow/json/from_string.h>
#include <gtest/gtest.h>

#include <random>

namespace frazil {
namespace {

using Rows = std::vector<std::string>;

std::shared_ptr<arrow::Array> FromJson(const std::shared_ptr<arrow::DataType>& type,
                                       const std::string& json) {
  return arrow::json::ArrayFromJSONString(type, json).ValueOrDie();
}

Rows Encoded(const RowCodec& codec, const arrow::ArrayVector& columns) {
  Rows rows;
  for (int64_t i = 0; i < columns.front()->length(); ++i) {
    EXPECT_TRUE(codec.encode(columns, i, &rows.emplace_back()).ok());
  }
  return rows;
}

Result<arrow::ArrayVector> Decoded(const RowCodec& codec, const Rows& rows) {
  return codec.decode(std::vector<std::string_view>(rows.begin(), rows.end()), arrow::default_memory_pool());
}

RowCodec Of(const std::shared_ptr<arrow::DataType>& type) {
  return RowCodec::Make({arrow::field("v", type)}).ValueOrDie();
}

struct Case {
  std::shared_ptr<arrow::DataType> type;
  const char* json;
};

std::vector<Case> Cases() {
  const auto point =
      arrow::struct_({arrow::field("x", arrow::int16(), false), arrow::field("name", arrow::utf8())});
  return {{arrow::boolean(), "[true, null, false]"},
          {arrow::int8(), "[-1, null, 127]"},
          {arrow::uint64(), "[0, null, 18446744073709551615]"},
          {arrow::float32(), "[0.5, null, -0.0]"},
          {arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"), "[1, null, -1]"},
          {arrow::date32(), "[1, null]"},
          {arrow::time64(arrow::TimeUnit::MICRO), "[1, null]"},
          {arrow::duration(arrow::TimeUnit::MICRO), "[1, null]"},
          {arrow::decimal128(12, 2), R"(["1.25", null, "-3.00"])"},
          {arrow::fixed_size_binary(3), R"(["abc", null, "xyz"])"},
          {arrow::utf8(), R"(["", null, "ice", "øre"])"},
          {arrow::large_binary(), R"(["", null, "ice"])"},
          {arrow::list(arrow::int64()), "[[], null, [1, null, 3]]"},
          {arrow::large_list(arrow::utf8()), R"([[], null, ["a", null]])"},
          {arrow::fixed_size_list(arrow::int32(), 2), "[[1, null], null, [3, 4]]"},
          {arrow::map(arrow::utf8(), arrow::int64()), R"([[], null, [["a", 1], ["b", null]]])"},
          {point, R"([{"x": 1, "name": "a"}, null, {"x": 2, "name": null}])"},
          {arrow::list(point), R"([[{"x": 1, "name": "a"}], null, []])"},
          {arrow::list(arrow::list(arrow::boolean())), "[[[true], null, []], null, []]"},
          {arrow::struct_({}), "[{}, null]"}};
}

TEST(RowCodec, GivesBackEveryType) {
  for (const auto& [type, json] : Cases()) {
    const RowCodec codec = Of(type);
    const auto values = FromJson(type, json);
    for (int64_t from = 0; from < values->length(); ++from) {
      const auto slice = values->Slice(from);
      const auto back = Decoded(codec, Encoded(codec, {slice}));
      ASSERT_TRUE(back.ok()) << type->ToString() << ": " << back.status();
      EXPECT_TRUE(back->front()->ValidateFull().ok()) << type->ToString();
      EXPECT_TRUE(back->front()->Equals(slice)) << back->front()->ToString();
    }
  }
}

TEST(RowCodec, ARowWithoutBytesIsNull) {
  for (const auto& [type, json] : Cases()) {
    const auto back = Decoded(Of(type), {"", ""});
    ASSERT_TRUE(back.ok());
    EXPECT_TRUE(back->front()->ValidateFull().ok());
    EXPECT_EQ(back->front()->null_count(), 2);
  }
  EXPECT_EQ(Decoded(Of(arrow::utf8()), {})->front()->length(), 0);
}

TEST(RowCodec, SeveralColumns) {
  const auto codec =
      RowCodec::Make({arrow::field("a", arrow::int64()), arrow::field("b", arrow::utf8())}).ValueOrDie();
  const arrow::ArrayVector columns = {FromJson(arrow::int64(), "[1, null]"),
                                      FromJson(arrow::utf8(), R"(["x", "y"])")};
  const auto back = Decoded(codec, Encoded(codec, columns)).ValueOrDie();
  EXPECT_TRUE(back[0]->Equals(columns[0]) && back[1]->Equals(columns[1]));
  EXPECT_TRUE(RowCodec::Make({}).ValueOrDie().decode({}, arrow::default_memory_pool())->empty());
}

TEST(RowCodec, RefusesTypesAndNulls) {
  for (const auto& type : {arrow::dictionary(arrow::int8(), arrow::utf8()), arrow::utf8_view(), arrow::null(),
                           arrow::list(arrow::month_interval()), arrow::fixed_size_binary(0)}) {
    const auto made = RowCodec::Make({arrow::field("odd", type)});
    EXPECT_EQ(NameOf(made.status()), "TypeMismatch") << type->ToString();
    EXPECT_NE(made.status().message().find("\"odd\""), std::string::npos);
  }
  const auto strict = arrow::list(arrow::field("element", arrow::int64(), false));
  std::string bytes;
  const auto list = std::make_shared<arrow::ListArray>(
      strict, 1, arrow::Buffer::FromVector(std::vector<int32_t>{0, 1}), FromJson(arrow::int64(), "[null]"));
  const Status status = Of(strict).encode({list}, 0, &bytes);
  EXPECT_EQ(NameOf(status), "UdfError");
}

// Every byte changed, or cut off anywhere: an error or other values, never anything worse.
TEST(RowCodec, DamageIsAnErrorOrAnotherValue) {
  std::mt19937 rng(1);
  for (const auto& [type, json] : Cases()) {
    const RowCodec codec = Of(type);
    for (const std::string& row : Encoded(codec, {FromJson(type, json)})) {
      for (size_t size = 1; size < row.size(); ++size) {
        const auto cut = Decoded(codec, {row.substr(0, size)});
        EXPECT_EQ(KindOf(cut.status()), ErrorKind::kState) << type->ToString();
      }
      EXPECT_EQ(KindOf(Decoded(codec, {row + "x"}).status()), ErrorKind::kState);
      for (int i = 0; i < 200; ++i) {
        std::string damaged = row;
        damaged[rng() % damaged.size()] = static_cast<char>(rng());
        const auto read = Decoded(codec, {damaged});
        if (read.ok()) {
          EXPECT_TRUE(read->front()->Validate().ok());
        } else {
          EXPECT_EQ(KindOf(read.status()), ErrorKind::kState) << read.status();
        }
      }
    }
  }
}

}  // namespace
}  // namespace frazil
