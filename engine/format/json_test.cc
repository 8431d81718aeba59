#include "format/json.h"

#include <arrow/array.h>
#include <arrow/util/key_value_metadata.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/limits.h"
#include "format/json_object.h"

namespace frazil {
namespace {

using arrow::field;
using Metadata = std::vector<std::pair<std::string, std::string>>;

std::shared_ptr<arrow::Field> Field(const std::string& name, std::shared_ptr<arrow::DataType> type,
                                    const Metadata& metadata = {}, bool nullable = true) {
  std::vector<std::string> keys, values;
  for (const auto& [key, value] : metadata) keys.push_back(key), values.push_back(value);
  return field(name, std::move(type), nullable, arrow::key_value_metadata(keys, values));
}

RawBatch Rows(const std::vector<std::string>& rows, const std::string& between = "") {
  RawBatch raw;
  raw.place = "orders-3";
  std::string bytes;
  for (const auto& row : rows) {
    raw.offset.push_back(static_cast<uint32_t>(bytes.size()));
    raw.length.push_back(static_cast<uint32_t>(row.size()));
    raw.position.push_back(1000 + static_cast<int64_t>(raw.position.size()));
    bytes += row + between;  // with nothing between the rows: a row must never read its neighbour
  }
  bytes.append(kRawPadding, '}');
  raw.data = arrow::Buffer::FromString(std::move(bytes));
  return raw;
}

Decoded Decode(const arrow::FieldVector& fields, const std::vector<std::string>& rows,
               JsonOptions options = {}, const std::string& between = "") {
  auto decoder = MakeJsonDecoder(arrow::schema(fields), options, arrow::default_memory_pool());
  EXPECT_TRUE(decoder.ok()) << decoder.status().ToString();
  auto decoded = (*decoder)->decode(Rows(rows, between));
  EXPECT_TRUE(decoded.ok()) << decoded.status().ToString();
  EXPECT_TRUE(decoded->rows->ValidateFull().ok()) << decoded->rows->ValidateFull().ToString();
  return std::move(decoded).ValueOrDie();
}

// The value of field "x" of type `type` for a JSON value, as Arrow prints it; "! <column> <reason>" if it is
// rejected.
std::string One(const std::shared_ptr<arrow::DataType>& type, const std::string& json,
                const Metadata& metadata = {}, JsonOptions options = {}) {
  const Decoded decoded = Decode({Field("x", type, metadata)}, {"{\"x\":" + json + "}"}, options);
  if (!decoded.rejected.empty()) return "! " + decoded.rejected[0].column + " " + decoded.rejected[0].reason;
  return decoded.rows->column(0)->GetScalar(0).ValueOrDie()->ToString();
}

// The reason for which a whole row is rejected, "" if it is not.
std::string Reason(const std::string& row) {
  const Decoded decoded = Decode({Field("x", arrow::int64())}, {row});
  return decoded.rejected.empty() ? "" : decoded.rejected[0].reason;
}

std::string ConfigError(const std::shared_ptr<arrow::Field>& one) {
  auto decoder = MakeJsonDecoder(arrow::schema({one}), {}, arrow::default_memory_pool());
  EXPECT_FALSE(decoder.ok());
  EXPECT_EQ(KindOf(decoder.status()), ErrorKind::kConfig);
  return MessageOf(decoder.status());
}

TEST(Json, ReadsColumnsInAnyOrderAndSkipsTheRest) {
  const Decoded decoded =
      Decode({field("b", arrow::utf8()), field("a", arrow::int64())},
             {R"({"a":1,"b":"one"})", R"( { "b" : "two" , "z" : {"a":[9,{"b":8}]} , "a" : 2 } )",
              R"({"b":"three"})", "{}"});
  EXPECT_TRUE(decoded.rejected.empty());
  EXPECT_TRUE(decoded.kept.empty());
  EXPECT_EQ(decoded.rows->column(0)->ToString(), "[\n  \"one\",\n  \"two\",\n  \"three\",\n  null\n]");
  EXPECT_EQ(decoded.rows->column(1)->ToString(), "[\n  1,\n  2,\n  null,\n  null\n]");
}

// A bad row after each good one, in the data with `between` behind each row.
void ExpectBadRowsCostOnlyThemselves(const std::vector<std::string>& bad, const std::string& between) {
  arrow::FieldVector fields = {field("a", arrow::int64()), field("b", arrow::utf8())};
  std::vector<std::string> rows;
  for (size_t i = 0; i < bad.size(); ++i) {
    rows.push_back(R"({"a":)" + std::to_string(i) + R"(,"b":"good"})");
    rows.push_back(bad[i]);
  }
  rows.push_back(R"({"a":-1,"b":"last"})");
  const Decoded decoded = Decode(fields, rows, {}, between);
  ASSERT_EQ(decoded.rejected.size(), bad.size());
  ASSERT_EQ(decoded.rows->num_rows(), static_cast<int64_t>(bad.size()) + 1);
  ASSERT_EQ(decoded.kept.size(), bad.size() + 1);
  const auto& a = static_cast<const arrow::Int64Array&>(*decoded.rows->column(0));
  for (size_t i = 0; i < bad.size(); ++i) {
    EXPECT_EQ(decoded.kept[i], static_cast<int32_t>(2 * i));
    EXPECT_EQ(a.Value(static_cast<int64_t>(i)), static_cast<int64_t>(i));
    EXPECT_EQ(decoded.rejected[i].position, 1000 + static_cast<int64_t>(2 * i + 1));
    EXPECT_EQ(decoded.rejected[i].place, "orders-3");
    EXPECT_EQ(decoded.rejected[i].raw, bad[i]);
    EXPECT_FALSE(decoded.rejected[i].reason.empty()) << bad[i];
  }
}

TEST(Json, BadRowsCostOnlyThemselves) {
  const std::vector<std::string> bad = {R"({"a":1,"b":"x")",
                                        R"({"a":1,"b":"x"}})",
                                        R"({"a":1,"b":"x)",
                                        R"({"a":1,"b":)",
                                        R"({"a":1 "b":"x"})",
                                        R"({"a":"1"})",
                                        R"({"a":1,})",
                                        R"([1])",
                                        "",
                                        "   ",
                                        "{\"a\":1,\"b\":\"\xff\"}",
                                        R"({"a":1,"z":[}])",
                                        R"({"a":1,"z":[1,2})",
                                        R"({"a":1}{"a":2})",
                                        "{\"a\":1,\"b\":\"\x01\"}",
                                        R"({"a":1.5})",
                                        R"({"a":1,"b":"\ud800"})",
                                        R"({"a":1,"b":"\q"})",
                                        R"({"a":tru})",
                                        R"({a:1})",
                                        R"({"a":1,"b":"x"},)",
                                        R"({"a":01})",
                                        R"("a")",
                                        R"({"a":1,"z":})",
                                        R"({"a":1,"z":[)",
                                        R"("b":"x"]})",
                                        R"({"a":1,"z":{)",
                                        R"("b":"x"}})",
                                        R"({"a":1}\)",
                                        R"({"a":1,"b":"x\)",
                                        R"(x"})",
                                        "{\"a\":1,\"b\":\"\xe2\x82",
                                        "\xac\"}"};
  // With a line end behind it a row is indexed together with others, if they have no error of their own.
  for (const std::string between : {"", "\n", "\r\n", " ", " \n", "\n \t\n", "\nx"}) {
    SCOPED_TRACE(nlohmann::json(between).dump());
    ExpectBadRowsCostOnlyThemselves(bad, between);
    for (const std::string& one : bad) ExpectBadRowsCostOnlyThemselves({one}, between);
  }
}

TEST(Json, ManyLinesAreAsManyRows) {
  // More than are indexed together, some of them bad and some longer than that.
  std::vector<std::string> rows;
  for (int i = 0; i < 20'000; ++i) {
    rows.push_back(R"({"a":)" + std::to_string(i) + R"(,"b":"\u0041)" + std::string(i % 40, '-') + "\"}");
    if (i % 977 == 5) rows.back().pop_back();
    if (i % 5000 != 7) continue;
    rows.back() = R"({"z":")";
    rows.back().append(100'000, 'z').append(R"(","a":)" + std::to_string(i) + R"(,"b":"long"})");
  }
  const arrow::FieldVector fields = {field("a", arrow::int64()), field("b", arrow::utf8())};
  const Decoded alone = Decode(fields, rows), together = Decode(fields, rows, {}, "\n");
  EXPECT_EQ(alone.rejected.size(), 21U);
  EXPECT_TRUE(together.rows->Equals(*alone.rows));
  EXPECT_EQ(together.kept, alone.kept);
  EXPECT_EQ(together.rows->column(1)->GetScalar(2).ValueOrDie()->ToString(), "A--");
}

TEST(Json, SaysWhatWasExpected) {
  EXPECT_EQ(One(arrow::int64(), R"("abc")"), R"(! x expected number, got "abc")");
  EXPECT_EQ(One(arrow::int64(), "1.5"), "! x expected integer, got 1.5");
  EXPECT_EQ(One(arrow::int8(), "128"), "! x 128 is outside the range of int8");
  EXPECT_EQ(One(arrow::utf8(), "5"), "! x expected string, got 5");
  EXPECT_EQ(One(arrow::utf8(), R"({"a":1})"), R"(! x expected string, got {"a":1})");
  EXPECT_EQ(One(arrow::boolean(), "1"), "! x expected true or false, got 1");
  EXPECT_EQ(Reason("[1]"), "expected object, got [1]");
  EXPECT_EQ(Reason(R"({"x":1} 2)"), "expected the end of the row, got 2");
  EXPECT_EQ(Reason(R"({"x":1)"), "expected ',' or '}' after a value, got the end of the row");
  EXPECT_EQ(Reason("{\"y\":\"\xc3\"}"), "not valid UTF-8");
  EXPECT_EQ(Reason(R"({"y":")"), "a string is not closed");
  EXPECT_EQ(Reason(""), "empty row");
  EXPECT_EQ(Reason(R"({"y":[}})"), "brackets do not match");
  EXPECT_EQ(One(arrow::list(arrow::struct_({field("p", arrow::int32())})), R"([{"p":1},{"p":"x"}])"),
            R"(! x at x[1].p: expected number, got "x")");
  EXPECT_EQ(One(arrow::int64(), "\"" + std::string(100, 'q') + "\"").size(),
            std::string("! x expected number, got ").size() + 63);
  const Decoded missing = Decode({Field("x", arrow::int64(), {}, false)}, {"{}", R"({"x":null})"});
  ASSERT_EQ(missing.rejected.size(), 2U);
  EXPECT_EQ(missing.rejected[0].reason,
            "the field is missing, its column is not nullable and has no default");
  EXPECT_EQ(missing.rejected[1].reason, "null where the column is not nullable");
  EXPECT_EQ(missing.rejected[1].column, "x");
}

TEST(Json, ANumberEndsWithItsRow) {
  // Rows lie side by side, and the next one begins with a digit.
  const Decoded decoded = Decode({field("x", arrow::int64())}, {R"({"x":15)", R"(5})"});
  ASSERT_EQ(decoded.rejected.size(), 2U);
  EXPECT_EQ(decoded.rejected[0].reason, "expected ',' or '}' after a value, got the end of the row");
}

TEST(Json, ReadsNumbers) {
  EXPECT_EQ(One(arrow::int64(), "-9223372036854775808"), "-9223372036854775808");
  EXPECT_EQ(One(arrow::int64(), "9223372036854775808"),
            "! x 9223372036854775808 is outside the range of int64");
  EXPECT_EQ(One(arrow::uint64(), "18446744073709551615"), "18446744073709551615");
  EXPECT_EQ(One(arrow::uint64(), "18446744073709551616"),
            "! x 18446744073709551616 is outside the range of uint64");
  EXPECT_EQ(One(arrow::uint8(), "-1"), "! x -1 is outside the range of uint8");
  EXPECT_EQ(One(arrow::uint8(), "-0"), "0");
  EXPECT_EQ(One(arrow::int32(), "1.0"), "1");
  EXPECT_EQ(One(arrow::int32(), "1e3"), "1000");
  EXPECT_EQ(One(arrow::int32(), "25000e-3"), "25");
  EXPECT_EQ(One(arrow::float64(), "0.1"), "0.1");
  EXPECT_EQ(One(arrow::float64(), "1e400"), "! x 1e400 is outside the range of double");
  EXPECT_EQ(One(arrow::float64(), "1e-400"), "0");
  EXPECT_EQ(One(arrow::float64(), "-0"), "-0");
  EXPECT_EQ(One(arrow::float32(), "16777217"), "16777216");
  EXPECT_EQ(One(arrow::float32(), "3.5e38"), "! x 3.5e38 is outside the range of float");
  for (const char* bad : {"01", "1.", ".5", "+1", "1e", "-", "1x", "0x1", "NaN", "Infinity", "1 2"}) {
    EXPECT_EQ(One(arrow::float64(), bad)[0], '!') << bad;
    EXPECT_EQ(One(arrow::int64(), bad)[0], '!') << bad;
    EXPECT_EQ(One(arrow::decimal128(9, 2), bad)[0], '!') << bad;
  }
}

TEST(Json, ReadsDecimalsExactly) {
  const auto money = arrow::decimal128(9, 2);
  EXPECT_EQ(One(money, "0.1"), "0.10");
  EXPECT_EQ(One(money, "1234567.89"), "1234567.89");
  EXPECT_EQ(One(money, "12345678.9"), "! x 12345678.9 is outside the range of decimal128(9, 2)");
  EXPECT_EQ(One(money, "1.005"), "! x 1.005 has more digits after the point than decimal128(9, 2) holds");
  EXPECT_EQ(One(money, "1.500"), "1.50");
  EXPECT_EQ(One(money, R"("-12.34")"), "-12.34");
  EXPECT_EQ(One(money, R"(" 1")")[0], '!');
  EXPECT_EQ(One(money, R"("")")[0], '!');
  EXPECT_EQ(One(money, "12e1"), "120.00");
  EXPECT_EQ(One(money, "1250e-3"), "1.25");
  EXPECT_EQ(One(money, "1e999999999"), "! x 1e999999999 is outside the range of decimal128(9, 2)");
  EXPECT_EQ(One(money, "0e999999999"), "0.00");
  EXPECT_EQ(One(arrow::decimal128(38, 0), "99999999999999999999999999999999999999"),
            "99999999999999999999999999999999999999");
  EXPECT_EQ(One(arrow::decimal128(38, 0), "100000000000000000000000000000000000000")[0], '!');
  EXPECT_EQ(One(arrow::decimal256(76, 2), "-" + std::string(74, '9') + ".99"),
            "-" + std::string(74, '9') + ".99");
  EXPECT_EQ(One(arrow::decimal256(76, 2), "1" + std::string(74, '0'))[0], '!');
  EXPECT_EQ(One(arrow::decimal128(3, -2), "12300"), "1.23E+4");
}

TEST(Json, ReadsStrings) {
  EXPECT_EQ(One(arrow::utf8(), R"("a\"\\\/\b\f\n\r\t\u00e9\u20ac\ud83d\ude00z")"),
            "a\"\\/\b\f\n\r\t\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z");
  const Decoded nul = Decode({field("x", arrow::large_utf8())}, {R"({"x":"a\u0000b"})"});
  EXPECT_EQ(static_cast<const arrow::LargeStringArray&>(*nul.rows->column(0)).GetString(0),
            std::string("a\0b", 3));
  for (const char* bad : {R"("\ud83d")", R"("\ude00")", R"("\ud83dx")", R"("\ud83d\n")", R"("\u12")",
                          R"("\u12G4")", R"("\x")"}) {
    EXPECT_EQ(One(arrow::utf8(), bad)[0], '!') << bad;
  }
  const std::string longer(100'000, 'y');
  EXPECT_EQ(One(arrow::utf8(), "\"" + longer + "\""), longer);
  EXPECT_EQ(One(arrow::utf8(), "\"" + longer + "\\n\""), longer + "\n");
  EXPECT_EQ(One(arrow::utf8(), "null"), "null");
  EXPECT_EQ(One(arrow::utf8(), "nul")[0], '!');
  EXPECT_EQ(One(arrow::utf8(), "nullx")[0], '!');
}

TEST(Json, ReadsBinaryFromBase64) {
  const Decoded decoded =
      Decode({field("x", arrow::binary())},
             {R"({"x":"AAH/"})", R"({"x":"QQ=="})", R"({"x":""})", R"({"x":"QUI="})", R"({"x":"\/\/8="})"});
  const auto& x = static_cast<const arrow::BinaryArray&>(*decoded.rows->column(0));
  EXPECT_EQ(x.GetString(0), std::string("\0\x01\xff", 3));
  EXPECT_EQ(x.GetString(1), "A");
  EXPECT_EQ(x.GetString(2), "");
  EXPECT_EQ(x.GetString(3), "AB");
  EXPECT_EQ(x.GetString(4), "\xff\xff");
  for (const char* bad : {R"("Q")", R"("QQ=")", R"("QQ==QQ==")", R"("=QQQ")", R"("Q-_Q")", "5"})
    EXPECT_EQ(One(arrow::binary(), bad)[0], '!') << bad;
}

TEST(Json, ReadsTimes) {
  const auto us = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
  EXPECT_EQ(One(us, R"("2026-01-01T00:00:00Z")"), "2026-01-01 00:00:00.000000Z");
  EXPECT_EQ(One(us, R"("2026-01-01T01:30:00.5+01:30")"), "2026-01-01 00:00:00.500000Z");
  EXPECT_EQ(One(us, R"("2026-01-01T00:00:00.1234567Z")"),
            R"(! x "2026-01-01T00:00:00.1234567Z" has more digits than timestamp[us, tz=UTC] holds)");
  EXPECT_EQ(One(us, R"("2026-01-01T00:00:00.1234567Z")", {}, {.truncate_times = true}),
            "2026-01-01 00:00:00.123456Z");
  EXPECT_EQ(One(us, "1767225600000"),
            "! x expected ISO 8601 timestamp, got 1767225600000; set the field's time_unit to read numbers");
  EXPECT_EQ(One(us, "1767225600001", {{"fz:time_unit", "ms"}}), "2026-01-01 00:00:00.001000Z");
  EXPECT_EQ(One(us, "1767225600.25", {{"fz:time_unit", "s"}}), "2026-01-01 00:00:00.250000Z");
  EXPECT_EQ(One(us, "-1", {{"fz:time_unit", "ns"}})[0], '!');
  EXPECT_EQ(One(us, "-1", {{"fz:time_unit", "ns"}}, {.truncate_times = true}), "1969-12-31 23:59:59.999999Z");
  EXPECT_EQ(One(us, "9e18", {{"fz:time_unit", "s"}}),
            "! x 9e18 is outside the range of timestamp[us, tz=UTC]");
  EXPECT_EQ(One(us, R"("2026-01-01")", {{"fz:time_unit", "ms"}}), "2026-01-01 00:00:00.000000Z");
  EXPECT_EQ(One(arrow::timestamp(arrow::TimeUnit::NANO), R"("2262-04-12T00:00:00")")[0], '!');
  EXPECT_EQ(One(arrow::date32(), R"("2024-02-29")"), "2024-02-29");
  EXPECT_EQ(One(arrow::date32(), R"("2023-02-29")"), R"(! x expected date YYYY-MM-DD, got "2023-02-29")");
  EXPECT_EQ(One(arrow::date32(), "-1", {{"fz:time_unit", "d"}}), "1969-12-31");
  EXPECT_EQ(One(arrow::date32(), "86400", {{"fz:time_unit", "s"}}), "1970-01-02");
  EXPECT_EQ(One(arrow::date32(), "86401", {{"fz:time_unit", "s"}})[0], '!');
  EXPECT_EQ(One(arrow::time64(arrow::TimeUnit::MICRO), R"("23:59:59.000001")"), "23:59:59.000001");
  EXPECT_EQ(One(arrow::time32(arrow::TimeUnit::MILLI), "86400000", {{"fz:time_unit", "ms"}})[0], '!');
  EXPECT_EQ(One(arrow::duration(arrow::TimeUnit::MICRO), R"("PT1M0.5S")"), "60500000");
  EXPECT_EQ(One(arrow::duration(arrow::TimeUnit::MICRO), "-7"), "-7");
}

TEST(Json, ReadsNested) {
  EXPECT_EQ(One(arrow::list(arrow::int32()), "[1,null,3]"), "list<item: int32>[1, null, 3]");
  EXPECT_EQ(One(arrow::large_list(arrow::list(arrow::utf8())), R"([["a"],[],null])"),
            "large_list<item: list<item: string>>[list<item: string>[a], list<item: string>[], null]");
  EXPECT_EQ(
      One(arrow::struct_({field("a", arrow::int32()), field("b", arrow::utf8())}), R"({"b":"q","z":[1]})"),
      "{a:int32 = null, b:string = q}");
  const Decoded map = Decode({field("x", arrow::map(arrow::utf8(), arrow::int32()))},
                             {R"({"x":{"b":1,"a":2,"\u0062":3}})", R"({"x":{}})", R"({"x":null})"});
  EXPECT_TRUE(map.rejected.empty());
  const auto& maps = static_cast<const arrow::MapArray&>(*map.rows->column(0));
  EXPECT_EQ(maps.keys()->ToString(), "[\n  \"b\",\n  \"a\"\n]");
  EXPECT_EQ(maps.items()->ToString(), "[\n  3,\n  2\n]");
  EXPECT_TRUE(maps.IsNull(2));
  EXPECT_EQ(One(arrow::null(), "null"), "null");
  EXPECT_EQ(One(arrow::null(), "1"), "! x expected null, got 1");
  EXPECT_EQ(One(arrow::list(arrow::int32()), "[1,]")[0], '!');
  EXPECT_EQ(One(arrow::list(arrow::int32()), "[,1]")[0], '!');
}

TEST(Json, TheLastDuplicateCounts) {
  const arrow::FieldVector fields = {field("a", arrow::utf8()), field("l", arrow::list(arrow::int32())),
                                     field("n", arrow::int64())};
  const Decoded decoded = Decode(
      fields, {R"({"a":"long text","l":[1,2,3],"n":null,"a":"b","l":null,"n":7,"a":null,"a":"c","l":[4]})"});
  ASSERT_TRUE(decoded.rejected.empty());
  EXPECT_EQ(decoded.rows->column(0)->ToString(), "[\n  \"c\"\n]");
  EXPECT_EQ(decoded.rows->column(1)->GetScalar(0).ValueOrDie()->ToString(), "list<item: int32>[4]");
  EXPECT_EQ(decoded.rows->column(2)->ToString(), "[\n  7\n]");
}

TEST(Json, FollowsSources) {
  const arrow::FieldVector fields = {
      Field("id", arrow::int64(), {{"fz:source", "user.id"}}),
      Field("dotted", arrow::int64(), {{"fz:source", "/user/a.b"}}),
      Field("whole", arrow::struct_({field("id", arrow::int64())}), {{"fz:source", R"(["user"])"}}),
      Field("again", arrow::int64(), {{"fz:source", "user.id"}})};
  const Decoded decoded = Decode(fields, {R"({"user":{"id":1,"a.b":2}})", R"({"user":null})", "{}",
                                          R"({"user":5})", R"({"user":{"id":1,"a.b":2},"user":{"id":3}})"});
  ASSERT_EQ(decoded.rejected.size(), 1U);
  EXPECT_EQ(decoded.rejected[0].reason, "expected object, got 5");
  EXPECT_EQ(decoded.rejected[0].column, "whole");
  EXPECT_EQ(decoded.rows->column(0)->ToString(), "[\n  1,\n  null,\n  null,\n  3\n]");
  EXPECT_EQ(decoded.rows->column(1)->ToString(), "[\n  2,\n  null,\n  null,\n  null\n]");
  EXPECT_EQ(decoded.rows->column(3)->ToString(), "[\n  1,\n  null,\n  null,\n  3\n]");
}

TEST(Json, TakesDefaultsForMissingFieldsOnly) {
  const arrow::FieldVector fields = {Field("a", arrow::utf8(), {{"fz:default", R"("none")"}}, false),
                                     Field("b", arrow::list(arrow::int32()), {{"fz:default", "[1, 2]"}})};
  const Decoded decoded = Decode(fields, {"{}", R"({"a":"x","b":null})", R"({"a":null})"});
  ASSERT_EQ(decoded.rejected.size(), 1U);
  EXPECT_EQ(decoded.rows->column(0)->ToString(), "[\n  \"none\",\n  \"x\"\n]");
  EXPECT_EQ(decoded.rows->column(1)->GetScalar(0).ValueOrDie()->ToString(), "list<item: int32>[1, 2]");
  EXPECT_TRUE(decoded.rows->column(1)->IsNull(1));
}

TEST(Json, BoundsNesting) {
  const auto nested = [](int levels) {
    return R"({"y":)" + std::string(static_cast<size_t>(levels), '[') +
           std::string(static_cast<size_t>(levels), ']') + "}";
  };
  EXPECT_EQ(Reason(nested(limits::kJsonDepth - 1)), "");
  EXPECT_EQ(Reason(nested(limits::kJsonDepth)), "nested deeper than 64 levels");
  EXPECT_EQ(Reason(nested(100'000)), "nested deeper than 64 levels");
  auto type = arrow::int64();
  for (int i = 0; i < 2 * limits::kJsonDepth; ++i) type = arrow::list(type);
  EXPECT_EQ(ConfigError(field("x", type)), "field \"x\": type nested deeper than 64 levels\n  flatten it");
}

TEST(Json, RefusesWhatItCannotRead) {
  EXPECT_EQ(ConfigError(field("x", arrow::dictionary(arrow::int8(), arrow::utf8())))
                .rfind("field \"x\": type dictionary", 0),
            0U);
  EXPECT_EQ(ConfigError(Field("x", arrow::int64(), {{"fz:default", R"("a")"}})),
            R"(field "x": default "a": expected number, got "a")");
  EXPECT_EQ(ConfigError(Field("x", arrow::int64(), {{"fz:default", "{"}})).rfind("field \"x\": default", 0),
            0U);
  EXPECT_EQ(ConfigError(Field("x", arrow::int64(), {{"fz:default", "1 2"}})),
            "field \"x\": default 1 2: expected one value, got 2");
  EXPECT_EQ(
      ConfigError(Field("x", arrow::int64(), {{"fz:source", "a..b"}})).rfind("field \"x\": empty key", 0),
      0U);
  EXPECT_EQ(ConfigError(Field("x", arrow::date32(), {{"fz:time_unit", "h"}})),
            "field \"x\": unknown time_unit \"h\"\n  known are: s, ms, us, ns, iso");
  EXPECT_EQ(ConfigError(Field("x", arrow::utf8(), {{"fz:time_unit", "s"}})),
            "field \"x\": time_unit does not go with type string");
  EXPECT_FALSE(ParseJsonOptions(nlohmann::json{{"kind", "json"}, {"nope", true}}).ok());
  EXPECT_FALSE(ParseJsonOptions(nlohmann::json{{"truncate_times", 1}}).ok());
  EXPECT_TRUE(ParseJsonOptions(nlohmann::json{{"kind", "json"}, {"truncate_times", true}})->truncate_times);
}

TEST(Json, TombstonesAreRejected) {
  RawBatch raw = Rows({R"({"x":1})", "", R"({"x":2})"});
  raw.length[1] = RawBatch::kNullRow;
  auto decoder =
      MakeJsonDecoder(arrow::schema({field("x", arrow::int64())}), {}, arrow::default_memory_pool())
          .ValueOrDie();
  auto decoded = decoder->decode(raw).ValueOrDie();
  ASSERT_EQ(decoded.rejected.size(), 1U);
  EXPECT_EQ(decoded.rejected[0].reason, "the row has no value (a tombstone)");
  EXPECT_EQ(decoded.kept, (std::vector<int32_t>{0, 2}));
}

TEST(Json, CutsTheRawOfARejectedRow) {
  const std::string row = R"({"x":")" + std::string(100'000, 'a') + "\"}";
  const Decoded decoded = Decode({field("x", arrow::int64())}, {row});
  ASSERT_EQ(decoded.rejected.size(), 1U);
  EXPECT_EQ(decoded.rejected[0].raw.size(), static_cast<size_t>(limits::kRejectedRawBytes));
  EXPECT_EQ(decoded.rejected[0].raw_bytes, static_cast<int64_t>(row.size()));
}

TEST(Json, KeepsItsColumnsApartOverBatches) {
  auto decoder = MakeJsonDecoder(arrow::schema({field("s", arrow::utf8())}), {}, arrow::default_memory_pool())
                     .ValueOrDie();
  auto first = decoder->decode(Rows({R"({"s":"one"})", R"({"s":null})"})).ValueOrDie();
  auto second = decoder->decode(Rows({R"({"s":"two"})"})).ValueOrDie();
  auto empty = decoder->decode(Rows({})).ValueOrDie();
  EXPECT_EQ(first.rows->column(0)->ToString(), "[\n  \"one\",\n  null\n]");
  EXPECT_EQ(second.rows->column(0)->ToString(), "[\n  \"two\"\n]");
  EXPECT_EQ(empty.rows->num_rows(), 0);
  EXPECT_TRUE(empty.rows->ValidateFull().ok());
}

}  // namespace
}  // namespace frazil
