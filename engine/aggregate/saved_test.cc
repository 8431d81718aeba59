// The saved forms of version 1: checkpoints hold them, so they may never change. A new form takes a new
// version byte, and merge goes on reading the old one.
#include <gtest/gtest.h>

#include "aggregate/test_groups.h"

namespace frazil {
namespace {

std::string Hex(std::string_view bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (const char byte : bytes) {
    hex += kDigits[static_cast<uint8_t>(byte) >> 4];
    hex += kDigits[static_cast<uint8_t>(byte) & 15];
  }
  return hex;
}

std::shared_ptr<arrow::Array> FromHex(const std::shared_ptr<arrow::DataType>& type, std::string_view hex) {
  std::string bytes;
  for (size_t i = 0; i < hex.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16));
  }
  if (type->id() == arrow::Type::BINARY) {
    arrow::BinaryBuilder builder;
    EXPECT_TRUE(builder.Append(bytes).ok());
    return *builder.Finish();
  }
  arrow::FixedSizeBinaryBuilder builder(type);
  EXPECT_TRUE(builder.Append(bytes).ok());
  return *builder.Finish();
}

struct Form {
  const char* name;
  const char* options;
  const char* column;  // a letter of ColumnOf for each argument
  const char* hex;
};

std::shared_ptr<arrow::Array> ColumnOf(char letter) {
  switch (letter) {
    case 'n':
      return Json(arrow::int32(), "[7, null, -2, 7]");
    case 'x':
      return Json(arrow::float64(), "[0.5, null, 4, 1e100]");
    case 't':
      return Json(arrow::utf8(), R"(["bb", null, "a string that is long", ""])");
    case 'd':
      return Json(arrow::decimal128(9, 2), R"(["1.00", null, "-2.50", "0.01"])");
    default:
      return Json(arrow::boolean(), "[true, null, false, true]");
  }
}

const Form kForms[] = {
    {"count", "{}", "", "010400000000000000"},
    {"sum", "{}", "n", "010c000000000000000000000000000000"},
    {"sum", "{}", "x", "017dc39425ad49b2540000000000001240"},
    {"sum", "{}", "d", "016bffffffffffffffffffffffffffffffffffffffffffffff"},
    {"mean", "{}", "n", "010c0000000000000000000000000000000300000000000000"},
    {"mean", "{}", "x", "017dc39425ad49b25400000000000012400300000000000000"},
    {"mean", "{}", "d", "016bffffffffffffffffffffffffffffffffffffffffffffff0300000000000000"},
    {"min", "{}", "n", "01feffffff01000000"},
    {"max", "{}", "x", "017dc39425ad49b2540100000000000000"},
    {"min", "{}", "d", "0106ffffffffffffffffffffffffffffff0100000000000000"},
    {"any", "{}", "b", "010100000001000000"},
    {"max", "{}", "t", "0102020000006262"},
    {"variance", "{}", "x",
     "0103000000000000007dc39425ad49b25400000000000012405a62d7d718e77469000000000040304024ac3eff"
     "9a5f17660000000000000000"},
    {"first", "{}", "t",
     "0103000000000000000200000000000000000000000000000002150000006120737472696e6720746861742069"
     "73206c6f6e67"},
    {"last", R"({"ignore_nulls": false})", "n",
     "010600000000000000020000000000000001000000000000000207000000"},
    {"arg_max", "{}", "tx", "01027dc39425ad49b2540600000000000000020000000000000001000000000000000200000000"},
    {"count_distinct", "{}", "n", "010200000007000000feffffff"},
    {"count_distinct", "{}", "t",
     "0103000000020000006262150000006120737472696e672074686174206973206c6f6e6700000000"},
    {"collect_set", "{}", "x", "0103000000000000000000e03f00000000000010407dc39425ad49b254"},
    {"most_common", "{}", "t",
     "010300000001000000000000000200000062620100000000000000150000006120737472696e67207468617420"
     "6973206c6f6e67010000000000000000000000"},
    {"collect_list", R"({"ignore_nulls": false})", "n",
     "010400000005000000000000000100000000000000000000000000000000070000000400000000000000010000"
     "000000000001000000000000000103000000000000000200000000000000000000000000000000feffffff0600"
     "000000000000020000000000000001000000000000000007000000"},
    {"collect_list", "{}", "t",
     "010300000005000000000000000100000000000000000000000000000000020000006262030000000000000002"
     "00000000000000000000000000000000150000006120737472696e672074686174206973206c6f6e6706000000"
     "00000000020000000000000001000000000000000000000000"},
    {"top_k", "{}", "n", "010a00000003000000feffffff0700000007000000"},
    {"top_k", R"({"k": 2})", "tx",
     "010200000002000000000000000000104003000000000000000200000000000000000000000000000015000000"
     "6120737472696e672074686174206973206c6f6e677dc39425ad49b25406000000000000000200000000000000"
     "010000000000000000000000"},
    {"approx_count_distinct", R"({"bits": 4})", "t", "0104ffffffff00000100000000000000010200000000"},
    {"approx_count_distinct", "{}", "t", "010c0300000002d0020002af0a0002770b00"},
    {"quantile", R"({"q": 0.5})", "x",
     "017b14ae47e17a843f030000000000000000000000000000000000000000000000000000000000000000000000"
     "00000000000000000000e03f7dc39425ad49b254020000006b25000002000000000000006a2d00000100000000"
     "00000000000000"},
};

TEST(AggregateSaved, VersionOneIsFixed) {
  for (const Form& form : kForms) {
    SCOPED_TRACE(std::string(form.name) + " " + form.column);
    arrow::ArrayVector inputs;
    for (const char letter : std::string_view(form.column)) inputs.push_back(ColumnOf(letter));
    const auto aggregate = Make(form.name, TypesOf(inputs), nlohmann::json::parse(form.options));
    Groups groups(*aggregate, 1), restored(*aggregate, 1);
    const std::vector<OrderKey> order = {{5, 1, 0}, {4, 1, 1}, {3, 2, 0}, {6, 2, 1}};
    ASSERT_TRUE(groups.add({0, 0, 0, 0}, inputs, order).ok());
    const auto saved = *groups.save();
    const bool fixed = saved->type_id() == arrow::Type::FIXED_SIZE_BINARY;
    EXPECT_EQ(Hex(fixed ? static_cast<const arrow::FixedSizeBinaryArray&>(*saved).GetView(0)
                        : static_cast<const arrow::BinaryArray&>(*saved).GetView(0)),
              form.hex);
    const Status status = restored.merge({0}, *FromHex(aggregate->saved_type(), form.hex));
    ASSERT_TRUE(status.ok()) << status.ToString();
    EXPECT_TRUE((*restored.finish())->Equals(**groups.finish()));
  }
}

}  // namespace
}  // namespace frazil
