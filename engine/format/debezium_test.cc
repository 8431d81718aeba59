#include "format/debezium.h"

#include <arrow/array.h>
#include <arrow/util/key_value_metadata.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/batch.h"

namespace frazil {
namespace {

using arrow::field;
using Lines = std::vector<std::string>;

constexpr const char* kPlaceholder = "__debezium_unavailable_value";
constexpr const char* kTombstone = "(none)";

std::shared_ptr<arrow::Field> Kind() { return field(std::string(kKindColumn), arrow::uint8(), false); }

DebeziumOptions Options() {
  DebeziumOptions options;
  options.key = {"id"};
  options.unavailable = kPlaceholder;
  options.unavailable_uuid = "5b6ac2b1-0000-3000-8000-000000000000";
  return options;
}

RawBatch Rows(const Lines& rows, const std::string& between = "\n") {
  RawBatch raw;
  raw.place = "users-0";
  std::string bytes;
  for (const auto& row : rows) {
    raw.offset.push_back(static_cast<uint32_t>(bytes.size()));
    raw.position.push_back(100 + static_cast<int64_t>(raw.position.size()));
    if (row == kTombstone) {
      raw.length.push_back(RawBatch::kNullRow);
      continue;
    }
    raw.length.push_back(static_cast<uint32_t>(row.size()));
    bytes += row + between;
  }
  bytes.append(kRawPadding, '}');
  raw.data = arrow::Buffer::FromString(std::move(bytes));
  return raw;
}

Decoded Decode(arrow::FieldVector fields, const Lines& rows, const DebeziumOptions& options = Options(),
               const std::string& between = "\n") {
  fields.push_back(Kind());
  auto decoder = MakeDebeziumDecoder(arrow::schema(fields), options, arrow::default_memory_pool());
  EXPECT_TRUE(decoder.ok()) << decoder.status().ToString();
  auto decoded = (*decoder)->decode(Rows(rows, between));
  EXPECT_TRUE(decoded.ok()) << decoded.status().ToString();
  EXPECT_TRUE(decoded->rows->ValidateFull().ok()) << decoded->rows->ValidateFull().ToString();
  return std::move(decoded).ValueOrDie();
}

// Rows as "+1 a" (insert), "<1 a" (update_before), ">1 a" (update_after), "-1 a" (delete).
Lines Shown(const arrow::RecordBatch& rows) {
  Lines shown;
  const auto& kinds = static_cast<const arrow::UInt8Array&>(*rows.columns().back());
  for (int64_t i = 0; i < rows.num_rows(); ++i) {
    std::string line(1, "+<>-t"[kinds.Value(i)]);
    for (int k = 0; k + 1 < rows.num_columns(); ++k) {
      line += (k == 0 ? "" : " ") + rows.column(k)->GetScalar(i).ValueOrDie()->ToString();
    }
    shown.push_back(std::move(line));
  }
  return shown;
}

arrow::FieldVector Users(bool nullable = true) {
  return {field("id", arrow::int64(), false), field("name", arrow::utf8(), nullable)};
}

const Lines kEvents = {
    R"({"op":"c","before":null,"after":{"id":1,"name":"a"}})",
    R"({"op":"u","before":{"id":1,"name":"a"},"after":{"id":1,"name":"b"}})",
    kTombstone,
    R"({"op":"u","before":null,"after":{"id":1,"name":"c"}})",
    R"({"op":"u","before":{"id":1,"name":"c"},"after":{"id":2,"name":"c"}})",
    R"({"op":"m","message":{"prefix":"app","content":"aGk="}})",
    R"({"op":"d","before":{"id":2},"after":null})",
    R"({"before":null,"after":{"id":3,"name":null},"op":"r"})",
    "null",
};
const Lines kRows = {"+1 a", "<1 a", ">1 b", ">1 c", "-1 c", "+2 c", "-2 null", "+3 null"};

TEST(Debezium, EventsAreChanges) {
  const Decoded decoded = Decode(Users(), kEvents);
  EXPECT_EQ(Shown(*decoded.rows), kRows);
  EXPECT_EQ(decoded.kept, (std::vector<int32_t>{0, 1, 1, 3, 4, 4, 6, 7}));
  EXPECT_EQ(decoded.dropped, 3);
  EXPECT_TRUE(decoded.rejected.empty());
}

TEST(Debezium, AWrapperMakesNoDifferenceAlsoFromMessageToMessage) {
  for (const bool all : {true, false}) {
    Lines wrapped;
    for (size_t i = 0; i < kEvents.size(); ++i) {
      const bool none = kEvents[i] == kTombstone || (!all && i % 2 == 0);
      wrapped.push_back(none ? kEvents[i] : R"({ "schema":null , "payload" : )" + kEvents[i] + " }");
    }
    EXPECT_EQ(Shown(*Decode(Users(), wrapped).rows), kRows);
    EXPECT_EQ(Decode(Users(), wrapped).kept, (std::vector<int32_t>{0, 1, 1, 3, 4, 4, 6, 7}));
    EXPECT_EQ(Shown(*Decode(Users(), wrapped, Options(), "").rows), kRows);
  }
}

TEST(Debezium, OneRowAMessageIsSaidSo) {
  const Decoded decoded = Decode(Users(), {kEvents[0], kEvents[7]});
  EXPECT_TRUE(decoded.kept.empty());
  EXPECT_EQ(Shown(*decoded.rows), (Lines{"+1 a", "+3 null"}));
  EXPECT_EQ(Decode(Users(), {kTombstone}).rows->num_rows(), 0);
  EXPECT_EQ(Decode(Users(), {}).rows->num_rows(), 0);
}

TEST(Debezium, ADeleteHasTheKeyAndNothingThatMustNotBeNull) {
  EXPECT_EQ(Shown(*Decode(Users(false), {kEvents[6]}).rows), Lines{"-2 "});
  // The row before an update is left out where it is not whole.
  EXPECT_EQ(
      Shown(*Decode(Users(false), {R"({"op":"u","before":{"id":1},"after":{"id":1,"name":"x"}})"}).rows),
      Lines{">1 x"});
}

// "column reason" of the only message, "" if it is good.
std::string Why(const std::string& row, const DebeziumOptions& options = Options(), bool nullable = true) {
  const Decoded decoded = Decode(Users(nullable), {kEvents[0], row, kEvents[0]}, options);
  EXPECT_EQ(Shown(*decoded.rows->Slice(0, 1)), Lines{"+1 a"});
  if (decoded.rejected.empty()) return "";
  EXPECT_EQ(decoded.rejected.size(), 1u);
  EXPECT_EQ(decoded.rows->num_rows(), 2);
  EXPECT_EQ(decoded.kept, (std::vector<int32_t>{0, 2}));
  EXPECT_EQ(decoded.rejected[0].position, 101);
  EXPECT_EQ(decoded.rejected[0].place, "users-0");
  EXPECT_EQ(decoded.rejected[0].raw, row);
  return decoded.rejected[0].column + " " + decoded.rejected[0].reason;
}

void ExpectWhy(const std::string& row, const std::string& part, const DebeziumOptions& options = Options(),
               bool nullable = true) {
  const std::string why = Why(row, options, nullable);
  EXPECT_NE(why.find(part), std::string::npos) << why;
}

TEST(Debezium, ABadMessageCostsOnlyItself) {
  ExpectWhy(R"({"op":"x"})", "op \"x\" is none that is known");
  ExpectWhy(R"({"id":1,"name":"a"})", "unwrapped=True");
  ExpectWhy(R"({"op":"c","after":null})", "op \"c\" without a row after it");
  ExpectWhy(R"({"op":"d","before":null})", "a delete without the row before it");
  ExpectWhy(R"({"op":"d","before":{"name":"a"}})", "id the field is missing");
  ExpectWhy(R"({"op":"c","after":{"id":"x","name":"a"}})", "id expected number, got \"x\"");
  ExpectWhy(R"({"op":"c","after":{"id":1}})", "name the field is missing", Options(), false);
  ExpectWhy(R"({"op":7,"after":{"id":1}})", "op expected string, got 7");
  ExpectWhy(R"({"op":"c","after":{"id":1})", "");
  ExpectWhy(R"({"schema":{"fields":[},"payload":{"op":"c","after":{"id":1}}})", " ");
  ExpectWhy(R"({"schema":{"fields":1 2},"payload":{"op":"c","after":{"id":1}}})", "schema in the message");
  ExpectWhy("", "empty row");
  ExpectWhy("7", "expected object, got 7");
}

TEST(Debezium, ATruncateEndsTheRunUnlessItIsSaidWhatToDo) {
  const std::string truncate = R"({"op":"t","before":null,"after":null})";
  arrow::FieldVector fields = Users();
  fields.push_back(Kind());
  DebeziumOptions options = Options();
  const auto decoder =
      MakeDebeziumDecoder(arrow::schema(fields), options, arrow::default_memory_pool()).ValueOrDie();
  const Status status = decoder->decode(Rows({kEvents[0], truncate, kEvents[0]})).status();
  EXPECT_EQ(KindOf(status), ErrorKind::kDecode);
  EXPECT_EQ(MessageOf(status).rfind("decoding users-0@101: the table was truncated", 0), 0u)
      << MessageOf(status);
  options.truncates = Truncates::kReject;
  ExpectWhy(truncate, "the table was truncated", options);
  options.truncates = Truncates::kSkip;
  EXPECT_EQ(Decode(Users(), {truncate}, options).dropped, 1);
  options.truncates = Truncates::kApply;
  for (const bool nullable : {true, false}) {
    const Decoded decoded = Decode(Users(nullable), {kEvents[0], truncate, kEvents[0]}, options);
    EXPECT_EQ(Shown(*decoded.rows), (Lines{"+1 a", nullable ? "t0 null" : "t0 ", "+1 a"}));
    EXPECT_TRUE(decoded.kept.empty());
  }
}

TEST(Debezium, WithTheWholeRowBeforeEveryUpdateIsAPair) {
  DebeziumOptions options = Options();
  options.full_before = true;
  EXPECT_EQ(Shown(*Decode(Users(), {kEvents[1]}, options).rows), (Lines{"<1 a", ">1 b"}));
  ExpectWhy(kEvents[3], "REPLICA IDENTITY FULL", options);
  ExpectWhy(kEvents[6], "name a delete with the key only", options, false);
}

TEST(Debezium, ValuesThatWereNotSentAreNeverTaken) {
  const auto lists = [](const std::shared_ptr<arrow::DataType>& type) {
    return arrow::FieldVector{field("id", arrow::int64(), false), field("x", type)};
  };
  const auto reason = [&](const std::shared_ptr<arrow::DataType>& type, const std::string& value) {
    const std::string row = R"({"op":"u","after":{"id":1,"x":)" + value + "}}";
    const Decoded decoded = Decode(lists(type), {row, R"({"op":"c","after":{"id":2,"x":null}})"});
    EXPECT_EQ(Shown(*decoded.rows->Slice(decoded.rows->num_rows() - 1)), Lines{"+2 null"});
    if (decoded.rejected.empty()) return std::string();
    return decoded.rejected[0].column + " " + decoded.rejected[0].reason;
  };
  const auto numbers = [](const std::string& text) {
    std::string list;
    for (const char c : text) list += (list.empty() ? "[" : ",") + std::to_string(c);
    return list + "]";
  };
  const std::string quoted = "\"" + std::string(kPlaceholder) + "\"";
  const std::string base64 = "\"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==\"";
  for (const auto& [type, value] : std::vector<std::pair<std::shared_ptr<arrow::DataType>, std::string>>{
           {arrow::utf8(), quoted},
           {arrow::binary(), base64},
           {arrow::list(arrow::utf8()), "[" + quoted + "]"},
           {arrow::list(arrow::utf8()), "[\"" + Options().unavailable_uuid + "\"]"},
           {arrow::list(arrow::int64()), numbers(kPlaceholder)},
           {arrow::map(arrow::utf8(), arrow::utf8()), "{" + quoted + ":" + quoted + "}"},
           {arrow::decimal128(9, 2), quoted}}) {
    EXPECT_EQ(reason(type, value).rfind("x \"" + std::string(kPlaceholder) + "\" stands for", 0), 0u)
        << type->ToString() << reason(type, value);
  }
  EXPECT_EQ(reason(arrow::utf8(), "\"__debezium\""), "");
  EXPECT_EQ(reason(arrow::list(arrow::int64()), "[95,95]"), "");
  EXPECT_EQ(reason(arrow::utf8(), "\"\""), "");
  DebeziumOptions nothing = Options();
  nothing.unavailable.clear();
  const std::string row = R"({"op":"c","after":{"id":1,"name":)" + quoted + "}}";
  EXPECT_EQ(Shown(*Decode(Users(), {row}, nothing).rows), Lines{"+1 " + std::string(kPlaceholder)});
}

// A message with a schema of column x.
std::string WithSchema(const std::string& schema, const std::string& value) {
  const std::string row = R"({"type":"struct","fields":[{"type":"int64","field":"id"},)" +
                          schema.substr(0, schema.size() - 1) + R"(,"field":"x"}],"field":)";
  return R"({"schema":{"type":"struct","fields":[)" + row + R"("before"},)" + row +
         R"("after"},{"type":"string","field":"op"}]},"payload":{"op":"c","before":null,"after":{"id":1,"x":)" +
         value + "}}}";
}

std::string One(const std::shared_ptr<arrow::DataType>& type, const std::string& schema,
                const std::string& value, DebeziumOptions options = Options()) {
  const arrow::FieldVector fields{field("id", arrow::int64(), false), field("x", type)};
  const std::string row =
      schema.empty() ? R"({"op":"c","after":{"id":1,"x":)" + value + "}}" : WithSchema(schema, value);
  const Decoded decoded = Decode(fields, {row}, options);
  if (!decoded.rejected.empty()) return "! " + decoded.rejected[0].column + " " + decoded.rejected[0].reason;
  return decoded.rows->column(1)->GetScalar(0).ValueOrDie()->ToString();
}

std::string Named(const std::string& type, const std::string& name) {
  return R"({"type":")" + type + R"(","name":")" + name + "\"}";
}

TEST(Debezium, TimesAreReadByTheirNameInTheSchema) {
  const auto us = arrow::timestamp(arrow::TimeUnit::MICRO);
  const auto utc = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
  const auto clock = arrow::time64(arrow::TimeUnit::MICRO);
  const auto span = arrow::duration(arrow::TimeUnit::MICRO);
  const std::string d = "io.debezium.time.", c = "org.apache.kafka.connect.data.";
  EXPECT_EQ(One(arrow::date32(), Named("int32", d + "Date"), "20454"), "2026-01-01");
  EXPECT_EQ(One(arrow::date32(), Named("int32", c + "Date"), "-1"), "1969-12-31");
  EXPECT_EQ(One(us, Named("int64", d + "Timestamp"), "1500"), "1970-01-01 00:00:01.500000");
  EXPECT_EQ(One(us, Named("int64", c + "Timestamp"), "1500"), "1970-01-01 00:00:01.500000");
  EXPECT_EQ(One(us, Named("int64", d + "MicroTimestamp"), "1500"), "1970-01-01 00:00:00.001500");
  EXPECT_EQ(One(us, Named("int64", d + "NanoTimestamp"), "1500000"), "1970-01-01 00:00:00.001500");
  EXPECT_EQ(One(us, Named("int64", d + "NanoTimestamp"), "1").rfind("! x 1 has more digits", 0), 0u);
  EXPECT_EQ(One(utc, Named("string", d + "ZonedTimestamp"), "\"2026-01-01T02:00:00.5+02:00\""),
            "2026-01-01 00:00:00.500000Z");
  EXPECT_EQ(One(clock, Named("int32", d + "Time"), "1000"), "00:00:01.000000");
  EXPECT_EQ(One(clock, Named("int64", d + "MicroTime"), "1000"), "00:00:00.001000");
  EXPECT_EQ(One(clock, Named("int64", d + "NanoTime"), "1000"), "00:00:00.000001");
  EXPECT_EQ(One(span, Named("int64", d + "MicroTime"), "-45296789000"), "-45296789000");  // MySQL's TIME
  EXPECT_EQ(One(span, Named("int64", d + "MicroDuration"), "93784000000"), "93784000000");
  EXPECT_EQ(One(arrow::int64(), Named("int64", d + "MicroDuration"), "93784000000"), "93784000000");
  EXPECT_EQ(One(span, Named("string", d + "Interval"), "\"P1DT2H\""), "93600000000");
  EXPECT_EQ(One(span, Named("string", d + "Interval"), "\"P1Y2M\"").rfind("! x expected", 0), 0u);
  EXPECT_EQ(One(arrow::int32(), Named("int32", d + "Year"), "2026"), "2026");
  // What does not go together is refused for what it is, not read as something else.
  EXPECT_EQ(One(us, Named("int32", d + "Date"), "1").rfind("! x the message's schema says", 0), 0u);
  EXPECT_EQ(One(arrow::utf8(), Named("int64", d + "MicroTime"), "1").rfind("! x the message's schema", 0),
            0u);
  EXPECT_EQ(One(arrow::list(arrow::date32()),
                R"({"type":"array","items":{"type":"int32","name":"io.debezium.time.Date"}})", "[0,1]"),
            "list<item: date32[day]>[1970-01-01, 1970-01-02]");
}

TEST(Debezium, TimesWithoutASchemaNeedTheirUnit) {
  const auto us = arrow::timestamp(arrow::TimeUnit::MICRO);
  EXPECT_EQ(One(arrow::date32(), "", "20454"), "2026-01-01");
  EXPECT_EQ(
      One(us, "", "1500").rfind("! x expected ISO 8601 timestamp, got 1500; set the field's time_unit", 0),
      0u);
  EXPECT_EQ(One(arrow::duration(arrow::TimeUnit::NANO), "", "15"), "15000");
  const auto unit = arrow::key_value_metadata({"fz:time_unit"}, {"ms"});
  const arrow::FieldVector fields{field("id", us, false, unit)};
  EXPECT_EQ(Shown(*Decode(fields, {R"({"op":"c","after":{"id":1500}})"}).rows),
            Lines{"+1970-01-01 00:00:01.500000"});
}

TEST(Debezium, DecimalsInEachMode) {
  const std::string decimal =
      R"({"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2"}})";
  const auto d = arrow::decimal128(12, 2);
  EXPECT_EQ(One(d, decimal, "\"AN5Y\""), "569.20");
  EXPECT_EQ(One(d, decimal, "\"/w==\""), "-0.01");
  EXPECT_EQ(One(d, decimal, "\"AA==\""), "0.00");
  EXPECT_EQ(One(arrow::decimal256(50, 4), decimal, "\"AN5Y\""), "569.2000");
  EXPECT_EQ(One(arrow::decimal128(12, 1), decimal, "\"AN5Y\""), "569.2");
  EXPECT_EQ(One(arrow::decimal128(12, 0), decimal, "\"AN5Y\"").rfind("! x AN5Y has more digits", 0), 0u);
  EXPECT_EQ(One(arrow::decimal128(4, 2), decimal, "\"AN5Y\"").rfind("! x AN5Y is outside the range", 0), 0u);
  EXPECT_EQ(One(d, decimal, "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAN5Y\""), "569.20");  // zeros in front
  EXPECT_EQ(One(d, decimal, "\"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAN5Y\"").rfind("! x", 0), 0u);
  EXPECT_EQ(One(d, decimal, "\"569.2\"").rfind("! x expected base64 of a decimal", 0), 0u);
  EXPECT_EQ(One(d, decimal, "\"\"").rfind("! x expected base64 of a decimal", 0), 0u);
  EXPECT_EQ(One(arrow::utf8(), decimal, "\"AN5Y\"").rfind("! x the message's schema says a decimal", 0), 0u);
  for (const char* scale : {"x", "", "2.5", "99999999999"}) {  // a bad schema costs only its messages
    std::string bad = decimal;
    bad.replace(bad.find("\"2\""), 3, "\"" + std::string(scale) + "\"");
    EXPECT_NE(One(d, bad, "\"AN5Y\"").find("scale"), std::string::npos) << scale;
  }
  const std::string variable = Named("struct", "io.debezium.data.VariableScaleDecimal");
  EXPECT_EQ(One(d, variable, R"({"scale":1,"value":"Fjw="})"), "569.20");
  EXPECT_EQ(One(d, variable, R"({"value":"AQ==","scale":-2})"), "100.00");
  EXPECT_EQ(One(d, variable, R"({"value":"AQ=="})").rfind("! x expected", 0), 0u);
  EXPECT_EQ(One(d, R"({"type":"string"})", "\"569.20\""), "569.20");
  EXPECT_EQ(One(d, R"({"type":"double"})", "569.2"), "569.20");
  // Without a schema nobody can tell digits from base64 of three bytes.
  EXPECT_NE(One(d, "", "\"1234\"").find("decimals=\"string\""), std::string::npos);
  EXPECT_EQ(One(d, "", "12.5"), "12.50");
  DebeziumOptions options = Options();
  options.decimals = DebeziumDecimals::kString;
  EXPECT_EQ(One(d, "", "\"1234\"", options), "1234.00");
  options.decimals = DebeziumDecimals::kPrecise;
  EXPECT_EQ(One(d, "", "\"AN5Y\"", options), "569.20");
  EXPECT_EQ(One(d, "", R"({"scale":1,"value":"Fjw="})", options), "569.20");
  options.decimals = DebeziumDecimals::kDouble;
  EXPECT_EQ(One(d, "", "\"12\"", options).rfind("! x expected number", 0), 0u);
}

TEST(Debezium, BytesAreNotTakenForTextsNorTextsForBytes) {
  EXPECT_EQ(One(arrow::binary(), R"({"type":"bytes"})", "\"AAH/\""), std::string("\0\x01\xff", 3));
  EXPECT_EQ(One(arrow::binary(), R"({"type":"string"})", "\"0001ff00\"").rfind("! x the message's", 0), 0u);
  EXPECT_EQ(One(arrow::utf8(), R"({"type":"bytes"})", "\"AAH/\"").rfind("! x the message's", 0), 0u);
}

TEST(Debezium, UnwrappedEventsAreUpserts) {
  DebeziumOptions options = Options();
  options.unwrapped = true;
  const Lines rows = {
      R"({"id":1,"name":"a","__op":"c","__deleted":"false"})",
      R"({"id":1,"name":"b","__op":"u"})",
      R"({"schema":{},"payload":{"id":1,"name":"c","__deleted":"false"}})",
      R"({"id":1,"__deleted":"true"})",
      kTombstone,
  };
  const Decoded decoded = Decode(Users(false), rows, options);
  EXPECT_EQ(Shown(*decoded.rows), (Lines{"+1 a", ">1 b", ">1 c", "-1 "}));
  EXPECT_EQ(decoded.dropped, 1);
  const auto why = [&](const std::string& row) {
    return Decode(Users(false), {row}, options).rejected.at(0).reason;
  };
  EXPECT_NE(why(R"({"id":1,"name":"a"})").find("add.fields=op"), std::string::npos);
  EXPECT_NE(why(R"({"id":1,"__op":"u"})").find("missing or null"), std::string::npos);
  EXPECT_NE(why(R"({"id":1,"name":"a","__op":"x"})").find("none that is known"), std::string::npos);
  EXPECT_NE(why(R"({"__op":"t"})").size(), 0u);
}

TEST(Debezium, ColumnsOfTheEnvelopeAreThereForBothRowsOfAnUpdate) {
  arrow::FieldVector fields = Users();
  fields.push_back(
      field("_op", arrow::utf8(), false, arrow::key_value_metadata({kEnvelopeMetadata}, {R"(["op"])"})));
  fields.push_back(field("_source_lsn", arrow::int64(), true,
                         arrow::key_value_metadata({kEnvelopeMetadata}, {R"(["source","lsn"])"})));
  const Decoded decoded = Decode(
      fields, {R"({"op":"u","before":{"id":1},"after":{"id":1,"name":"b"},"source":{"lsn":7}})", kEvents[0]});
  EXPECT_EQ(Shown(*decoded.rows), (Lines{"<1 null u 7", ">1 b u 7", "+1 a c null"}));
}

TEST(Debezium, ATableMayHaveColumnsNamedLikeTheWrapper) {
  DebeziumOptions options = Options();
  options.unwrapped = true;
  options.key = {"schema"};
  const arrow::FieldVector fields{field("schema", arrow::utf8(), false), field("payload", arrow::utf8())};
  EXPECT_EQ(Shown(*Decode(fields, {R"({"schema":"a","payload":"b","__op":"c"})"}, options).rows),
            Lines{"+a b"});
}

TEST(Debezium, OptionsAreChecked) {
  const auto parse = [](const char* text) {
    return ParseDebeziumOptions(nlohmann::json::parse(text)).status();
  };
  EXPECT_TRUE(parse(R"({"kind":"debezium-json","key":["id"],"decimals":null,"before":"full"})").ok());
  EXPECT_FALSE(parse(R"({"key":[]})").ok());
  EXPECT_FALSE(parse(R"({"key":["id"],"before":"half"})").ok());
  EXPECT_FALSE(parse(R"({"key":["id"],"wrapped":true})").ok());
  EXPECT_FALSE(parse(R"({"key":["id"],"unwrapped":1})").ok());
  auto nested = Users();
  nested[1] = nested[1]->WithMetadata(arrow::key_value_metadata({"fz:source"}, {"a.b"}));
  nested.push_back(Kind());
  const auto made = MakeDebeziumDecoder(arrow::schema(nested), Options(), arrow::default_memory_pool());
  EXPECT_NE(made.status().message().find("columns of a table are not nested"), std::string::npos);
}

}  // namespace
}  // namespace frazil
