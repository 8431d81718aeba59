#include "operator/ordered/top_n.h"

#include <gtest/gtest.h>

#include <limits>
#include <map>
#include <numeric>

#include "operator/ordered/sort_key.h"
#include "operator/ordered/test_ordered.h"

namespace frazil {
namespace {

using namespace ordered_test;
using nlohmann::json;

json Spec(int64_t n, bool descending, const json& rank = "rank") {
  return {{"keys", {"k", "at"}},
          {"time", {{"column", "at"}, {"minus_us", 0}}},
          {"n", n},
          {"by", {{{"column", "v"}, {"descending", descending}}}},
          {"rank", rank}};
}

std::unique_ptr<Operator> Make(const json& spec) { return TopN::Make(spec, Input(), {}).ValueOrDie(); }

std::vector<Row> Sorted(std::vector<Row> rows) {
  std::sort(rows.begin(), rows.end());
  return rows;
}

std::vector<Row> Model(const std::vector<Row>& rows, size_t n, bool descending) {
  std::map<std::pair<int64_t, int64_t>, std::vector<Row>> groups;
  for (const Row& row : rows) groups[{row.at, row.k}].push_back(row);
  std::vector<Row> best;
  for (auto& [name, group] : groups) {
    std::sort(group.begin(), group.end(),
              [&](const Row& a, const Row& b) { return descending ? a.v > b.v : a.v < b.v; });
    for (size_t i = 0; i < std::min(n, group.size()); ++i) best.push_back(group[i]);
  }
  return Sorted(best);
}

TEST(TopN, GivesTheFirstOfEachKeyWhenTheirTimeIsOver) {
  const auto op = Make(Spec(2, true));
  Collect out;
  Expect(op->process(BatchOf({{1, 9, 5}, {1, 9, 7}, {2, 9, 1}, {1, 9, 6}, {1, 19, 3}}), out),
         Progress::kDone);
  Expect(op->advance(0, 9, out), Progress::kDone);
  EXPECT_TRUE(out.batches.empty());
  Expect(op->advance(0, 10, out), Progress::kDone);
  ASSERT_EQ(out.batches.size(), 1U);
  EXPECT_EQ(Sorted(RowsOf(out.batches)), (std::vector<Row>{{1, 9, 6}, {1, 9, 7}, {2, 9, 1}}));
  const auto v = Int64s(*out.batches[0].columns, "v"), rank = Int64s(*out.batches[0].columns, "rank");
  for (int64_t i = 0; i < 3; ++i) EXPECT_EQ(rank->Value(i), v->Value(i) == 6 ? 2 : 1);
  EXPECT_EQ(op->promise(), 10);
}

TEST(TopN, LetsGoWhatIsNotNeeded) {
  const auto op = Make(Spec(3, false, nullptr));
  Collect out;
  for (int64_t i = 0; i < 60; ++i) {
    std::vector<Row> rows;
    for (int64_t j = 0; j < 4'096; ++j) rows.push_back({j % 5, 1, (i * 4'096 + j) * 7919 % 245'760});
    Expect(op->process(BatchOf(rows), out), Progress::kDone);
    EXPECT_LT(op->state_bytes(), 4 << 20);
  }
  EXPECT_LE(op->snapshot(false).ValueOrDie().size(), 3U);
  Expect(op->advance(0, kWatermarkMax, out), Progress::kDone);
  EXPECT_EQ(RowsOf(out.batches).size(), 15U);
  EXPECT_EQ(op->state_bytes(), 0);
}

TEST(TopN, RefusesStateOfAnotherShape) {
  EXPECT_EQ(KindOf(Make(Spec(1, false))->restore(BatchOf({{1, 0, 0}}).columns)), ErrorKind::kState);
}

// Any order of the rows of a time, any split, any watermarks, deaths at any time.
TEST(TopN, DrawnRunsGiveWhatTheModelGives) {
  for (uint32_t seed = 0; seed < 200; ++seed) {
    std::mt19937 rng(seed);
    auto rows = DrawRows(&rng, 120, 2 + static_cast<int>(rng() % 5), 2);
    for (Row& row : rows) row.at -= row.at % 4;
    std::vector<int64_t> values(rows.size());
    std::iota(values.begin(), values.end(), 0);
    std::shuffle(values.begin(), values.end(), rng);
    for (size_t i = 0; i < rows.size(); ++i) rows[i].v = values[i];
    const size_t n = 1 + rng() % 3;
    const bool descending = rng() % 2 == 0;
    const json spec = Spec(static_cast<int64_t>(n), descending);
    EXPECT_EQ(Sorted(RowsOf(RunDrawn([&] { return Make(spec); }, rows, &rng, 3))), Model(rows, n, descending))
        << seed;
  }
}

std::string KeyOf(const std::shared_ptr<arrow::Array>& values, int64_t row, bool descending) {
  std::string key;
  AppendSortKey(*values, row, descending, &key);
  return key;
}

template <typename Builder, typename Value>
void ExpectOrder(Builder builder, const std::vector<Value>& values, int behind = 1) {
  for (const auto& value : values) ASSERT_TRUE(builder.Append(value).ok());
  ASSERT_TRUE(builder.AppendNull().ok());
  const std::shared_ptr<arrow::Array> array = builder.Finish().ValueOrDie();
  const int64_t turning = array->length() - behind;  // what is behind is so in both directions
  for (int64_t i = 0; i + 1 < array->length(); ++i) {
    EXPECT_LT(KeyOf(array, i, false), KeyOf(array, i + 1, false)) << array->type()->ToString() << " " << i;
    if (i + 1 < turning) {
      EXPECT_GT(KeyOf(array, i, true), KeyOf(array, i + 1, true)) << array->type()->ToString() << " " << i;
    } else {
      EXPECT_LT(KeyOf(array, i, true), KeyOf(array, i + 1, true)) << array->type()->ToString() << " " << i;
    }
  }
}

TEST(SortKey, ComparesAsValuesDo) {
  constexpr double kInf = std::numeric_limits<double>::infinity();
  ExpectOrder(arrow::Int64Builder(), std::vector<int64_t>{INT64_MIN, -256, -1, 0, 1, 255, 256, INT64_MAX});
  ExpectOrder(arrow::Int8Builder(), std::vector<int8_t>{-128, -1, 0, 127});
  ExpectOrder(arrow::UInt64Builder(), std::vector<uint64_t>{0, 255, 256, UINT64_MAX});
  ExpectOrder(arrow::BooleanBuilder(), std::vector<bool>{false, true});
  ExpectOrder(arrow::DoubleBuilder(),
              std::vector<double>{-kInf, -1e300, -1, -1e-300, 0, 5e-324, 1, kInf, NAN}, 2);
  ExpectOrder(arrow::FloatBuilder(), std::vector<float>{-2, 0, 3, NAN}, 2);
  using namespace std::string_literals;
  ExpectOrder(arrow::StringBuilder(),
              std::vector<std::string>{"", "\0"s, "\0\1"s, "\1", "a", "a\0"s, "a\0b"s, "a\1", "aa", "b"});
  ExpectOrder(arrow::Decimal128Builder(arrow::decimal128(38, 2)),
              std::vector<arrow::Decimal128>{-300, -1, 0, 1, arrow::Decimal128(1, 0)});
  ExpectOrder(arrow::TimestampBuilder(kTime, arrow::default_memory_pool()), std::vector<int64_t>{-5, 0, 7});
  ExpectOrder(arrow::Date32Builder(), std::vector<int32_t>{-5, 0, 7});
  arrow::DoubleBuilder zeros;
  ASSERT_TRUE(zeros.Append(0.0).ok() && zeros.Append(-0.0).ok());
  const std::shared_ptr<arrow::Array> both = zeros.Finish().ValueOrDie();
  EXPECT_EQ(KeyOf(both, 0, false), KeyOf(both, 1, false));
}

}  // namespace
}  // namespace frazil
