#include "format/protobuf.h"

#include <arrow/array.h>
#include <arrow/util/key_value_metadata.h>
#include <gtest/gtest.h>

#include "base/limits.h"

namespace frazil {
namespace {

using arrow::field;

// Protobuf's bytes by hand.
struct Bytes {
  std::string text;

  Bytes& raw(uint64_t value) {
    for (; value >= 0x80; value >>= 7) text.push_back(static_cast<char>(value | 0x80));
    text.push_back(static_cast<char>(value));
    return *this;
  }
  Bytes& tag(uint64_t number, uint64_t wire) { return raw(number << 3 | wire); }
  Bytes& number(uint64_t field, int64_t value) { return tag(field, 0).raw(static_cast<uint64_t>(value)); }
  Bytes& bytes(uint64_t field, std::string_view value) {
    tag(field, 2).raw(value.size());
    text += value;
    return *this;
  }
  Bytes& bytes(uint64_t field, const Bytes& value) { return bytes(field, std::string_view(value.text)); }
};

std::string Field(int number, const std::string& name, const std::string& type, const std::string& label,
                  const std::string& more = "") {
  return R"({"number":)" + std::to_string(number) + R"(,"name":")" + name + R"(","type":")" + type +
         R"(","label":")" + label + "\"" + more + "}";
}

// The schema of a message M of these fields, an Item {a, self, must} (1), a map of texts to Items (2), a
// google.protobuf.Int32Value (3) and an enum.
std::string Schema(const std::string& fields) {
  return R"({"messages":[{"name":"M","fields":[)" + fields + R"(]},{"name":"Item","fields":[)" +
         Field(1, "a", "int32", "implicit") + "," + Field(2, "self", "message", "optional", R"(,"of":1)") +
         "," + Field(3, "must", "int32", "required") + R"(]},{"name":"M.KEntry","fields":[)" +
         Field(1, "key", "string", "implicit") + "," +
         Field(2, "value", "message", "optional", R"(,"of":1)") +
         R"(]},{"name":"google.protobuf.Int32Value","fields":[)" + Field(1, "value", "int32", "implicit") +
         R"(]}],"enums":[{"name":"E","values":[["A",0],["B",1],["ALSO_B",1]]}],"roots":{"0":0}})";
}

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
  bytes.append(kRawPadding, '\0');
  raw.data = arrow::Buffer::FromString(std::move(bytes));
  return raw;
}

Decoded Decode(arrow::FieldVector columns, const std::string& fields, const std::vector<std::string>& rows) {
  auto made =
      MakeProtobufDecoder(arrow::schema(std::move(columns)), Schema(fields), arrow::default_memory_pool());
  EXPECT_TRUE(made.ok()) << made.status().ToString();
  auto decoded = (*made)->decode(Rows(rows)).ValueOrDie();
  EXPECT_TRUE(decoded.rows->ValidateFull().ok()) << decoded.rows->ValidateFull().ToString();
  return decoded;
}

// The one row's only column, or why there is none.
std::string Value(const std::shared_ptr<arrow::Field>& column, const std::string& fields, const Bytes& row) {
  const Decoded decoded = Decode({column}, fields, {row.text});
  if (decoded.rejected.empty()) return decoded.rows->column(0)->GetScalar(0).ValueOrDie()->ToString();
  EXPECT_EQ(decoded.rows->num_rows(), 0);
  return decoded.rejected[0].column + ": " + decoded.rejected[0].reason;
}

std::string WhyNot(const std::shared_ptr<arrow::Field>& column, const std::string& fields) {
  auto made = MakeProtobufDecoder(arrow::schema({column}), Schema(fields), arrow::default_memory_pool());
  return made.ok() ? "" : MessageOf(made.status());
}

const std::shared_ptr<arrow::Field> kInt = field("x", arrow::int64());
const std::shared_ptr<arrow::Field> kText = field("x", arrow::utf8());

TEST(Protobuf, WhatAMessageDoesNotHave) {
  EXPECT_EQ(Value(kInt, Field(1, "x", "int32", "implicit"), {}), "0");
  EXPECT_EQ(Value(kInt, Field(1, "x", "int32", "optional"), {}), "null");
  EXPECT_EQ(Value(kInt, Field(1, "x", "int32", "optional", R"(,"default":5)"), {}), "5");
  EXPECT_EQ(Value(kText, Field(1, "x", "enum", "implicit", R"(,"of":0)"), {}), "A");
  EXPECT_EQ(Value(kText, Field(1, "x", "string", "optional", R"(,"default":"YQ==")"), {}), "a");
  EXPECT_EQ(Value(field("x", arrow::list(arrow::int32())), Field(1, "x", "int32", "repeated"), {}),
            "list<item: int32>[]");
  EXPECT_EQ(Value(kInt, Field(1, "y", "int32", "implicit"), {}), "null");
  const auto given = kInt->WithMetadata(arrow::key_value_metadata({"fz:default"}, {"7"}));
  EXPECT_EQ(Value(given, Field(1, "x", "int32", "optional", R"(,"default":5)"), {}), "7");
  EXPECT_EQ(Value(given, Field(1, "x", "int32", "implicit"), {}), "0");
  EXPECT_EQ(Value(given, Field(1, "y", "int32", "implicit"), {}), "7");
  EXPECT_EQ(Value(kInt, Field(1, "x", "int32", "required"), {}),
            "x: a required field that the message does not have");
  EXPECT_EQ(Value(field("x", arrow::int64(), false), Field(1, "x", "int32", "optional"), {}),
            "x: the message does not have it, and the column is not nullable");
  EXPECT_NE(
      WhyNot(field("x", arrow::int64(), false), Field(1, "y", "int32", "optional")).find("no such field"),
      std::string::npos);
}

TEST(Protobuf, TheLastOneCounts) {
  const std::string one = Field(1, "x", "int32", "implicit");
  EXPECT_EQ(Value(kInt, one, Bytes().number(1, 1).number(1, 2)), "2");
  const std::string both = Field(1, "x", "int32", "optional", R"(,"oneof":0)") + "," +
                           Field(2, "y", "string", "optional", R"(,"oneof":0)");
  EXPECT_EQ(Value(kInt, both, Bytes().number(1, 1).bytes(2, "")), "null");
  EXPECT_EQ(Value(kInt, both, Bytes().bytes(2, "").number(1, 1)), "1");
  const auto item = field("x", arrow::struct_({field("a", arrow::int32()), field("must", arrow::int32())}));
  const std::string nested = Field(1, "x", "message", "optional", R"(,"of":1)");
  const Bytes merged = Bytes().bytes(1, Bytes().number(1, 5)).bytes(1, Bytes().number(3, 6));
  EXPECT_EQ(Value(item, nested, merged), "{a:int32 = 5, must:int32 = 6}");
}

TEST(Protobuf, PackedOrNot) {
  const auto list = field("x", arrow::list(arrow::int32()));
  const std::string many = Field(1, "x", "sint32", "repeated");
  EXPECT_EQ(Value(list, many, Bytes().number(1, 1).bytes(1, Bytes().raw(2).raw(3)).number(1, 4)),
            "list<item: int32>[-1, 1, -2, 2]");
  EXPECT_EQ(Value(list, many, Bytes().bytes(1, Bytes().raw(2).text + "\x80")),
            "x: at x[1]: the message ends within a value (at byte 1 of its message)");
}

TEST(Protobuf, MapsKeepTheLastValueOfAKey) {
  const auto map = field(
      "x",
      arrow::map(arrow::utf8(), arrow::struct_({field("a", arrow::int32()), field("must", arrow::int32())})));
  const std::string entries = Field(1, "x", "message", "map", R"(,"of":2)");
  const auto entry = [](const char* key, int64_t a) {
    return Bytes().bytes(1, key).bytes(2, Bytes().number(1, a).number(3, 1));
  };
  const Decoded decoded = Decode(
      {map}, entries, {Bytes().bytes(1, entry("k", 1)).bytes(1, entry("j", 2)).bytes(1, entry("k", 3)).text});
  const auto& maps = static_cast<const arrow::MapArray&>(*decoded.rows->column(0));
  EXPECT_EQ(maps.keys()->ToString(), "[\n  \"k\",\n  \"j\"\n]");
  const auto& values = static_cast<const arrow::StructArray&>(*maps.items());
  EXPECT_EQ(values.field(0)->ToString(), "[\n  3,\n  2\n]");
  EXPECT_EQ(Value(map, entries, Bytes().bytes(1, Bytes().bytes(1, "k"))),
            "x: at x[\"k\"].must: a required field that the message does not have");
  EXPECT_EQ(Value(map, entries, Bytes().bytes(1, Bytes().bytes(1, "k\xff"))),
            "x: at x[\"k\\xff\"]: a string that is not UTF-8");
  const Bytes times = Bytes().bytes(1, std::string(59, 'a') + "\u20ac");
  EXPECT_EQ(Value(field("x", arrow::date32()), Field(1, "x", "string", "implicit"), times),
            "x: expected ISO 8601 text of date32[day], got \"" + std::string(59, 'a') + "\"");
}

TEST(Protobuf, NumbersThatDoNotFitAreRefused) {
  EXPECT_EQ(Value(kInt, Field(1, "x", "int32", "implicit"), Bytes().number(1, 1LL << 40)),
            "x: 1099511627776 in a field of 32 bits");
  EXPECT_EQ(Value(kInt, Field(1, "x", "uint32", "implicit"), Bytes().number(1, -1)),
            "x: 18446744073709551615 in a field of 32 bits");
  EXPECT_EQ(Value(field("x", arrow::boolean()), Field(1, "x", "bool", "implicit"), Bytes().number(1, 2)),
            "x: a boolean that is neither 0 nor 1");
  EXPECT_EQ(Value(kInt, Field(1, "x", "uint64", "implicit"), Bytes().number(1, -1)),
            "x: 18446744073709551615 is outside the range of int64");
  EXPECT_EQ(Value(field("x", arrow::int8()), Field(1, "x", "int32", "implicit"), Bytes().number(1, -129)),
            "x: -129 is outside the range of int8");
  EXPECT_EQ(Value(kText, Field(1, "x", "enum", "implicit", R"(,"of":0)"), Bytes().number(1, 9)),
            "x: 9 is no value of E that its schema knows; declare an integer for the numbers");
  EXPECT_EQ(Value(kInt, Field(1, "x", "enum", "implicit", R"(,"of":0)"), Bytes().number(1, 9)), "9");
  EXPECT_EQ(Value(kText, Field(1, "x", "enum", "implicit", R"(,"of":0)"), Bytes().number(1, 1)), "B");
}

TEST(Protobuf, BytesThatAreNotWhatTheSchemaSays) {
  const std::string one = Field(1, "x", "string", "implicit");
  EXPECT_EQ(Value(kText, one, Bytes().number(1, 1)),
            "x: field 1 stands in the message as a number, which its type does not");
  EXPECT_EQ(Value(kText, one, Bytes().bytes(1, "\xff")), "x: a string that is not UTF-8");
  EXPECT_EQ(Value(kText, one, Bytes().tag(1, 2).raw(3)),
            ": the message ends within a value (at byte 2 of its message)");
  EXPECT_EQ(Value(kText, one, Bytes().tag(0, 0).raw(3)), ": a field of number 0 (at byte 1 of its message)");
  EXPECT_EQ(Value(kText, one, Bytes().tag(9, 7)), ": a field of wire type 7 (at byte 1 of its message)");
  EXPECT_EQ(Value(kText, one, Bytes().tag(9, 4)),
            ": an end of a group that has not begun (at byte 1 of its message)");
  EXPECT_EQ(Value(kText, one, {std::string(11, '\xff')}),
            ": a number of more than 64 bits (at byte 0 of its message)");
  // What nobody reads is gone over: groups, and messages that are none.
  const Bytes unread =
      Bytes().tag(7, 3).tag(8, 3).number(1, 5).tag(8, 4).tag(7, 4).bytes(9, "\xff").bytes(1, "a");
  EXPECT_EQ(Value(kText, one, unread), "a");
  EXPECT_EQ(Value(kText, one, Bytes().tag(7, 3).tag(8, 4)),
            ": an end of a group that has not begun (at byte 2 of its message)");
  Bytes deep;
  for (int i = 0; i <= limits::kJsonDepth; ++i) deep.tag(7, 3);
  EXPECT_EQ(Value(kText, one, deep), ": groups nested deeper than 64 levels (at byte 65 of its message)");
}

TEST(Protobuf, ABadMessageCostsOnlyItself) {
  const auto list =
      field("l", arrow::list(arrow::struct_({field("a", arrow::int32()), field("must", arrow::int32())})));
  const std::string fields =
      Field(1, "x", "string", "implicit") + "," + Field(2, "l", "message", "repeated", R"(,"of":1)");
  const std::string good = Bytes().bytes(1, "a").bytes(2, Bytes().number(1, 1).number(3, 2)).text;
  const std::string bad =
      Bytes().bytes(1, "b").bytes(2, Bytes().number(3, 1)).bytes(2, Bytes().number(1, 1)).text;
  const Decoded decoded = Decode({kText, list}, fields, {good, bad, "(none)", good, ""});
  EXPECT_EQ(decoded.rows->num_rows(), 3);
  EXPECT_EQ(decoded.kept, (std::vector<int32_t>{0, 3, 4}));
  ASSERT_EQ(decoded.rejected.size(), 2U);
  EXPECT_EQ(decoded.rejected[0].reason, "at l[1].must: a required field that the message does not have");
  EXPECT_EQ(decoded.rejected[0].position, 101);
  EXPECT_EQ(decoded.rejected[1].reason, "the row has no value (a tombstone)");
}

TEST(Protobuf, ManyMessagesInOneAreBounded) {
  const auto list = field("x", arrow::list(arrow::struct_({field("a", arrow::int32())})));
  std::string items;
  for (int i = 0; i < 1 << 20; ++i) items += std::string("\x0a\x00", 2);
  const std::string many = Field(1, "x", "message", "repeated", R"(,"of":1)");
  EXPECT_EQ(Value(list, many, {items}), "x: at x[1048575]: more messages within the message than are read");
  items.resize(items.size() - 2);
  EXPECT_EQ(Decode({list}, many, {items}).rows->num_rows(), 1);
}

TEST(Protobuf, SourcesGoIntoMessages) {
  const auto deep =
      field("deep", arrow::int64(), true, arrow::key_value_metadata({"fz:source"}, {R"(["x","self","a"])"}));
  const std::string nested = Field(1, "x", "message", "optional", R"(,"of":1)");
  const Bytes whole = Bytes().bytes(1, Bytes().bytes(2, Bytes().number(1, 3)));
  EXPECT_EQ(Value(deep, nested, whole), "3");
  EXPECT_EQ(Value(deep, nested, Bytes().bytes(1, "")), "null");
  EXPECT_EQ(Value(deep, nested, {}), "null");
  EXPECT_NE(WhyNot(deep, Field(1, "x", "int32", "implicit")).find("where its source goes into a message"),
            std::string::npos);
}

TEST(Protobuf, WrappersAndTheirZero) {
  const std::string wrapped = Field(1, "x", "message", "optional", R"(,"of":3)");
  EXPECT_EQ(Value(kInt, wrapped, {}), "null");
  EXPECT_EQ(Value(kInt, wrapped, Bytes().bytes(1, "")), "0");
  EXPECT_EQ(Value(kInt, wrapped, Bytes().bytes(1, Bytes().number(1, -4))), "-4");
  const auto inside = field("x", arrow::struct_({field("value", arrow::int64())}));
  EXPECT_EQ(Value(inside, wrapped, Bytes().bytes(1, Bytes().number(1, -4))), "{value:int64 = -4}");
}

TEST(Protobuf, ARenamedFieldIsKnownByItsNumber) {
  const auto renamed = kInt->WithMetadata(arrow::key_value_metadata({"fz:proto_number"}, {"M:4"}));
  EXPECT_EQ(Value(renamed, Field(4, "older", "int32", "implicit"), Bytes().number(4, 8)), "8");
  EXPECT_EQ(Value(renamed, Field(5, "x", "int32", "implicit"), Bytes().number(5, 8)), "8");
  const auto other = kInt->WithMetadata(arrow::key_value_metadata({"fz:proto_number"}, {"N:4"}));
  EXPECT_EQ(Value(other, Field(4, "older", "int32", "implicit"), Bytes().number(4, 8)), "null");
}

TEST(Protobuf, TypesThatDoNotGoTogether) {
  EXPECT_EQ(WhyNot(kInt, Field(1, "x", "string", "implicit")),
            "column \"x\": the message's schema says string, and the column is declared int64");
  EXPECT_NE(WhyNot(kInt, Field(1, "x", "int32", "repeated")).find("declare a list"), std::string::npos);
  EXPECT_NE(WhyNot(field("x", arrow::timestamp(arrow::TimeUnit::MICRO)), Field(1, "x", "int64", "implicit"))
                .find("say the unit"),
            std::string::npos);
  for (const char* broken : {"", "[]", "{}", R"({"messages":[],"enums":[],"roots":{"0":0}})",
                             R"({"messages":[{"name":"M","fields":[{"number":1,"name":"x","type":"message",)"
                             R"("label":"map","of":0}]}],"enums":[],"roots":{"0":0}})"}) {
    EXPECT_FALSE(MakeProtobufDecoder(arrow::schema({kInt}), broken, arrow::default_memory_pool()).ok())
        << broken;
  }
}

}  // namespace
}  // namespace frazil
