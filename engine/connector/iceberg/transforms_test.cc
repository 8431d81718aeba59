#include "connector/iceberg/transforms.h"

#include <arrow/array.h>
#include <arrow/builder.h>
#include <gtest/gtest.h>

#include <limits>

namespace frazil::iceberg {
namespace {

template <typename Builder, typename Value>
std::shared_ptr<arrow::Array> One(std::shared_ptr<arrow::DataType> type, Value value) {
  Builder builder(std::move(type), arrow::default_memory_pool());
  EXPECT_TRUE(builder.Append(value).ok());
  EXPECT_TRUE(builder.AppendNull().ok());
  return *builder.Finish();
}

std::shared_ptr<arrow::Array> Apply(const std::string& name, int64_t param,
                                    const std::shared_ptr<arrow::Array>& array) {
  auto out = Transform(name, param, array, arrow::default_memory_pool());
  EXPECT_TRUE(out.ok()) << out.status().ToString();
  EXPECT_TRUE((*out)->IsNull(1));
  return *out;
}

int32_t Int(const std::string& name, int64_t param, const std::shared_ptr<arrow::Array>& array) {
  return static_cast<const arrow::Int32Array&>(*Apply(name, param, array)).Value(0);
}

// With the greatest width the bucket is the hash without its sign.
int32_t Hash(const std::shared_ptr<arrow::Array>& array) { return Int("bucket", INT32_MAX, array); }

constexpr int32_t Unsigned(int32_t hash) { return (hash & 0x7fffffff) % INT32_MAX; }

}  // namespace

// Appendix B of the Iceberg specification.
TEST(IcebergTransforms, HashesAsTheSpecificationSays) {
  using arrow::TimeUnit;
  EXPECT_EQ(Hash(One<arrow::Int32Builder>(arrow::int32(), 34)), 2017239379);
  EXPECT_EQ(Hash(One<arrow::Int64Builder>(arrow::int64(), 34)), 2017239379);
  EXPECT_EQ(Hash(One<arrow::Date32Builder>(arrow::date32(), 17486)), Unsigned(-653330422));  // 2017-11-16
  EXPECT_EQ(Hash(One<arrow::Time64Builder>(arrow::time64(TimeUnit::MICRO), INT64_C(81068000000))),
            Unsigned(-662762989));
  EXPECT_EQ(Hash(One<arrow::TimestampBuilder>(arrow::timestamp(TimeUnit::MICRO), INT64_C(1510871468000000))),
            Unsigned(-2047944441));
  EXPECT_EQ(
      Hash(One<arrow::TimestampBuilder>(arrow::timestamp(TimeUnit::MICRO, "UTC"), INT64_C(1510871468000001))),
      Unsigned(-1207196810));
  EXPECT_EQ(
      Hash(One<arrow::TimestampBuilder>(arrow::timestamp(TimeUnit::NANO), INT64_C(1510871468000001001))),
      Unsigned(-1207196810));
  EXPECT_EQ(Hash(One<arrow::StringBuilder>(arrow::utf8(), "iceberg")), 1210000089);
  EXPECT_EQ(Hash(One<arrow::Decimal128Builder>(arrow::decimal128(9, 2), arrow::Decimal128(1420))),
            Unsigned(-500754589));
  const std::string uuid = "\xf7\x9c\x3e\x09\x67\x7c\x4b\xbd\xa4\x79\x3f\x34\x9c\xb7\x85\xe7";
  EXPECT_EQ(Hash(One<arrow::FixedSizeBinaryBuilder>(arrow::fixed_size_binary(16), uuid)), 1488055340);
  const std::string bytes("\x00\x01\x02\x03", 4);
  EXPECT_EQ(Hash(One<arrow::BinaryBuilder>(arrow::binary(), bytes)), Unsigned(-188683207));
}

TEST(IcebergTransforms, TruncatesAsTheSpecificationSays) {
  const auto whole = [](int32_t value) {
    return Int("truncate", 10, One<arrow::Int32Builder>(arrow::int32(), value));
  };
  EXPECT_EQ(whole(1), 0);
  EXPECT_EQ(whole(-1), -10);
  const auto decimal =
      Apply("truncate", 50, One<arrow::Decimal128Builder>(arrow::decimal128(9, 2), arrow::Decimal128(1065)));
  EXPECT_EQ(static_cast<const arrow::Decimal128Array&>(*decimal).FormatValue(0), "10.50");
  const auto text = Apply("truncate", 3, One<arrow::StringBuilder>(arrow::utf8(), "\u00fcberg"));
  EXPECT_EQ(static_cast<const arrow::StringArray&>(*text).GetView(0), "\u00fcbe");
  const auto least = One<arrow::Int32Builder>(arrow::int32(), std::numeric_limits<int32_t>::min());
  EXPECT_EQ(KindOf(Transform("truncate", 10, least, arrow::default_memory_pool()).status()),
            ErrorKind::kUser);
}

TEST(IcebergTransforms, RoundsTimesDown) {
  const auto before = One<arrow::TimestampBuilder>(arrow::timestamp(arrow::TimeUnit::MICRO), INT64_C(-1));
  EXPECT_EQ(Int("year", 0, before), -1);
  EXPECT_EQ(Int("month", 0, before), -1);
  EXPECT_EQ(Int("day", 0, before), -1);
  EXPECT_EQ(Int("hour", 0, before), -1);
  const auto day = One<arrow::Date32Builder>(arrow::date32(), 17486);
  EXPECT_EQ(Int("year", 0, day), 47);
  EXPECT_EQ(Int("month", 0, day), 574);
  EXPECT_EQ(Int("day", 0, day), 17486);
}

TEST(IcebergTransforms, RefusesWhatIcebergDoesNotDefine) {
  const auto refused = [](const std::string& name, int64_t param,
                          const std::shared_ptr<arrow::DataType>& type) {
    return KindOf(TransformType(name, param, *type).status()) == ErrorKind::kConfig;
  };
  EXPECT_TRUE(refused("bucket", 4, arrow::float64()));
  EXPECT_TRUE(refused("bucket", 0, arrow::int64()));
  EXPECT_TRUE(refused("truncate", 4, arrow::date32()));
  EXPECT_TRUE(refused("hour", 0, arrow::date32()));
  EXPECT_TRUE(refused("identity", 0, arrow::list(arrow::int32())));
  EXPECT_TRUE(refused("zorder", 0, arrow::int32()));
}

}  // namespace frazil::iceberg
