#include "operator/time/session_changes.h"

#include <arrow/api.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>

namespace frazil {
namespace {

struct Row {
  int64_t key, start, end;
  double total;
};

Batch BatchOf(const std::vector<Row>& rows) {
  const auto time = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
  arrow::Int64Builder keys;
  arrow::TimestampBuilder starts(time, arrow::default_memory_pool()),
      ends(time, arrow::default_memory_pool());
  arrow::DoubleBuilder totals;
  for (const Row& row : rows) {
    EXPECT_TRUE(keys.Append(row.key).ok() && starts.Append(row.start).ok() && ends.Append(row.end).ok() &&
                totals.Append(row.total).ok());
  }
  const auto schema = arrow::schema({arrow::field("k", arrow::int64()), arrow::field("window_start", time),
                                     arrow::field("window_end", time), arrow::field("x", arrow::float64())});
  return {arrow::RecordBatch::Make(schema, static_cast<int64_t>(rows.size()),
                                   {keys.Finish().ValueOrDie(), starts.Finish().ValueOrDie(),
                                    ends.Finish().ValueOrDie(), totals.Finish().ValueOrDie()}),
          {},
          nullptr};
}

// "kind start total" of each change.
std::vector<std::string> Changes(const std::vector<Row>& before, const std::vector<Row>& after) {
  const auto owners = [](const std::vector<Row>& rows) {
    std::vector<size_t> owners;
    for (const Row& row : rows) owners.push_back(static_cast<size_t>(row.key));
    return owners;
  };
  const auto columns = SessionChanges(BatchOf(before), owners(before), BatchOf(after), owners(after), 1,
                                      arrow::default_memory_pool())
                           .ValueOrDie();
  EXPECT_EQ(columns.size(), 5U);
  std::vector<std::string> changes;
  for (int64_t i = 0; i < columns[0]->length(); ++i) {
    changes.push_back(
        std::to_string(static_cast<const arrow::UInt8Array&>(*columns[4]).Value(i)) + " " +
        std::to_string(static_cast<const arrow::TimestampArray&>(*columns[1]).Value(i)) + " " +
        std::to_string(static_cast<int>(static_cast<const arrow::DoubleArray&>(*columns[3]).Value(i))));
  }
  return changes;
}

using Texts = std::vector<std::string>;

TEST(SessionChanges, NewOnesAndGrownOnes) {
  EXPECT_EQ(Changes({}, {{0, 10, 20, 1}}), Texts({"0 10 1"}));
  EXPECT_EQ(Changes({{0, 10, 20, 1}}, {{0, 10, 25, 2}}), Texts({"1 10 1", "2 10 2"}));
  EXPECT_EQ(Changes({{0, 10, 20, 1}, {1, 10, 20, 1}}, {{0, 10, 20, 1}, {1, 10, 20, 3}}),
            Texts({"1 10 1", "2 10 3"}));
  EXPECT_EQ(Changes({}, {}), Texts());
}

TEST(SessionChanges, OneThatGrowsIntoAnotherIsGoneBeforeThatIsLarger) {
  EXPECT_EQ(Changes({{0, 10, 20, 1}, {0, 30, 40, 2}}, {{0, 10, 40, 3}}),
            Texts({"3 30 2", "1 10 1", "2 10 3"}));
}

TEST(SessionChanges, OneThatBeginsEarlierIsAnother) {
  EXPECT_EQ(Changes({{0, 10, 20, 1}}, {{0, 5, 20, 2}}), Texts({"3 10 1", "0 5 2"}));
}

TEST(SessionChanges, NotANumberStaysTheSame) {
  EXPECT_EQ(Changes({{0, 10, 20, std::nan("")}}, {{0, 10, 20, std::nan("")}}), Texts());
}

}  // namespace
}  // namespace frazil
