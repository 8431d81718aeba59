#include "expr/expr.h"

#include <arrow/api.h>
#include <arrow/io/memory.h>
#include <arrow/ipc/writer.h>
#include <arrow/util/base64.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "expr/function.h"
#include "expr/hash.h"

namespace frazil {
namespace {

using nlohmann::json;

json Lit(const std::shared_ptr<arrow::Scalar>& value) {
  auto array = arrow::MakeArrayFromScalar(*value, 1).ValueOrDie();
  auto batch = arrow::RecordBatch::Make(arrow::schema({arrow::field("", value->type)}), 1, {array});
  auto out = arrow::io::BufferOutputStream::Create().ValueOrDie();
  auto writer = arrow::ipc::MakeStreamWriter(out, batch->schema()).ValueOrDie();
  EXPECT_TRUE(writer->WriteRecordBatch(*batch).ok());
  EXPECT_TRUE(writer->Close().ok());
  return {{"lit", arrow::util::base64_encode(out->Finish().ValueOrDie()->ToString())}};
}

json Lit(int64_t value) { return Lit(arrow::MakeScalar(value)); }
json Col(const std::string& name) { return {{"col", name}}; }
json Fn(const std::string& name, std::vector<json> args) { return {{"fn", name}, {"args", args}}; }

template <typename Builder, typename T>
std::shared_ptr<arrow::Array> Make(const std::vector<T>& values) {
  Builder builder;
  EXPECT_TRUE(builder.AppendValues(values).ok());
  return builder.Finish().ValueOrDie();
}

std::shared_ptr<arrow::RecordBatch> Rows() {
  auto a = Make<arrow::Int64Builder, int64_t>({7, 8, 9});
  auto b = Make<arrow::Int64Builder, int64_t>({2, 0, -2});
  auto s = Make<arrow::StringBuilder, std::string>({"x", "y", "z"});
  return arrow::RecordBatch::Make(
      arrow::schema({arrow::field("a", arrow::int64(), false), arrow::field("b", arrow::int64(), false),
                     arrow::field("s", arrow::utf8()), arrow::field("__fz_kind", arrow::uint8())}),
      3, {a, b, s, Make<arrow::UInt8Builder, uint8_t>({0, 0, 0})});
}

std::string Evaluated(const json& expression) {
  auto bound = Bind(expression, *Rows()->schema());
  if (!bound.ok()) return NameOf(bound.status()) + ": " + bound.status().message();
  auto values = bound->Evaluate(*Rows());
  if (!values.ok()) return NameOf(values.status()) + ": " + values.status().message();
  std::string text;
  for (int64_t i = 0; i < (*values)->length(); ++i) {
    text += (i == 0 ? "" : " ") + (*values)->GetScalar(i).ValueOrDie()->ToString();
  }
  return text;
}

TEST(Expr, ComputesWithArrowKernels) {
  EXPECT_EQ(Evaluated(Fn("add", {Col("a"), Lit(1)})), "8 9 10");
  EXPECT_EQ(Evaluated(Fn("greater", {Col("a"), Lit(7)})), "false true true");
}

TEST(Expr, APlainColumnIsNotCopied) {
  const auto rows = Rows();
  const BoundExpr bound = Bind(Col("s"), *rows->schema()).ValueOrDie();
  EXPECT_EQ(bound.column(), 2);
  EXPECT_EQ(bound.Evaluate(*rows).ValueOrDie().get(), rows->column(2).get());
}

TEST(Expr, NamesWhatIsWrong) {
  EXPECT_EQ(
      Evaluated(Col("aa")),
      "ColumnNotFound: no column 'aa' in the stream\nhave: a: int64, b: int64, s: string\ndid you mean 'a'?");
  EXPECT_EQ(Evaluated(Col("__fz_kind")),
            "ColumnNotFound: no column '__fz_kind' in the stream\nhave: a: int64, b: int64, s: string");
  EXPECT_EQ(
      Evaluated(Fn("greater", {Col("s"), Lit(10)})),
      "TypeMismatch: cannot compare string with int64\nin: (s > 10)\ncast one side: col(...).cast(int64)");
  EXPECT_EQ(
      Evaluated(Fn("frobnicate", {Col("s")})),
      "FunctionNotFound: the engine has no function 'frobnicate'\nthe plan was made by another version");
}

TEST(Expr, ShowsTheFirstBadRow) {
  EXPECT_EQ(Evaluated(Fn("floor_divide", {Col("a"), Col("b")})),
            "DataError: evaluating (a // b): divide by zero\nfirst bad row: a = 8, b = 0\n"
            "fz.when(b != 0).then(a // b) computes only where it can");
  EXPECT_EQ(Evaluated(Fn("multiply", {Col("a"), Lit(int64_t{1} << 61)})),
            "DataError: evaluating (a * 2305843009213693952): overflow\nfirst bad row: a = 7\n"
            "cast to a wider type first: .cast(fz.Decimal[38, 0])");
}

TEST(Expr, ComputesOnlyWhatIsChosen) {
  const json not_zero = Fn("not_equal", {Col("b"), Lit(0)});
  const json quotient = Fn("floor_divide", {Col("a"), Col("b")});
  EXPECT_EQ(Evaluated(Fn("when", {not_zero, quotient, Lit(0)})), "3 0 -5");
  EXPECT_EQ(Evaluated(Fn("and", {not_zero, Fn("greater", {quotient, Lit(0)})})), "true false false");
  EXPECT_EQ(Evaluated(Fn("or", {Fn("equal", {Col("b"), Lit(0)}), Fn("greater", {quotient, Lit(0)})})),
            "true true false");
  EXPECT_EQ(Evaluated(Fn("coalesce", {Fn("null_if", {Col("b"), Lit(2)}), quotient})), "3 0 -2");
}

TEST(Expr, ComputesConstantsOnce) {
  const BoundExpr bound =
      Bind(Fn("add", {Lit(2), Fn("multiply", {Lit(3), Lit(4)})}), *Rows()->schema()).ValueOrDie();
  ASSERT_NE(bound.node().literal, nullptr);
  EXPECT_EQ(bound.node().literal->ToString(), "14");
  EXPECT_EQ(bound.text(), "(2 + (3 * 4))");
}

TEST(Expr, RefusesWhatIsTooDeep) {
  json deep = Col("a");
  for (int i = 0; i < 300; ++i) deep = Fn("negate", {deep});
  EXPECT_EQ(NameOf(Bind(deep, *Rows()->schema()).status()), "PlanError");
}

TEST(Expr, RefusesWhatIsNoExpression) {
  for (const char* text : {"", "[]", "{}", "{\"fn\":1}", "{\"lit\":\"!\"}", "{\"lit\":\"\"}",
                           "{\"fn\":\"add\",\"args\":3}", "{\"fn\":\"cast\",\"args\":[{\"col\":\"a\"}]}"}) {
    EXPECT_FALSE(Bind(std::string_view(text), *Rows()->schema()).ok()) << text;
  }
}

TEST(Hash, IsTheOneOfThePublishedVectors) {
  const auto hash = [](const std::string& text) {
    return expr::HashRows({Make<arrow::StringBuilder, std::string>({text})}, arrow::default_memory_pool())
        .ValueOrDie()
        ->Value(0);
  };
  EXPECT_EQ(hash(""), 0xEF46DB3751D8E999u);
  EXPECT_EQ(hash("abc"), 0x44BC2CF5AD770999u);
}

TEST(Hash, Sha256OfThePublishedVectors) {
  const auto hex = [](const std::string& bytes) {
    std::string text;
    for (const char c : expr::Sha256(bytes)) {
      char digits[3];
      std::snprintf(digits, sizeof(digits), "%02x", static_cast<unsigned char>(c));
      text += digits;
    }
    return text;
  };
  EXPECT_EQ(hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(hex(std::string(1'000'000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

}  // namespace
}  // namespace frazil
