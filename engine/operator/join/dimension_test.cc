#include "operator/join/dimension.h"

#include <arrow/api.h>
#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <random>

#include "base/limits.h"

namespace frazil {
namespace {

using Batches = std::vector<std::shared_ptr<arrow::RecordBatch>>;

std::shared_ptr<arrow::Array> Ints(const std::vector<std::optional<int64_t>>& values) {
  arrow::Int64Builder builder;
  for (const auto& value : values) EXPECT_TRUE(builder.AppendOrNull(value).ok());
  return builder.Finish().ValueOrDie();
}

std::shared_ptr<arrow::Schema> Schema() {
  return arrow::schema({arrow::field("id", arrow::int64()), arrow::field("n", arrow::int64())});
}

Dimension::Spec Spec(bool unique) { return {"users", {"id"}, {"n"}, unique, int64_t{64} << 20}; }

// Rows with these keys; n counts them over all batches.
Batches Tables(const std::vector<std::vector<std::optional<int64_t>>>& keys) {
  Batches batches;
  int64_t number = 0;
  for (const auto& part : keys) {
    std::vector<std::optional<int64_t>> numbers;
    for (size_t i = 0; i < part.size(); ++i) numbers.emplace_back(number++);
    batches.push_back(
        arrow::RecordBatch::Make(Schema(), static_cast<int64_t>(part.size()), {Ints(part), Ints(numbers)}));
  }
  return batches;
}

// All rows of a key, in the order in which they are given.
std::vector<uint32_t> All(const Dimension& table, const std::shared_ptr<arrow::Array>& key) {
  const auto codec = KeyCodec::Make({key->type()}).ValueOrDie();
  EncodedKeys keys;
  EXPECT_TRUE(codec.encode({key}, 1, &keys).ok());
  std::vector<uint32_t> first, all;
  table.find(keys, KeyNulls({key}, 1), &first);
  for (uint32_t row = first[0]; row != Dimension::kNoRow; row = table.next(row)) all.push_back(row);
  return all;
}

TEST(Dimension, FindsWhatAMapFinds) {
  std::mt19937_64 random(7);
  std::vector<std::vector<std::optional<int64_t>>> keys(5);
  std::map<int64_t, std::vector<uint32_t>> expected;
  uint32_t row = 0;
  for (auto& part : keys) {
    for (int i = 0; i < 30'000; ++i, ++row) {
      if (random() % 50 == 0) {
        part.emplace_back(std::nullopt);
        continue;
      }
      part.emplace_back(static_cast<int64_t>(random() % 100'000) - 50'000);
      expected[*part.back()].push_back(row);
    }
  }
  const auto table = Dimension::Make(Spec(false), Schema(), Tables(keys)).ValueOrDie();
  EXPECT_EQ(table->rows()->num_rows(), row);
  EXPECT_LT(table->keyed_rows(), row);
  for (int64_t key = -50'100; key < 50'100; key += 37) {
    EXPECT_EQ(All(*table, Ints({key})), expected[key]) << key;
  }
  EXPECT_TRUE(All(*table, Ints({std::nullopt})).empty());
  EXPECT_GT(table->bytes(), row * 8);
}

TEST(Dimension, TakesSlicesAndNoRows) {
  Batches batches = Tables({{1, 2, 3}, {}, {4}});
  batches[0] = batches[0]->Slice(1, 1);
  const auto table = Dimension::Make(Spec(true), Schema(), batches).ValueOrDie();
  EXPECT_EQ(All(*table, Ints({2})), std::vector<uint32_t>{0});
  EXPECT_EQ(All(*table, Ints({4})), std::vector<uint32_t>{1});
  EXPECT_TRUE(All(*table, Ints({1})).empty());
  const auto empty = Dimension::Make(Spec(true), Schema(), {}).ValueOrDie();
  EXPECT_TRUE(All(*empty, Ints({1})).empty());
  EXPECT_EQ(empty->rows()->num_columns(), 1);
}

TEST(Dimension, KnowsRowsThatAreOnlyLookedFor) {
  Dimension::Spec spec = Spec(false);
  spec.columns.clear();
  const auto table = Dimension::Make(spec, Schema(), Tables({{5, 5}, {6}})).ValueOrDie();
  EXPECT_EQ(table->rows()->num_rows(), 3);
  EXPECT_EQ(All(*table, Ints({5})).size(), 2U);
}

TEST(Dimension, RefusesASecondRowOfAKey) {
  const auto made = Dimension::Make(Spec(true), Schema(), Tables({{1, 7}, {std::nullopt, 7, std::nullopt}}));
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(NameOf(made.status()), "DataError");
  EXPECT_TRUE(MessageOf(made.status()).starts_with("lookup users: rows 1 and 3 have the same key id=7\n"))
      << MessageOf(made.status());
}

TEST(Dimension, RefusesMoreThanItsLimit) {
  Dimension::Spec spec = Spec(true);
  std::vector<std::optional<int64_t>> keys;
  for (int64_t i = 0; i < 10'000; ++i) keys.emplace_back(i);
  for (const int64_t limit : {1'000, 100'000, 250'000}) {  // the columns, the keys, the index
    spec.max_bytes = limit;
    const auto made = Dimension::Make(spec, Schema(), Tables({keys}));
    ASSERT_FALSE(made.ok()) << limit;
    EXPECT_EQ(NameOf(made.status()), "DataError");
    EXPECT_NE(MessageOf(made.status()).find("at most " + std::to_string(limit) + " bytes (max_bytes)"),
              std::string::npos)
        << MessageOf(made.status());
  }
  spec.max_bytes = 1'000'000;
  EXPECT_TRUE(Dimension::Make(spec, Schema(), Tables({keys})).ok());
}

TEST(Dimension, KeysOfOtherWidthsAreEqual) {
  const auto table = Dimension::Make(Spec(true), Schema(), Tables({{-3, 200}})).ValueOrDie();
  arrow::Int8Builder small;
  arrow::UInt8Builder bare;
  ASSERT_TRUE(small.Append(-3).ok());
  ASSERT_TRUE(bare.Append(200).ok());
  EXPECT_EQ(All(*table, small.Finish().ValueOrDie()).size(), 1U);
  EXPECT_EQ(All(*table, bare.Finish().ValueOrDie()).size(), 1U);
}

TEST(Dimension, SaysTheSizeOfRowsThatDiffer) {
  const auto schema =
      arrow::schema({arrow::field("id", arrow::int64()), arrow::field("text", arrow::utf8())});
  const auto table = [&](size_t large) {
    arrow::StringBuilder texts;
    EXPECT_TRUE(texts.Append("a").ok());
    EXPECT_TRUE(texts.Append(std::string(large, 'b')).ok());
    const auto batch = arrow::RecordBatch::Make(schema, 2, {Ints({1, 2}), texts.Finish().ValueOrDie()});
    Dimension::Spec spec{"users", {"id"}, {"text"}, true, int64_t{64} << 20};
    return Dimension::Make(spec, schema, {batch}).ValueOrDie();
  };
  EXPECT_EQ(table(3)->bytes_of(0), table(3)->bytes_of(1));
  EXPECT_LT(table(1 << 20)->bytes_of(0), 100);
  EXPECT_GE(table(1 << 20)->bytes_of(1), 1 << 20);
}

TEST(Dimension, TypesThatCanBeOneKey) {
  const auto utc = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
  EXPECT_TRUE(SameKeyType(*arrow::int8(), *arrow::uint32()));
  EXPECT_TRUE(SameKeyType(*arrow::uint8(), *arrow::uint64()));
  EXPECT_FALSE(SameKeyType(*arrow::int64(), *arrow::uint64()));
  EXPECT_FALSE(SameKeyType(*arrow::int64(), *arrow::float64()));
  EXPECT_FALSE(SameKeyType(*arrow::float32(), *arrow::float64()));
  EXPECT_TRUE(SameKeyType(*arrow::utf8(), *arrow::large_utf8()));
  EXPECT_FALSE(SameKeyType(*arrow::utf8(), *arrow::binary()));
  EXPECT_TRUE(SameKeyType(*arrow::binary(), *arrow::fixed_size_binary(4)));
  EXPECT_TRUE(SameKeyType(*utc, *arrow::timestamp(arrow::TimeUnit::MILLI, "Europe/Berlin")));
  EXPECT_FALSE(SameKeyType(*utc, *arrow::timestamp(arrow::TimeUnit::MICRO)));
  EXPECT_FALSE(SameKeyType(*utc, *arrow::date32()));
  EXPECT_TRUE(SameKeyType(*arrow::decimal128(9, 2), *arrow::decimal128(12, 2)));
  EXPECT_FALSE(SameKeyType(*arrow::decimal128(9, 2), *arrow::decimal128(9, 3)));
  EXPECT_TRUE(SameKeyType(*arrow::boolean(), *arrow::boolean()));
  EXPECT_FALSE(SameKeyType(*arrow::boolean(), *arrow::int8()));
}

}  // namespace
}  // namespace frazil
