#include "state/held_rows.h"

#include <arrow/api.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <string>

#include "base/batch.h"

namespace frazil {
namespace {

const auto kSchema =
    arrow::schema({arrow::field("n", arrow::int64(), false), arrow::field("text", arrow::utf8()),
                   arrow::field("list", arrow::list(arrow::int32()))});

std::string TextOf(int64_t n) {
  return n % 7 == 0 ? "" : std::string(static_cast<size_t>(n % 40), 'a' + n % 26);
}

std::shared_ptr<arrow::RecordBatch> Numbers(int64_t from, int64_t to) {
  arrow::Int64Builder numbers;
  arrow::StringBuilder texts;
  arrow::ListBuilder lists(arrow::default_memory_pool(), std::make_shared<arrow::Int32Builder>());
  for (int64_t n = from; n < to; ++n) {
    EXPECT_TRUE(numbers.Append(n).ok());
    EXPECT_TRUE((n % 7 == 0 ? texts.AppendNull() : texts.Append(TextOf(n))).ok());
    EXPECT_TRUE(lists.Append().ok());
    for (int i = 0; i < n % 3; ++i) {
      EXPECT_TRUE(static_cast<arrow::Int32Builder*>(lists.value_builder())->Append(static_cast<int>(n)).ok());
    }
  }
  return arrow::RecordBatch::Make(
      kSchema, to - from,
      {numbers.Finish().ValueOrDie(), texts.Finish().ValueOrDie(), lists.Finish().ValueOrDie()});
}

// The rows gathered are those of these numbers, in order.
void ExpectRows(const HeldRows& held, const std::vector<HeldRow>& rows, const std::vector<int64_t>& numbers) {
  const auto gathered = held.gather(rows).ValueOrDie();
  ASSERT_TRUE(gathered->ValidateFull().ok());
  ASSERT_EQ(gathered->num_rows(), static_cast<int64_t>(numbers.size()));
  for (size_t i = 0; i < numbers.size(); ++i) {
    const auto expected = Numbers(numbers[i], numbers[i] + 1);
    ASSERT_TRUE(gathered->Slice(static_cast<int64_t>(i), 1)->Equals(*expected)) << i;
  }
}

TEST(HeldRows, GivesRowsInAnyOrderAndAsOftenAsAsked) {
  HeldRows held(kSchema, arrow::default_memory_pool());
  const uint32_t a = held.add(Numbers(0, 10)).ValueOrDie();
  const uint32_t b = held.add(Numbers(10, 20)->Slice(3)).ValueOrDie();
  EXPECT_EQ(held.size(), 17);
  ExpectRows(held, {}, {});
  ExpectRows(held, {{a, 2}, {a, 3}, {a, 4}}, {2, 3, 4});
  ExpectRows(held, {{a, 4}, {a, 3}, {a, 3}}, {4, 3, 3});
  ExpectRows(held, {{b, 0}, {a, 9}, {b, 6}, {a, 0}, {b, 0}}, {13, 9, 19, 0, 13});
}

TEST(HeldRows, GivesMemoryBackWithTheLastRowOfABlock) {
  HeldRows held(kSchema, arrow::default_memory_pool());
  const auto rows = Numbers(0, 100);
  const uint32_t a = held.add(rows).ValueOrDie();
  EXPECT_EQ(held.bytes(), BatchBytes({rows, {}, nullptr}));
  std::weak_ptr<arrow::Array> column = rows->column(0);
  for (uint32_t i = 0; i < 100; ++i) {
    EXPECT_GT(held.bytes(), 0);
    ASSERT_TRUE(held.release({a, i}).ok());
  }
  EXPECT_EQ(held.bytes(), 0);
  EXPECT_EQ(held.size(), 0);
  EXPECT_EQ(held.add(Numbers(0, 1)).ValueOrDie(), a);  // its number is free again
}

// Against a map of what is held: rows come, go and are compacted at random.
TEST(HeldRows, KeepsWhatIsHeldThroughCompaction) {
  std::mt19937_64 random(7);
  HeldRows held(kSchema, arrow::default_memory_pool());
  std::map<int64_t, HeldRow> known;
  int64_t next = 0;
  int compacted = 0;
  for (int step = 0; step < 300; ++step) {
    const auto count = static_cast<int64_t>(random() % 3000 + 1);
    const uint32_t block = held.add(Numbers(next, next + count)).ValueOrDie();
    for (int64_t i = 0; i < count; ++i) known[next + i] = {block, static_cast<uint32_t>(i)};
    next += count;
    // Of the older rows one of eight stays for long.
    for (auto row = known.begin(); row != known.end();) {
      const int64_t age = next - row->first;
      const bool goes = age > (row->first % 8 == 0 ? 200'000 : 4000);
      if (goes) ASSERT_TRUE(held.release(row->second).ok());
      row = goes ? known.erase(row) : std::next(row);
    }
    ASSERT_EQ(held.size(), static_cast<int64_t>(known.size()));
    if (held.sparse()) {
      ++compacted;
      held.settle();
      std::vector<HeldRow*> all;
      for (auto& [number, row] : known) all.push_back(&row);
      std::shuffle(all.begin(), all.end(), random);
      const int64_t before = held.bytes();
      ASSERT_TRUE(held.compact(all).ok());
      ASSERT_LT(held.bytes(), before);
      ASSERT_FALSE(held.sparse());
      ASSERT_FALSE(held.is_new(*all.front()));
    }
    if (step % 20 == 0) {
      std::vector<HeldRow> rows;
      std::vector<int64_t> numbers;
      for (const auto& [number, row] : known) {
        rows.push_back(row);
        numbers.push_back(number);
      }
      ExpectRows(held, rows, numbers);
    }
  }
  EXPECT_GT(compacted, 0);
  for (const auto& [number, row] : known) ASSERT_TRUE(held.release(row).ok());
  EXPECT_EQ(held.bytes(), 0);
}

}  // namespace
}  // namespace frazil
