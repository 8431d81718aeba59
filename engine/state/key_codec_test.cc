#include "state/key_codec.h"

#include <arrow/api.h>
#include <arrow/util/decimal.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "state/key.h"

namespace frazil {
namespace {

using arrow::TimeUnit;

std::shared_ptr<arrow::Array> FromJson(const std::shared_ptr<arrow::DataType>& type,
                                       const std::vector<const char*>& values) {
  arrow::StringBuilder builder;
  for (const char* value : values) {
    EXPECT_TRUE((value == nullptr ? builder.AppendNull() : builder.Append(value)).ok());
  }
  auto array = *builder.Finish();
  auto made = arrow::MakeBuilder(type);
  for (int64_t i = 0; i < array->length(); ++i) {
    if (array->IsNull(i)) {
      EXPECT_TRUE((*made)->AppendNull().ok());
      continue;
    }
    auto scalar = arrow::Scalar::Parse(type, static_cast<const arrow::StringArray&>(*array).GetView(i));
    EXPECT_TRUE(scalar.ok()) << scalar.status();
    EXPECT_TRUE((*made)->AppendScalar(**scalar).ok());
  }
  return *(*made)->Finish();
}

std::shared_ptr<arrow::Array> Decimals(const std::shared_ptr<arrow::DataType>& type,
                                       const std::vector<int64_t>& values) {
  arrow::Decimal128Builder builder(type);
  for (int64_t value : values) EXPECT_TRUE(builder.Append(arrow::Decimal128(value)).ok());
  EXPECT_TRUE(builder.AppendNull().ok());
  return *builder.Finish();
}

// One column of every type a key may have, with a null and the limits of the type.
arrow::ArrayVector EveryType() {
  const char* text = "K\xc3\xb6ln, a page of more than sixteen bytes";
  return {
      FromJson(arrow::boolean(), {"true", "false", nullptr}),
      FromJson(arrow::int8(), {"-128", "127", nullptr}),
      FromJson(arrow::int16(), {"-32768", "32767", nullptr}),
      FromJson(arrow::int32(), {"-2147483648", "2147483647", nullptr}),
      FromJson(arrow::int64(), {"-9223372036854775808", "9223372036854775807", nullptr}),
      FromJson(arrow::uint8(), {"0", "255", nullptr}),
      FromJson(arrow::uint16(), {"0", "65535", nullptr}),
      FromJson(arrow::uint32(), {"0", "4294967295", nullptr}),
      FromJson(arrow::uint64(), {"0", "18446744073709551615", nullptr}),
      FromJson(arrow::float32(), {"1.5", "-3.4028235e38", nullptr}),
      FromJson(arrow::float64(), {"inf", "2.5e-308", nullptr}),
      FromJson(arrow::date32(), {"1969-12-31", "2026-02-28", nullptr}),
      FromJson(arrow::timestamp(TimeUnit::SECOND), {"1960-01-01 00:00:01", "2262-01-01 00:00:00", nullptr}),
      FromJson(arrow::timestamp(TimeUnit::MILLI, "UTC"),
               {"1960-01-01 00:00:00.001Z", "2026-01-01 00:00:00Z", nullptr}),
      FromJson(arrow::timestamp(TimeUnit::MICRO, "Europe/Berlin"),
               {"1960-01-01 00:00:00.000001Z", "2026-01-01 00:00:00Z", nullptr}),
      FromJson(arrow::timestamp(TimeUnit::NANO),
               {"1960-01-01 00:00:00.000001", "2026-01-01 00:00:00", nullptr}),
      FromJson(arrow::time32(TimeUnit::SECOND), {"00:00:00", "23:59:59", nullptr}),
      FromJson(arrow::time32(TimeUnit::MILLI), {"00:00:00.001", "23:59:59.999", nullptr}),
      FromJson(arrow::time64(TimeUnit::MICRO), {"00:00:00.000001", "23:59:59.999999", nullptr}),
      FromJson(arrow::time64(TimeUnit::NANO), {"00:00:00.000001", "23:59:59.999999", nullptr}),
      FromJson(arrow::duration(TimeUnit::MILLI), {"-7", "7", nullptr}),
      FromJson(arrow::duration(TimeUnit::NANO), {"-7000", "7000", nullptr}),
      FromJson(arrow::utf8(), {"", text, nullptr}),
      FromJson(arrow::large_utf8(), {text, "", nullptr}),
      FromJson(arrow::binary(), {"\x01\x02", text, nullptr}),
      FromJson(arrow::large_binary(), {"", text, nullptr}),
      FromJson(arrow::fixed_size_binary(3), {"abc", "xyz", nullptr}),
      Decimals(arrow::decimal128(18, 2), {-1, 999'999'999'999'999'999}),
  };
}

arrow::DataTypeVector TypesOf(const arrow::ArrayVector& columns) {
  arrow::DataTypeVector types;
  for (const auto& column : columns) types.push_back(column->type());
  return types;
}

EncodedKeys Encode(const arrow::ArrayVector& columns) {
  EncodedKeys keys;
  const auto codec = *KeyCodec::Make(TypesOf(columns));
  const auto status = codec.encode(columns, columns[0]->length(), &keys);
  EXPECT_TRUE(status.ok()) << status;
  return keys;
}

std::vector<std::string> Strings(const EncodedKeys& keys) {
  std::vector<std::string> strings;
  for (int64_t i = 0; i < keys.size(); ++i) strings.emplace_back(keys.key(i));
  return strings;
}

std::vector<std::string_view> Views(const std::vector<std::string>& strings) {
  return {strings.begin(), strings.end()};
}

TEST(KeyCodec, BytesAreThoseOfVersionOne) {
  const auto keys =
      Encode({FromJson(arrow::utf8(), {"user", nullptr}), FromJson(arrow::int32(), {"-2", "3"}),
              FromJson(arrow::float32(), {"-0.0", nullptr}), Decimals(arrow::decimal128(9, 2), {258})});
  EXPECT_EQ(keys.key(0), std::string_view("\1\4\0\0\0user"
                                          "\1\xfe\xff\xff\xff\xff\xff\xff\xff"
                                          "\1\0\0\0\0\0\0\0\0"
                                          "\1\2\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
                                          9 + 9 + 9 + 17));
  EXPECT_EQ(keys.key(1), std::string_view("\0\1\3\0\0\0\0\0\0\0\0\0", 12));
  EXPECT_EQ(keys.hash(0), HashKey(keys.key(0)));
}

TEST(KeyCodec, EveryTypeComesBack) {
  const auto columns = EveryType();
  const auto codec = *KeyCodec::Make(TypesOf(columns));
  const auto strings = Strings(Encode(columns));
  auto decoded = codec.decode(Views(strings), arrow::default_memory_pool());
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  ASSERT_EQ(decoded->size(), columns.size());
  for (size_t i = 0; i < columns.size(); ++i) {
    ASSERT_TRUE((*decoded)[i]->ValidateFull().ok());
    EXPECT_TRUE((*decoded)[i]->Equals(columns[i])) << (*decoded)[i]->ToString() << columns[i]->ToString();
  }
}

TEST(KeyCodec, SlicesAndHashKeysAgree) {
  arrow::ArrayVector sliced;
  const auto columns = EveryType();
  for (const auto& column : columns) sliced.push_back(column->Slice(1));
  const auto whole = Encode(columns);
  const auto part = Encode(sliced);
  EXPECT_EQ(part.key(0), whole.key(1));
  EXPECT_EQ(part.key(1), whole.key(2));
  EXPECT_EQ(*HashKeys(columns, 3), std::vector<uint64_t>(whole.hashes().begin(), whole.hashes().end()));
}

TEST(KeyCodec, TimesOfEveryUnitAreOneKey) {
  const auto expected =
      Strings(Encode({FromJson(arrow::timestamp(TimeUnit::MICRO), {"1969-12-31 23:59:58"})}));
  for (auto unit : {TimeUnit::SECOND, TimeUnit::MILLI, TimeUnit::NANO}) {
    EXPECT_EQ(Strings(Encode({FromJson(arrow::timestamp(unit), {"1969-12-31 23:59:58"})})), expected);
  }
}

TEST(KeyCodec, ZerosAndNansAreNormal) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  arrow::DoubleBuilder builder;
  ASSERT_TRUE(builder.AppendValues({-0.0, 0.0, -nan, nan}).ok());
  const auto strings = Strings(Encode({*builder.Finish()}));
  EXPECT_EQ(strings[0], strings[1]);
  EXPECT_EQ(strings[2], strings[3]);
  const auto decoded =
      *KeyCodec::Make({arrow::float64()})->decode(Views(strings), arrow::default_memory_pool());
  EXPECT_FALSE(std::signbit(static_cast<const arrow::DoubleArray&>(*decoded[0]).Value(0)));
  EXPECT_TRUE(std::isnan(static_cast<const arrow::DoubleArray&>(*decoded[0]).Value(2)));
}

TEST(KeyCodec, TimesThatWouldChangeAreRefused) {
  const auto refused = [](const std::shared_ptr<arrow::DataType>& type, int64_t value) {
    arrow::TimestampBuilder builder(type, arrow::default_memory_pool());
    EXPECT_TRUE(builder.AppendValues({0, value}).ok());
    EncodedKeys keys;
    const auto status = KeyCodec::Make({type})->encode({*builder.Finish()}, 2, &keys);
    return !status.ok() && KindOf(status) == ErrorKind::kUser ? MessageOf(status) : "";
  };
  EXPECT_NE(refused(arrow::timestamp(TimeUnit::NANO), 1'500).find("00:00:00.000001500 (timestamp[ns])"),
            std::string::npos);
  EXPECT_NE(refused(arrow::timestamp(TimeUnit::NANO), -1), "");
  EXPECT_EQ(refused(arrow::timestamp(TimeUnit::NANO), -1'000), "");
  EXPECT_NE(refused(arrow::timestamp(TimeUnit::SECOND), 10'000'000'000'000), "");
  arrow::Time32Builder midnight(arrow::time32(TimeUnit::SECOND), arrow::default_memory_pool());
  ASSERT_TRUE(midnight.Append(86'400).ok());
  EncodedKeys keys;
  EXPECT_FALSE(KeyCodec::Make({midnight.type()})->encode({*midnight.Finish()}, 1, &keys).ok());
  EXPECT_NE(refused(arrow::timestamp(TimeUnit::MILLI), std::numeric_limits<int64_t>::min()), "");
}

TEST(KeyCodec, TypesThatCannotBeKeys) {
  for (const auto& type :
       {arrow::float16(), arrow::list(arrow::int64()), arrow::decimal256(50, 2), arrow::null()}) {
    EXPECT_EQ(KindOf(KeyCodec::Make({arrow::int64(), type}).status()), ErrorKind::kUser) << type->ToString();
  }
}

TEST(KeyCodec, GivenHashesAreKeptAndBuffersReused) {
  EncodedKeys keys;
  const auto codec = *KeyCodec::Make({arrow::int64()});
  const std::vector<uint64_t> hashes = {5, 6};
  ASSERT_TRUE(codec.encode({FromJson(arrow::int64(), {"1", "2"})}, 2, &keys, hashes).ok());
  EXPECT_EQ(keys.hash(1), 6u);
  ASSERT_TRUE(codec.encode({FromJson(arrow::int64(), {"1"})}, 1, &keys).ok());
  EXPECT_EQ(keys.size(), 1);
  EXPECT_EQ(keys.hash(0), HashKey(keys.key(0)));
  ASSERT_TRUE(codec.encode({FromJson(arrow::int64(), {})}, 0, &keys).ok());
  EXPECT_TRUE(keys.hashes().empty());
  const std::vector<std::string_view> given = {"abc", "", "d"};
  ASSERT_TRUE(keys.assign(given).ok());
  EXPECT_EQ(keys.key(0), "abc");
  EXPECT_EQ(keys.key(1), "");
  EXPECT_EQ(keys.hash(2), HashKey("d"));
}

TEST(KeyCodec, NoColumnsAreOneKey) {
  EncodedKeys keys;
  const auto codec = *KeyCodec::Make({});
  ASSERT_TRUE(codec.encode({}, 2, &keys).ok());
  EXPECT_EQ(keys.key(1), "");
  EXPECT_EQ(keys.hash(0), keys.hash(1));
  const std::vector<std::string_view> views = {"x"};
  EXPECT_FALSE(codec.decode(views, arrow::default_memory_pool()).ok());
}

TEST(KeyCodec, ValuesOfOtherTypesAreRefused) {
  const auto refused = [](const arrow::ArrayVector& columns, const arrow::DataTypeVector& types) {
    const auto strings = Strings(Encode(columns));
    const auto status = KeyCodec::Make(types)->decode(Views(strings), arrow::default_memory_pool()).status();
    return !status.ok() && KindOf(status) == ErrorKind::kState;
  };
  const auto big = FromJson(arrow::int64(), {"1", "300"});
  EXPECT_TRUE(refused({big}, {arrow::int8()}));
  EXPECT_TRUE(refused({big}, {arrow::boolean()}));
  EXPECT_TRUE(refused({big}, {arrow::timestamp(TimeUnit::SECOND)}));
  EXPECT_TRUE(refused({big}, {arrow::int64(), arrow::int64()}));
  EXPECT_TRUE(refused({big, big}, {arrow::int64()}));
  EXPECT_TRUE(refused({FromJson(arrow::int64(), {"-9223372036854775808"})}, {arrow::float64()}));  // -0.0
  EXPECT_TRUE(refused({FromJson(arrow::float64(), {"0.1"})}, {arrow::float32()}));
  EXPECT_TRUE(refused({FromJson(arrow::binary(), {"\xff"})}, {arrow::utf8()}));
  EXPECT_TRUE(refused({FromJson(arrow::utf8(), {"ab"})}, {arrow::fixed_size_binary(3)}));
  EXPECT_TRUE(refused({Decimals(arrow::decimal128(18, 0), {1000})}, {arrow::decimal128(3, 0)}));
}

// Damaged keys are refused, or are keys themselves: what decodes encodes to the same bytes.
TEST(KeyCodec, DamagedKeys) {
  const auto columns = EveryType();
  const auto codec = *KeyCodec::Make(TypesOf(columns));
  const auto keys = Strings(Encode(columns));
  std::mt19937 random(11);
  int refused = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string key = keys[random() % keys.size()];
    switch (random() % 4) {
      case 0:
        key.resize(random() % key.size());
        break;
      case 1:
        key.insert(random() % key.size(), 1, static_cast<char>(random()));
        break;
      default:
        for (unsigned n = 0; n < 1 + random() % 3; ++n) {
          key[random() % key.size()] ^= static_cast<char>(1u << random() % 8);
        }
    }
    const std::vector<std::string_view> views = {key};
    const auto decoded = codec.decode(views, arrow::default_memory_pool());
    if (!decoded.ok()) {
      ASSERT_EQ(KindOf(decoded.status()), ErrorKind::kState) << decoded.status();
      ++refused;
      continue;
    }
    for (const auto& column : *decoded) ASSERT_TRUE(column->ValidateFull().ok());
    EncodedKeys again;
    ASSERT_TRUE(codec.encode(*decoded, 1, &again).ok());
    ASSERT_EQ(again.key(0), key);
  }
  EXPECT_GT(refused, 8'000);
}

}  // namespace
}  // namespace frazil
