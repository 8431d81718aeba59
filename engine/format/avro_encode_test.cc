#include "format/avro_encode.h"

#include <arrow/api.h>
#include <gtest/gtest.h>

namespace frazil {
namespace {

using arrow::field;

std::string Record(const std::string& type) {
  return R"({"type":"record","name":"R","fields":[{"name":"x","type":)" + type + "}]}";
}

// The bytes of the first row behind the header, or what is wrong.
std::string Written(const std::string& type, const std::shared_ptr<arrow::Array>& values) {
  const auto schema = arrow::schema({field("x", values->type())});
  const auto rows = arrow::RecordBatch::Make(schema, values->length(), {values});
  const auto made = AvroEncoder::Make(*schema, {Record(type)}, 258);
  if (!made.ok()) return MessageOf(made.status());
  EXPECT_TRUE((*made)->Begin(*rows).ok());
  std::string out;
  const Status status = (*made)->Append(0, &out);
  if (!status.ok()) return MessageOf(status);
  EXPECT_EQ(out.substr(0, 5), std::string("\0\0\0\1\2", 5));
  return out.substr(5);
}

template <typename Builder, typename... Values>
std::shared_ptr<arrow::Array> Array(const std::shared_ptr<arrow::DataType>& type, Values... values) {
  Builder builder(type, arrow::default_memory_pool());
  EXPECT_TRUE((builder.Append(values).ok() && ...));
  return builder.Finish().ValueOrDie();
}

std::string Bytes(const char* text, size_t size) { return {text, size}; }

TEST(AvroEncode, NumbersAndTexts) {
  EXPECT_EQ(Written(R"("long")", Array<arrow::Int64Builder>(arrow::int64(), INT64_MIN)),
            std::string(9, '\xff') + '\1');
  EXPECT_EQ(Written(R"("long")", Array<arrow::Int8Builder>(arrow::int8(), int8_t{-3})), "\5");
  EXPECT_EQ(Written(R"(["null","string"])", Array<arrow::StringBuilder>(arrow::utf8(), "ab")), "\2\4ab");
  EXPECT_EQ(Written(R"(["string","null"])", arrow::MakeArrayOfNull(arrow::utf8(), 1).ValueOrDie()), "\2");
  EXPECT_EQ(Written(R"({"type":"enum","name":"E","symbols":["a","ab"]})",
                    Array<arrow::StringBuilder>(arrow::utf8(), "ab")),
            "\2");
}

TEST(AvroEncode, DecimalsHaveAsFewBytesAsHoldThem) {
  const std::string type = R"({"type":"bytes","logicalType":"decimal","precision":9,"scale":2})";
  const auto money = [](int64_t value) {
    return Array<arrow::Decimal128Builder>(arrow::decimal128(9, 2), arrow::Decimal128(value));
  };
  EXPECT_EQ(Written(type, money(0)), Bytes("\2\0", 2));
  EXPECT_EQ(Written(type, money(127)), "\2\x7f");
  EXPECT_EQ(Written(type, money(128)), Bytes("\4\0\x80", 3));
  EXPECT_EQ(Written(type, money(-128)), "\2\x80");
  EXPECT_EQ(Written(type, money(-129)), "\4\xff\x7f");
  const std::string fixed =
      R"({"type":"fixed","name":"F","size":3,"logicalType":"decimal","precision":5,"scale":3})";
  const auto narrow = Array<arrow::Decimal128Builder>(arrow::decimal128(4, 2), arrow::Decimal128(-1));
  EXPECT_EQ(Written(fixed, narrow), "\xff\xff\xf6");
  EXPECT_NE(Written(fixed, money(1)).find("the column is decimal128(9, 2)"), std::string::npos);
}

TEST(AvroEncode, TimesAreNotCut) {
  const std::string millis = R"({"type":"long","logicalType":"timestamp-millis"})";
  const auto at = [](arrow::TimeUnit::type unit, const char* zone, int64_t value) {
    return Array<arrow::TimestampBuilder>(arrow::timestamp(unit, zone), value);
  };
  EXPECT_EQ(Written(millis, at(arrow::TimeUnit::SECOND, "UTC", 1)), "\xd0\xf");
  EXPECT_EQ(
      Written(millis, at(arrow::TimeUnit::SECOND, "UTC", INT64_MAX)),
      "writing Avro: field \"x\": time 9223372036854775807 is outside the range of the type in the schema");
  EXPECT_EQ(Written(millis, at(arrow::TimeUnit::MICRO, "UTC", -2000)), "\3");
  EXPECT_NE(Written(millis, at(arrow::TimeUnit::MICRO, "UTC", 1)).find("time 1 has more digits"),
            std::string::npos);
  EXPECT_NE(Written(millis, at(arrow::TimeUnit::MILLI, "", 1)).find("cast the column"), std::string::npos);
}

TEST(AvroEncode, WhatDoesNotFitIsNamed) {
  EXPECT_NE(Written(R"("string")", arrow::MakeArrayOfNull(arrow::utf8(), 1).ValueOrDie())
                .find("field \"x\": null, and the type in the schema has none"),
            std::string::npos);
  EXPECT_NE(Written(R"("int")", Array<arrow::DoubleBuilder>(arrow::float64(), 1.0))
                .find("field \"x\": the column is double, and the schema says int"),
            std::string::npos);
  EXPECT_EQ(Written(R"("int")", Array<arrow::Int64Builder>(arrow::int64(), int64_t{INT32_MIN})),
            "\xff\xff\xff\xff\xf");
  EXPECT_EQ(Written(R"("int")", Array<arrow::Int64Builder>(arrow::int64(), int64_t{1} << 31)),
            "writing Avro: field \"x\": 2147483648 is outside the range of int in the schema");
  EXPECT_EQ(Written(R"("long")", Array<arrow::UInt64Builder>(arrow::uint64(), UINT64_MAX)),
            "writing Avro: field \"x\": 18446744073709551615 is outside the range of long in the schema");
  const auto two = arrow::schema({field("x", arrow::int32()), field("y", arrow::int32())});
  EXPECT_FALSE(AvroEncoder::Make(*two, {Record(R"("int")")}, 1).ok());
  EXPECT_FALSE(AvroEncoder::Make(*two, {R"("int")"}, 1).ok());
  EXPECT_FALSE(AvroEncoder::Make(*two, {"{"}, 1).ok());
  EXPECT_FALSE(AvroEncoder::Make(*arrow::schema({two->field(0)}), {Record(R"("int")")}, -1).ok());
}

TEST(AvroEncode, SlicesAreReadFromTheirBegin) {
  const auto list = arrow::list(arrow::int32());
  arrow::ListBuilder builder(arrow::default_memory_pool(), std::make_shared<arrow::Int32Builder>());
  auto* const items = static_cast<arrow::Int32Builder*>(builder.value_builder());
  for (int n = 0; n < 3; ++n) {
    ASSERT_TRUE(builder.Append().ok());
    for (int i = 0; i < n; ++i) ASSERT_TRUE(items->Append(n).ok());
  }
  const auto lists = builder.Finish().ValueOrDie();
  const auto type = R"({"type":"array","items":["null","int"]})";
  EXPECT_EQ(Written(type, lists), Bytes("\0", 1));
  EXPECT_EQ(Written(type, lists->Slice(2)), Bytes("\4\2\4\2\4\0", 6));
  const auto made = arrow::StructArray::Make({lists->Slice(1)}, std::vector<std::string>{"l"}).ValueOrDie();
  EXPECT_EQ(
      Written(R"({"type":"record","name":"S","fields":[{"name":"l","type":)" + std::string(type) + "}]}",
              made->Slice(1)),
      Bytes("\4\2\4\2\4\0", 6));
}

}  // namespace
}  // namespace frazil
