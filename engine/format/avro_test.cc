#include "format/avro.h"

#include <arrow/array.h>
#include <arrow/util/key_value_metadata.h>
#include <gtest/gtest.h>

#include <cstring>

#include "base/limits.h"
#include "format/avro_schema.h"

namespace frazil {
namespace {

using arrow::field;
using State = RegisteredSchema::State;

constexpr const char* kRegistry = "http://registry";

// Avro's bytes by hand.
struct Bytes {
  std::string text;

  Bytes& number(int64_t value) {
    uint64_t bits = (static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63);
    for (; bits >= 0x80; bits >>= 7) text.push_back(static_cast<char>(bits | 0x80));
    text.push_back(static_cast<char>(bits));
    return *this;
  }
  Bytes& string(std::string_view value) {
    number(static_cast<int64_t>(value.size()));
    text += value;
    return *this;
  }
  template <typename T>
  Bytes& fixed(T value) {
    text.append(reinterpret_cast<const char*>(&value), sizeof(value));
    return *this;
  }
};

std::string Framed(int32_t id, const std::string& body) {
  std::string message(1, '\0');
  for (int shift = 24; shift >= 0; shift -= 8) message.push_back(static_cast<char>(id >> shift));
  return message + body;
}

std::string Record(const std::string& fields) {
  return R"({"type":"record","name":"R","fields":[)" + fields + "]}";
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

struct Table {
  SchemaBoard board{{}};
  std::unique_ptr<Decoder> decoder;

  explicit Table(arrow::FieldVector fields, const std::vector<std::string>& schemas = {}) {
    for (size_t i = 0; i < schemas.size(); ++i) {
      board.give(kRegistry, static_cast<int32_t>(i + 1), {State::kKnown, "AVRO", {schemas[i]}, ""});
    }
    auto made = MakeAvroDecoder(arrow::schema(std::move(fields)), kRegistry, SchemaDesk{&board, {}},
                                arrow::default_memory_pool());
    EXPECT_TRUE(made.ok()) << made.status().ToString();
    decoder = std::move(made).ValueOrDie();
  }

  Decoded decode(const std::vector<std::string>& rows) {
    const RawBatch raw = Rows(rows);
    EXPECT_TRUE(decoder->ready(raw).ValueOrDie());
    auto decoded = decoder->decode(raw).ValueOrDie();
    EXPECT_TRUE(decoded.rows->ValidateFull().ok()) << decoded.rows->ValidateFull().ToString();
    return decoded;
  }
  // The one row's only column, or why there is none.
  std::string value(const std::string& body, int32_t id = 1) {
    const Decoded decoded = decode({Framed(id, body)});
    if (!decoded.rejected.empty())
      return "bad " + decoded.rejected[0].column + ": " + decoded.rejected[0].reason;
    return decoded.rows->column(0)->GetScalar(0).ValueOrDie()->ToString();
  }
};

// What a field of an Avro type comes to in a column.
std::string Read(const std::string& type, std::shared_ptr<arrow::DataType> column, const std::string& bytes,
                 bool nullable = false) {
  return Table({field("x", std::move(column), nullable)}, {Record(R"({"name":"x","type":)" + type + "}")})
      .value(bytes);
}

TEST(AvroTest, NumbersArePromotedAndChecked) {
  const std::string five = Bytes().number(5).text;
  EXPECT_EQ(Read(R"("int")", arrow::int64(), five), "5");
  EXPECT_EQ(Read(R"("long")", arrow::float64(), five), "5");
  EXPECT_EQ(Read(R"("long")", arrow::int8(), five), "5");
  EXPECT_EQ(Read(R"("long")", arrow::uint64(), Bytes().number(-1).text),
            "bad x: -1 is outside the range of uint64 (at byte 1 of the record)");
  EXPECT_EQ(Read(R"("long")", arrow::int64(), Bytes().number(INT64_MIN).text), "-9223372036854775808");
  EXPECT_EQ(Read(R"("int")", arrow::int64(), Bytes().number(int64_t{1} << 31).text),
            "bad x: a number of more than 32 bits in an int (at byte 5 of the record)");
  EXPECT_EQ(Read(R"("float")", arrow::float64(), Bytes().fixed(1.5F).text), "1.5");
  EXPECT_EQ(
      Read(R"("double")", arrow::float32(), Bytes().fixed(1.5).text),
      "bad x: the message's schema says double, and the column is declared float\n  declare float, which "
      "has 64 bits");
  EXPECT_EQ(Read(R"("boolean")", arrow::boolean(), "\1"), "true");
  EXPECT_EQ(Read(R"("boolean")", arrow::boolean(), "\2"),
            "bad x: a boolean that is neither 0 nor 1 (at byte 0 of the record)");
  EXPECT_EQ(Read(R"("long")", arrow::int64(), std::string(10, '\xff') + '\1'),
            "bad x: a number of more than 64 bits (at byte 0 of the record)");
}

TEST(AvroTest, TextsAreChecked) {
  EXPECT_EQ(Read(R"("string")", arrow::utf8(), Bytes().string("h\xc3\xa9").text), "h\xc3\xa9");
  EXPECT_EQ(Read(R"("string")", arrow::utf8(), Bytes().string("\xc3").text),
            "bad x: a string that is not UTF-8 (at byte 2 of the record)");
  EXPECT_EQ(Read(R"("bytes")", arrow::utf8(), Bytes().string("ab").text), "ab");
  EXPECT_EQ(Read(R"({"type":"enum","name":"E","symbols":["A","B"]})", arrow::utf8(), Bytes().number(1).text),
            "B");
  EXPECT_EQ(Read(R"({"type":"enum","name":"E","symbols":["A","B"]})", arrow::utf8(), Bytes().number(2).text),
            "bad x: number 2 of 2 choices (at byte 1 of the record)");
  EXPECT_EQ(Read(R"("string")", arrow::utf8(), Bytes().number(-1).text),
            "bad x: a length below zero (at byte 1 of the record)");
  EXPECT_EQ(Read(R"("string")", arrow::utf8(), Bytes().number(1000).text),
            "bad x: the message ends within the value (at byte 2 of the record)");
  EXPECT_EQ(Read(R"({"type":"fixed","name":"U","size":16,"logicalType":"uuid"})", arrow::utf8(),
                 std::string("\x12\x3e\x45\x67\xe8\x9b\x12\xd3\xa4\x56\x42\x66\x14\x17\x40\x00", 16)),
            "123e4567-e89b-12d3-a456-426614174000");
}

TEST(AvroTest, TimesGoByTheirUnit) {
  const auto micros = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
  const std::string millis = R"({"type":"long","logicalType":"timestamp-millis"})";
  EXPECT_EQ(Read(millis, micros, Bytes().number(1).text), "1970-01-01 00:00:00.001000Z");
  EXPECT_EQ(
      Read(millis, micros, Bytes().number(INT64_MAX).text),
      "bad x: 9223372036854775807 is outside the range of timestamp[us, tz=UTC] (at byte 10 of the record)");
  EXPECT_EQ(Read(R"({"type":"long","logicalType":"timestamp-nanos"})", micros, Bytes().number(1001).text),
            "bad x: 1001 has more digits than timestamp[us, tz=UTC] holds (at byte 2 of the record)");
  EXPECT_EQ(
      Read(R"({"type":"long","logicalType":"local-timestamp-micros"})", micros, Bytes().number(1).text),
      "bad x: the message's schema says long (local-timestamp-micros), and the column is declared "
      "timestamp[us, tz=UTC]\n  declare a timestamp without a zone, and say in the pipeline which zone it is "
      "of");
  EXPECT_EQ(Read(R"({"type":"int","logicalType":"date"})", arrow::date32(), Bytes().number(-1).text),
            "1969-12-31");
  EXPECT_EQ(Read(R"({"type":"int","logicalType":"time-millis"})", arrow::time64(arrow::TimeUnit::MICRO),
                 Bytes().number(86'400'000).text),
            "bad x: 86400000000 is outside the range of time64[us] (at byte 4 of the record)");
  EXPECT_EQ(Read(R"("string")", micros, Bytes().string("2026-01-02T03:04:05+01:00").text),
            "2026-01-02 02:04:05.000000Z");
  EXPECT_EQ(Read(R"("long")", micros, Bytes().number(1).text),
            "bad x: the message's schema says long, and the column is declared timestamp[us, tz=UTC]\n  say "
            "the unit "
            "of its numbers: fz.field(time_unit=\"ms\")");
  EXPECT_EQ(Read(R"({"type":"long","connect.name":"io.debezium.time.MicroDuration"})",
                 arrow::duration(arrow::TimeUnit::MICRO), Bytes().number(7).text),
            "7");
  const std::string span = R"({"type":"fixed","name":"D","size":12,"logicalType":"duration"})";
  EXPECT_EQ(Read(span, arrow::duration(arrow::TimeUnit::MILLI),
                 Bytes().fixed<uint32_t>(0).fixed<uint32_t>(1).fixed<uint32_t>(2).text),
            "86400002");
  EXPECT_EQ(Read(span, arrow::duration(arrow::TimeUnit::MILLI),
                 Bytes().fixed<uint32_t>(1).fixed<uint32_t>(1).fixed<uint32_t>(2).text),
            "bad x: a duration of months, which have no length (at byte 12 of the record)");
}

TEST(AvroTest, DecimalsAreExact) {
  const auto money = arrow::decimal128(6, 2);
  const std::string type = R"({"type":"bytes","logicalType":"decimal","precision":9,"scale":3})";
  EXPECT_EQ(
      Read(type, money, Bytes().string(std::string("\x04\xd2", 2)).text),
      "bad x: 1234e-3 has more digits after the point than decimal128(6, 2) holds (at byte 3 of the record)");
  EXPECT_EQ(Read(type, money, Bytes().string(std::string("\xff\xff\xfb\x1e", 4)).text), "-1.25");
  EXPECT_EQ(Read(type, money, Bytes().string("").text),
            "bad x: a decimal without bytes (at byte 1 of the record)");
  EXPECT_EQ(
      Read(type, money, Bytes().string(std::string(200, '\x7f')).text),
      "bad x: a decimal of 200 bytes is outside the range of decimal128(6, 2) (at byte 202 of the record)");
  EXPECT_EQ(Read(R"({"type":"bytes","connect.name":"org.apache.kafka.connect.data.Decimal",)"
                 R"("connect.parameters":{"scale":"1"}})",
                 money, Bytes().string("\x0f").text),
            "1.50");
  EXPECT_EQ(Read(R"("bytes")", money, Bytes().string("\x0f").text),
            "bad x: the message's schema says bytes, and the column is declared decimal128(6, 2)\n  without "
            "a scale "
            "bytes are no number");
  EXPECT_EQ(Read(R"("double")", money, Bytes().fixed(0.1).text), "0.10");
  EXPECT_EQ(Read(R"("string")", money, Bytes().string("12.5").text), "12.50");
  EXPECT_EQ(Read(R"("string")", money, Bytes().string("12,5").text),
            "bad x: expected a decimal, got \"12,5\" (at byte 5 of the record)");
  EXPECT_EQ(Read(R"("long")", arrow::decimal256(40, 1), Bytes().number(-3).text), "-3.0");
}

TEST(AvroTest, UnionsWithNull) {
  for (const char* type : {R"(["null","long"])", R"(["long","null"])"}) {
    const int at = std::strcmp(type, R"(["null","long"])") == 0 ? 1 : 0;
    EXPECT_EQ(Read(type, arrow::int64(), Bytes().number(at).number(7).text), "7");
    EXPECT_EQ(Read(type, arrow::int64(), Bytes().number(1 - at).text, true), "null");
    EXPECT_EQ(Read(type, arrow::int64(), Bytes().number(1 - at).text),
              "bad x: null, and the column is not nullable (at byte 1 of the record)");
  }
  EXPECT_EQ(Read(R"(["null","long"])", arrow::int64(), Bytes().number(2).text),
            "bad x: number 2 of 2 choices (at byte 1 of the record)");
  EXPECT_EQ(Read(R"(["null","long","string"])", arrow::int64(), Bytes().number(0).text, true),
            "bad x: the message's schema says a union of several types, [null, long, string]\n  a column has "
            "one type: "
            "leave it out of the schema");
}

TEST(AvroTest, NestedValues) {
  const auto item = arrow::struct_({field("a", arrow::int32(), false), field("b", arrow::utf8())});
  const std::string record = R"({"type":"record","name":"I","fields":[{"name":"b","type":["null","string"]},)"
                             R"({"name":"z","type":"double"},{"name":"a","type":"int"}]})";
  const std::string list = R"({"type":"array","items":)" + record + "}";
  const auto one = [](int a) { return Bytes().number(1).string("s").fixed(0.5).number(a).text; };
  // A block of one, and one that says how long it is.
  std::string body = Bytes().number(1).text + one(1) +
                     Bytes().number(-2).number(static_cast<int64_t>(2 * one(1).size())).text + one(2) +
                     one(3) + Bytes().number(0).text;
  Table table({field("x", arrow::list(item), false)}, {Record(R"({"name":"x","type":)" + list + "}")});
  const Decoded good = table.decode({Framed(1, body)});
  ASSERT_EQ(good.rows->num_rows(), 1);
  const auto& items = static_cast<const arrow::StructArray&>(
      *static_cast<const arrow::ListArray&>(*good.rows->column(0)).values());
  EXPECT_EQ(items.field(0)->ToString(), "[\n  1,\n  2,\n  3\n]");
  // The last item ends too early: it and those before it are gone, the rows around it are whole.
  const std::string bad = Bytes().number(3).text + one(1) + one(2) + one(3).substr(0, one(3).size() - 1);
  const Decoded mixed = table.decode({Framed(1, body), Framed(1, bad), Framed(1, body)});
  EXPECT_EQ(mixed.rows->num_rows(), 2);
  EXPECT_EQ(mixed.kept, (std::vector<int32_t>{0, 2}));
  EXPECT_TRUE(mixed.rows->Slice(1)->Equals(*good.rows));
  ASSERT_EQ(mixed.rejected.size(), 1U);
  EXPECT_EQ(mixed.rejected[0].position, 101);
  EXPECT_EQ(mixed.rejected[0].column, "x");
  EXPECT_EQ(mixed.rejected[0].reason.find("at x[2].a: the message ends within the value"), 0U)
      << mixed.rejected[0].reason;
  body[2 + one(1).size()] = '\x40';  // the block's length
  EXPECT_EQ(table.value(body).find("bad x: "), 0U);
}

TEST(AvroTest, Maps) {
  const auto type = arrow::map(arrow::utf8(), field("value", arrow::int32()));
  const std::string avro = R"({"type":"map","values":["null","int"]})";
  const auto body = [](std::string_view second) {
    return Bytes().number(2).string("a").number(1).number(5).string(second).number(0).number(0).text;
  };
  EXPECT_EQ(Read(avro, type, body("b")),
            "map<string, int32>[{key:string = a, value:int32 = 5}, {key:string = b, "
            "value:int32 = null}]");
  EXPECT_EQ(Read(avro, type, body("a")).find("bad x: key \"a\" is there twice"), 0U);
}

TEST(AvroTest, FieldsComeAndGo) {
  const auto named = [](const char* name, const char* key, const char* value) {
    return field(name, arrow::int64(), false, arrow::key_value_metadata({key}, {value}));
  };
  const std::vector<std::string> schemas{
      Record(R"({"name":"a","type":"int"})"),
      Record(R"({"name":"gone","type":{"type":"map","values":"bytes"}},{"name":"b","type":"long"},)"
             R"({"name":"a","type":"long"})"),
      Record(R"({"name":"b","type":"long"})")};
  Table table({field("a", arrow::int64()), named("b", "fz:default", "9"), field("c", arrow::utf8())},
              schemas);
  const Decoded decoded =
      table.decode({Framed(1, Bytes().number(1).text),
                    Framed(2, Bytes().number(1).string("k").string("v").number(0).number(2).number(3).text),
                    Framed(3, Bytes().number(4).text), Framed(1, Bytes().number(5).text)});
  ASSERT_TRUE(decoded.rejected.empty()) << decoded.rejected[0].reason;
  EXPECT_EQ(decoded.rows->column(0)->ToString(), "[\n  1,\n  3,\n  null,\n  5\n]");
  EXPECT_EQ(decoded.rows->column(1)->ToString(), "[\n  9,\n  2,\n  4,\n  9\n]");
  EXPECT_EQ(decoded.rows->column(2)->null_count(), 4);
  EXPECT_EQ(Table({named("new", "fz:aliases", R"(["old","a"])")}, schemas).value(Bytes().number(1).text),
            "1");
  EXPECT_EQ(Table({field("z", arrow::int64(), false)}, schemas).value(Bytes().number(1).text),
            "bad z: the message's schema has no such field, and the column is not nullable\n  declare it as "
            "T | None, "
            "or with fz.field(default=)");
}

TEST(AvroTest, SourcesGoIntoRecords) {
  const auto at = [](const char* name, const char* source) {
    return field(name, arrow::int64(), true, arrow::key_value_metadata({"fz:source"}, {source}));
  };
  const std::string inner = R"(["null",{"type":"record","name":"I","fields":[{"name":"b","type":"long"}]}])";
  Table table({at("x", R"(["a","b"])"), at("y", R"(["a","b"])"), at("z", R"(["a","c"])")},
              {Record(R"({"name":"a","type":)" + inner + "}"), Record(R"({"name":"a","type":"long"})")});
  const Decoded decoded =
      table.decode({Framed(1, Bytes().number(1).number(7).text), Framed(1, Bytes().number(0).text)});
  ASSERT_EQ(decoded.rows->num_rows(), 2);
  for (int column : {0, 1}) EXPECT_EQ(decoded.rows->column(column)->ToString(), "[\n  7,\n  null\n]");
  EXPECT_EQ(decoded.rows->column(2)->null_count(), 2);
  EXPECT_EQ(table.value(Bytes().number(1).text, 2),
            "bad x: the message's schema says long where its source goes into a record");
}

TEST(AvroTest, SkippedValuesAreBounded) {
  // A list that holds itself, as deep as it likes.
  const std::string chain = Record(R"({"name":"n","type":["null","R"]},{"name":"x","type":"int"})");
  Table deep({field("x", arrow::int32())}, {chain});
  std::string body;
  for (int i = 0; i < 100'000; ++i) body += Bytes().number(1).text;
  EXPECT_EQ(deep.value(body).find("bad : nested deeper than 64 levels"), 0U) << deep.value(body);
  EXPECT_EQ(deep.value(Bytes().number(1).number(0).number(5).number(6).text), "6");
  // Items without bytes.
  const std::string nulls =
      Record(R"({"name":"n","type":{"type":"array","items":"null"}},{"name":"x","type":"int"})");
  Table bomb({field("x", arrow::int32())}, {nulls});
  EXPECT_EQ(bomb.value(Bytes().number(int64_t{1} << 60).number(0).number(6).text)
                .find("bad : more than 1048576 empty items"),
            0U);
  EXPECT_EQ(bomb.value(Bytes().number(1000).number(0).number(6).text), "6");
  EXPECT_EQ(
      bomb.value(Bytes().number(INT64_MIN).number(0).number(6).text).find("bad : a block of too many items"),
      0U);
  Table more({field("x", arrow::int32())}, {Record(R"({"name":"x","type":"int"})")});
  EXPECT_EQ(more.value(Bytes().number(1).number(1).text), "bad : 1 bytes more than its schema says");
}

TEST(AvroTest, MessagesWithoutAnId) {
  Table table({field("x", arrow::int32())}, {Record(R"({"name":"x","type":"int"})")});
  const std::string good = Framed(1, Bytes().number(1).text);
  const Decoded decoded =
      table.decode({"(none)", good, "", "{\"x\":1}", std::string("\0\0\0", 3), good, Framed(-1, "")});
  EXPECT_EQ(decoded.kept, (std::vector<int32_t>{1, 5}));
  ASSERT_EQ(decoded.rejected.size(), 5U);
  EXPECT_EQ(decoded.rejected[4].reason, "the id of the schema is below zero");
  EXPECT_EQ(decoded.rejected[0].reason, "the row has no value (a tombstone)");
  EXPECT_EQ(decoded.rejected[1].reason,
            "0 bytes, and a message begins with a zero and the four bytes of its schema's id");
  EXPECT_EQ(decoded.rejected[2].reason,
            "the first byte is 123, and a message begins with a zero and the four bytes of its schema's id; "
            "it looks "
            "like JSON: format=\"json\"");
}

TEST(AvroTest, SchemasThatCannotBeUsed) {
  const auto reason = [](const std::string& schema) {
    return Table({field("x", arrow::int32())}, {schema}).value(Bytes().number(1).text);
  };
  EXPECT_EQ(reason("{"), "bad : schema 1 of http://registry: Avro schema: the text is not JSON");
  EXPECT_EQ(reason(R"("int")"), "bad : the message's schema is int, and rows are records");
  EXPECT_EQ(
      reason(Record(R"({"name":"x","type":"Nowhere"})")),
      "bad : schema 1 of http://registry: Avro schema: no type \"Nowhere\" is defined before it is used");
  EXPECT_EQ(reason(Record(R"({"name":"x","type":"int"},{"name":"x","type":"int"})")),
            "bad : schema 1 of http://registry: Avro schema: record \"R\" has field \"x\" twice");
  std::string deep = R"("int")";
  for (int i = 0; i < 100; ++i) deep = R"({"type":"array","items":)" + deep + "}";
  EXPECT_EQ(reason(deep), "bad : schema 1 of http://registry: Avro schema: nested deeper than 64 levels");
  EXPECT_EQ(reason(std::string(5 << 20, ' ')),
            "bad : schema 1 of http://registry: Avro schema: longer than 4194304 bytes");
}

TEST(AvroTest, NamesOfOtherSchemas) {
  const std::string address =
      R"({"type":"record","name":"Address","namespace":"crm","fields":[{"name":"zip","type":"string"}]})";
  const std::string user =
      R"({"type":"record","name":"User","namespace":"crm","fields":[{"name":"x","type":"Address"}]})";
  auto parsed = ParseAvroSchema({address, user});
  ASSERT_TRUE(parsed.ok()) << parsed.status().ToString();
  EXPECT_EQ(AvroTypeText(parsed->at(parsed->root)), "record crm.User");
  EXPECT_FALSE(ParseAvroSchema({user}).ok());
}

TEST(AvroTest, UnknownIdsAreAskedForOnceAndWaitedFor) {
  int woken = 0, told = 0;
  SchemaBoard board([&] { ++told; });
  auto decoder = MakeAvroDecoder(arrow::schema({field("x", arrow::int32())}), kRegistry,
                                 SchemaDesk{&board, [&] { ++woken; }}, arrow::default_memory_pool())
                     .ValueOrDie();
  const std::string body = Bytes().number(1).text;
  const RawBatch raw = Rows({Framed(7, body), Framed(8, body), Framed(7, body), "junk"});
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(decoder->ready(raw).ValueOrDie());
  EXPECT_EQ(told, 2);
  EXPECT_EQ(board.take_wanted(), (std::vector<SchemaBoard::Key>{{kRegistry, 8}, {kRegistry, 7}}));
  EXPECT_TRUE(board.take_wanted().empty());
  EXPECT_EQ(decoder->condition(), "needs schema 7 of http://registry");
  board.note(kRegistry, "it is away");
  EXPECT_EQ(decoder->condition(), "needs schema 7 of http://registry: it is away");
  board.give(kRegistry, 7, {State::kKnown, "AVRO", {Record(R"({"name":"x","type":"int"})")}, ""});
  EXPECT_EQ(woken, 1);
  EXPECT_FALSE(decoder->ready(raw).ValueOrDie());
  board.give(kRegistry, 8, {State::kMissing, "", {}, "there is none"});
  EXPECT_TRUE(decoder->ready(raw).ValueOrDie());
  EXPECT_EQ(decoder->condition(), "");
  const Decoded decoded = decoder->decode(raw).ValueOrDie();
  EXPECT_EQ(decoded.kept, (std::vector<int32_t>{0, 2}));
  ASSERT_EQ(decoded.rejected.size(), 2U);
  EXPECT_EQ(decoded.rejected[0].reason, "schema 8 of http://registry: there is none");
}

TEST(AvroTest, ABoardForgetsWhatWasUsedLongestAgo) {
  SchemaBoard board({});
  for (int32_t id = 0; id < 2000; ++id) {
    board.give(kRegistry, id, {State::kKnown, "AVRO", {"\"int\""}, ""});
    EXPECT_NE(board.find(kRegistry, 0, {}), nullptr);
  }
  EXPECT_EQ(board.find(kRegistry, 1, {}), nullptr);
  EXPECT_NE(board.find(kRegistry, 1999, {}), nullptr);
  // One batch of more schemas than are remembered: those it has are kept until it is decoded.
  auto decoder = MakeAvroDecoder(arrow::schema({field("x", arrow::int32())}), kRegistry,
                                 SchemaDesk{&board, {}}, arrow::default_memory_pool())
                     .ValueOrDie();
  std::vector<std::string> rows;
  for (int32_t id = 10'000; id < 11'500; ++id) rows.push_back(Framed(id, Bytes().number(id).text));
  const RawBatch raw = Rows(rows);
  int rounds = 0;
  while (!decoder->ready(raw).ValueOrDie()) {
    for (const auto& [registry, id] : board.take_wanted()) {
      board.give(registry, id, {State::kKnown, "AVRO", {Record(R"({"name":"x","type":"int"})")}, ""});
    }
    ASSERT_LT(++rounds, 100);
  }
  const Decoded decoded = decoder->decode(raw).ValueOrDie();
  EXPECT_EQ(decoded.rows->num_rows(), 1500);
}

TEST(AvroTest, TypesThatAvroHasNot) {
  const auto made = MakeAvroDecoder(arrow::schema({field("x", arrow::date64())}), kRegistry, {},
                                    arrow::default_memory_pool());
  EXPECT_EQ(MessageOf(made.status()),
            "field \"x\": type date64[ms] cannot be read from Avro\n  declare another type and cast it in "
            "the pipeline");
}

}  // namespace
}  // namespace frazil
