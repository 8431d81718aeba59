#include "connector/iceberg/rest_columns.h"

#include <arrow/api.h>
#include <gtest/gtest.h>

#include "base/batch.h"

namespace frazil::iceberg {
namespace {

using Json = nlohmann::json;

std::vector<std::string> Members(std::string_view text) {
  std::vector<RestMember> members;
  if (!MembersOf(text, &members)) return {"none"};
  std::vector<std::string> found;
  for (const auto& member : members) {
    found.push_back(std::string(member.key) + "=" + std::string(member.value));
    EXPECT_TRUE(member.whole.starts_with(member.key) && member.whole.ends_with(member.value));
  }
  return found;
}

TEST(RestMembersTest, MembersAreToldApart) {
  EXPECT_EQ(Members("{}"), std::vector<std::string>());
  EXPECT_EQ(
      Members(R"( { "a" : 1 , "b":"x,}\"", "c":{"d":[1,{"e":"]"}]} ,"f":null } )"),
      (std::vector<std::string>{R"("a"=1)", R"("b"="x,}\"")", R"("c"={"d":[1,{"e":"]"}]})", R"("f"=null)"}));
  for (const char* text : {"", "[1]", "1", "{", R"({"a")", R"({"a":})", R"({"a":1)", R"({"a":1}x)",
                           R"({"a":1,})", R"({a:1})", R"({"a":"x)", R"({"a\)", R"({"a":[1})"}) {
    EXPECT_EQ(Members(text), std::vector<std::string>{"none"}) << text;
  }
}

TEST(RestMembersTest, ValuesHaveTypes) {
  using Kind = RestValue::Kind;
  EXPECT_EQ(ValueOf("null").kind, Kind::kNull);
  EXPECT_TRUE(ValueOf("true").boolean);
  EXPECT_EQ(ValueOf("-9223372036854775808").integer, INT64_MIN);
  EXPECT_EQ(ValueOf("9223372036854775807").integer, INT64_MAX);
  EXPECT_EQ(ValueOf("9223372036854775808").kind, Kind::kNone);
  EXPECT_EQ(ValueOf("123456789012345678901234567890").kind, Kind::kNone);
  EXPECT_EQ(ValueOf("1e400").kind, Kind::kNone);
  EXPECT_EQ(ValueOf("1e3").kind, Kind::kDouble);
  EXPECT_EQ(ValueOf("2.50").number, 2.5);
  EXPECT_EQ(ValueOf(R"("a\u00e4\n")").text, "aä\n");
  EXPECT_EQ(ValueOf(R"("plain")").text, "plain");
  EXPECT_EQ(ValueOf(R"({"a": 1.10})").text, R"({"a": 1.10})");
  EXPECT_EQ(ValueOf("[1]").kind, Kind::kJson);
  EXPECT_EQ(ValueOf("nul").kind, Kind::kNone);
  EXPECT_EQ(TextOf(R"("a\"b")"), "a\"b");
  EXPECT_EQ(TextOf("1"), std::nullopt);
}

class RestColumnsTest : public ::testing::Test {
 protected:
  static std::shared_ptr<const RestPolicies> policies(const Json& changed = Json::object()) {
    Json drift = {{"expand", "rest"},
                  {"columns_max", 100},
                  {"on_new_column", {{"*", "evolve"}}},
                  {"on_wider_type", {{"*", "evolve"}}},
                  {"on_type_conflict", {{"*", "ignore"}}}};
    drift.update(changed);
    auto parsed = ParseRestPolicies({{"drift", drift}});
    EXPECT_TRUE(parsed.ok()) << parsed.status();
    return *parsed;
  }

  static std::shared_ptr<arrow::Schema> table(arrow::FieldVector further = {}) {
    arrow::FieldVector fields = {arrow::field("id", arrow::int64()), arrow::field("rest", arrow::utf8())};
    fields.insert(fields.end(), further.begin(), further.end());
    return arrow::schema(fields);
  }

  // Rows numbered from 0 with these rests; "" is null.
  static std::shared_ptr<arrow::RecordBatch> rows(const std::vector<std::string>& rests,
                                                  const std::vector<RowKind>& kinds = {}) {
    arrow::Int64Builder ids;
    arrow::StringBuilder texts;
    arrow::UInt8Builder numbers;
    for (const auto& rest : rests) {
      EXPECT_TRUE(ids.Append(ids.length()).ok());
      EXPECT_TRUE((rest.empty() ? texts.AppendNull() : texts.Append(rest)).ok());
    }
    auto fields = arrow::FieldVector{arrow::field("id", arrow::int64()), arrow::field("rest", arrow::utf8())};
    arrow::ArrayVector columns = {*ids.Finish(), *texts.Finish()};
    if (!kinds.empty()) {
      for (const auto kind : kinds) EXPECT_TRUE(numbers.Append(static_cast<uint8_t>(kind)).ok());
      fields.push_back(arrow::field(std::string(kKindColumn), arrow::uint8()));
      columns.push_back(*numbers.Finish());
    }
    return arrow::RecordBatch::Make(arrow::schema(fields), static_cast<int64_t>(rests.size()), columns);
  }

  // What a batch becomes, a row a line, without nulls and ids; or what it waits for.
  static std::vector<std::string> unpacked(RestColumns* columns,
                                           const std::shared_ptr<arrow::RecordBatch>& batch) {
    WantedColumns wanted;
    auto result = columns->unpack(batch, &wanted);
    if (!result.ok()) return {MessageOf(result.status())};
    std::vector<std::string> found;
    if (*result == nullptr) {
      for (const auto& [name, type] : wanted) found.push_back("wants " + name + " " + type);
      if (found.empty()) found.push_back("waits");
      return found;
    }
    EXPECT_TRUE((*result)->ValidateFull().ok());
    for (int64_t row = 0; row < (*result)->num_rows(); ++row) {
      std::string line;
      for (int i = 1; i < (*result)->num_columns(); ++i) {
        if ((*result)->column(i)->IsNull(row) || (*result)->column_name(i) == kKindColumn) continue;
        line += (line.empty() ? "" : " ") + (*result)->column_name(i) + "=" +
                (*(*result)->column(i)->GetScalar(row))->ToString();
      }
      found.push_back(line);
    }
    return found;
  }
  using Lines = std::vector<std::string>;

  static Json pairs(const std::vector<std::pair<std::string, std::string>>& given) {
    Json made = Json::array();
    for (const auto& [name, type] : given) made.push_back(Json::array({name, type}));
    return made;
  }
};

TEST_F(RestColumnsTest, FieldsWaitForTheirColumnsAndAreAskedForOnce) {
  const auto known = table();
  RestColumns columns(policies(), known.get(), "", false, arrow::default_memory_pool());
  const auto batch = rows({R"({"a":1,"b":"x"})", "", R"({"a":1.5,"c":{"d":[1]},"e":null})"});
  EXPECT_EQ(unpacked(&columns, batch), (Lines{"wants a double", "wants b string", "wants c string"}));
  EXPECT_EQ(unpacked(&columns, rows({R"({"b":"y"})"})), Lines{"waits"});
  EXPECT_EQ(unpacked(&columns, rows({R"({"b":true,"f":true})"})),
            (Lines{"wants b boolean", "wants f boolean"}));
  const auto wider = table({arrow::field("a", arrow::float64()), arrow::field("b", arrow::utf8()),
                            arrow::field("c", arrow::utf8()), arrow::field("f", arrow::boolean())});
  ASSERT_TRUE(columns.answer(*wider, {{"answered", pairs({{"a", "double"}, {"b", "string"}})}}).ok());
  EXPECT_EQ(unpacked(&columns, batch), (Lines{"a=1 b=x", "", R"(a=1.5 c={"d":[1]})"}));
  EXPECT_EQ(unpacked(&columns, rows({R"({"b":true,"f":true})"})), Lines{R"(rest={"b":true} f=true)"});
}

TEST_F(RestColumnsTest, ABatchWithoutARestGoesAsItIs) {
  const auto known = table();
  RestColumns columns(policies({{"on_new_column", {{"*", "stop"}}}}), known.get(), "", false,
                      arrow::default_memory_pool());
  const auto batch = rows({"", ""});
  WantedColumns wanted;
  EXPECT_EQ(*columns.unpack(batch, &wanted), batch);
}

TEST_F(RestColumnsTest, ValuesGoIntoColumnsWholeOrStay) {
  const auto known = table({arrow::field("i", arrow::int32()), arrow::field("l", arrow::int64()),
                            arrow::field("f", arrow::float32()), arrow::field("d", arrow::float64()),
                            arrow::field("s", arrow::utf8()), arrow::field("day", arrow::date32())});
  RestColumns columns(policies({{"on_wider_type", {{"*", "stop"}}}}), known.get(), "", false,
                      arrow::default_memory_pool());
  EXPECT_EQ(unpacked(&columns, rows({
                                   R"({"i":2147483647,"l":9007199254740993,"f":0.5,"d":3,"s":"x"})",
                                   R"({"i":2147483648,"l":1.0,"f":0.1,"d":9007199254740993,"s":1})",
                                   R"({"i":"1","l":true,"f":16777217,"d":"x","day":"2026-01-01"})",
                                   R"({"i":null,"l":null,"s":{"a": 1},"day":null})",
                                   R"({"l":1,"l":2,"s":"\u00e4"})",
                                   R"({"i":-2147483648,"f":16777216,"d":-9007199254740992})",
                               })),
            (Lines{
                "i=2147483647 l=9007199254740993 f=0.5 d=3 s=x",
                R"(rest={"i":2147483648,"l":1.0,"f":0.1,"d":9007199254740993,"s":1})",
                R"(rest={"i":"1","l":true,"f":16777217,"d":"x","day":"2026-01-01"})",
                R"(s={"a": 1})",
                "l=2 s=ä",
                "i=-2147483648 f=16777216 d=-9.007199254740992e+15",
            }));
}

TEST_F(RestColumnsTest, ColumnsAreWidened) {
  const auto known = table({arrow::field("i", arrow::int32()), arrow::field("f", arrow::float32())});
  RestColumns columns(policies(), known.get(), "", false, arrow::default_memory_pool());
  const auto batch = rows({R"({"i":2147483648,"f":0.1})", R"({"i":1,"f":16777217})"});
  EXPECT_EQ(unpacked(&columns, batch), (Lines{"wants f double", "wants i long"}));
  // One of them cannot be.
  const auto wider = table({arrow::field("i", arrow::int64()), arrow::field("f", arrow::float32())});
  ASSERT_TRUE(columns.answer(*wider, {{"answered", pairs({{"f", "double"}, {"i", "long"}})}}).ok());
  EXPECT_EQ(unpacked(&columns, batch),
            (Lines{R"(rest={"f":0.1} i=2147483648)", R"(rest={"f":16777217} i=1)"}));
}

TEST_F(RestColumnsTest, PoliciesSayWhatIsDone) {
  const auto known = table({arrow::field("s", arrow::utf8())});
  const auto with = [&](const Json& changed) {
    return RestColumns(policies(changed), known.get(), "", false, arrow::default_memory_pool());
  };
  auto ignoring = with({{"on_new_column", {{"*", "ignore"}, {"b", "evolve"}}}});
  EXPECT_EQ(unpacked(&ignoring, rows({R"({"a":1, "s":"x","n":null})"})),
            Lines{R"(rest={"a":1,"n":null} s=x)"});
  EXPECT_EQ(unpacked(&ignoring, rows({R"({"a":1,"b":1})"})), Lines{"wants b long"});
  auto stopping = with({{"on_new_column", {{"*", "stop"}}}});
  EXPECT_EQ(unpacked(&stopping, rows({R"({"a":null})"})),
            Lines{R"(writing field "a" of column "rest": the table has no column for it; )"
                  R"(on_new_column="evolve" adds one, "ignore" leaves it in "rest")"});
  auto strict = with({{"on_type_conflict", {{"*", "stop"}}}});
  EXPECT_EQ(unpacked(&strict, rows({R"({"s":7})"})),
            Lines{R"(writing field "s" of column "rest": the table has string, got 7; )"
                  R"(on_type_conflict="ignore" leaves it in "rest")"});
  EXPECT_EQ(unpacked(&strict, rows({R"({"big":123456789012345678901})"})),
            Lines{R"(writing field "big" of column "rest": no column holds such a number, got )"
                  R"(123456789012345678901; on_type_conflict="ignore" leaves it in "rest")"});
}

TEST_F(RestColumnsTest, FieldsWithoutAColumnAreNotAskedForAgain) {
  const auto known = table();
  RestColumns columns(policies({{"columns_max", 3}}), known.get(), "", false, arrow::default_memory_pool());
  const auto batch = rows({R"({"ID":1,"a":2})"});
  EXPECT_EQ(unpacked(&columns, batch), (Lines{"wants ID long", "wants a long"}));
  ASSERT_TRUE(
      columns
          .answer(*table({arrow::field("a", arrow::int64())}),
                  {{"answered", pairs({{"ID", "long"}, {"a", "long"}})}, {"refused", {{"ID", "case"}}}})
          .ok());
  EXPECT_EQ(unpacked(&columns, batch), Lines{R"(rest={"ID":1} a=2)"});
  EXPECT_EQ(unpacked(&columns, rows({R"({"b":1})"})), Lines{"wants b long"});
  ASSERT_TRUE(columns
                  .answer(*table({arrow::field("a", arrow::int64())}),
                          {{"answered", pairs({{"b", "long"}})}, {"full", "too many"}})
                  .ok());
  EXPECT_EQ(unpacked(&columns, rows({R"({"b":1,"c":2,"a":3})"})), Lines{R"(rest={"b":1,"c":2} a=3)"});
  // So many that nobody would ask for all at once.
  RestColumns many(policies({{"columns_max", 1}}), known.get(), "", false, arrow::default_memory_pool());
  EXPECT_EQ(unpacked(&many, rows({R"({"a":1,"b":2,"c":3})"})), (Lines{"wants a long", "wants b long"}));
  const std::string name(kColumnNameBytes + 1, 'x');
  const std::string text = "{\"" + name + "\":1}";
  EXPECT_EQ(unpacked(&many, rows({text})), Lines{"rest=" + text});
}

TEST_F(RestColumnsTest, ColumnsOfTheStreamAndOfTheSinkStayOutOfIt) {
  const auto known = table({arrow::field("_deleted", arrow::boolean())});
  RestColumns columns(policies(), known.get(), "_deleted", false, arrow::default_memory_pool());
  EXPECT_EQ(unpacked(&columns, rows({R"({"id":7,"rest":"x","_deleted":true})", "no object", "{}"})),
            (Lines{R"(rest={"id":7,"rest":"x","_deleted":true})", "rest=no object", ""}));
}

TEST_F(RestColumnsTest, RowsThatGoNeedNoColumns) {
  const auto known = table();
  const auto batch =
      rows({R"({"a":1})", R"({"b":1})", ""}, {RowKind::kDelete, RowKind::kUpdateBefore, RowKind::kInsert});
  RestColumns hard(policies(), known.get(), "", true, arrow::default_memory_pool());
  EXPECT_EQ(unpacked(&hard, batch), (Lines{"", "", ""}));
  RestColumns soft(policies(), known.get(), "_deleted", false, arrow::default_memory_pool());
  EXPECT_EQ(unpacked(&soft, batch), (Lines{"wants a long", "wants b long"}));
}

}  // namespace
}  // namespace frazil::iceberg
