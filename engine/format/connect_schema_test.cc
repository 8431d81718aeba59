#include "format/connect_schema.h"

#include <gtest/gtest.h>

namespace frazil {
namespace {

using Json = nlohmann::json;

Json Converted(const char* text) {
  auto made = ConnectSchemaOf(Json::parse(text));
  EXPECT_TRUE(made.ok()) << made.status().ToString();
  return made.ok() ? *made : Json();
}

TEST(ConnectSchema, NamesAndTypesOfConnect) {
  EXPECT_EQ(Converted(R"({"oneOf":[{"type":"null"},{"type":"integer","title":"io.debezium.time.Date",)"
                      R"("connect.version":1,"connect.type":"int32"}],"connect.index":3})"),
            Json::parse(R"({"type":"int32","name":"io.debezium.time.Date"})"));
  EXPECT_EQ(
      Converted(R"({"type":"number","title":"D","connect.type":"bytes","connect.parameters":{"scale":2}})"),
      Json::parse(R"({"type":"bytes","name":"D","parameters":{"scale":"2"}})"));
  EXPECT_EQ(Converted(R"({"type":"object","title":"V","properties":{"a":{"type":"array","items":{"type":)"
                      R"("string"}},"b":{"type":["null","boolean"]}}})"),
            Json::parse(R"({"type":"struct","name":"V","fields":[{"field":"a","type":"array","items":)"
                        R"({"type":"string"}},{"field":"b","type":"boolean"}]})"));
}

TEST(ConnectSchema, WhatHasNoOneTypeHasNone) {
  EXPECT_EQ(Converted(R"({"oneOf":[{"type":"string"},{"type":"integer"}]})"), Json::object());
  EXPECT_EQ(Converted(R"({"$ref":"#/definitions/A"})"), Json::object());
  EXPECT_EQ(Converted(R"({"enum":["a"]})"), Json::parse(R"({"type":"string"})"));
  EXPECT_EQ(Converted(R"({"type":["string","integer"]})"), Json::object());
}

TEST(ConnectSchema, IsBounded) {
  EXPECT_FALSE(ConnectSchemaOf(Json::parse("[]")).ok());
  Json deep = {{"type", "string"}};
  for (int i = 0; i < 100; ++i) deep = {{"type", "array"}, {"items", deep}};
  const auto status = ConnectSchemaOf(deep).status();
  EXPECT_NE(status.message().find("nested deeper than"), std::string::npos) << status;
}

}  // namespace
}  // namespace frazil
