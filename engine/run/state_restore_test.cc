#include "run/state_restore.h"

#include <arrow/api.h>
#include <gtest/gtest.h>

#include <atomic>
#include <map>

#include "state/key.h"

namespace frazil {
namespace {

// A file of a number of rows in a node's order, spread over all key groups.
std::shared_ptr<arrow::Buffer> FileOf(const std::string& node, int64_t number, int64_t rows) {
  const auto schema =
      arrow::schema({arrow::field("hash", arrow::uint64()), arrow::field("number", arrow::int64())});
  arrow::UInt64Builder hashes;
  arrow::Int64Builder numbers;
  for (int64_t i = 0; i < rows; ++i) {
    EXPECT_TRUE(hashes.Append(static_cast<uint64_t>(i) * 0x9E3779B97F4A7C15).ok());
    EXPECT_TRUE(numbers.Append(number).ok());
  }
  EXPECT_TRUE(hashes.AppendNull().ok() && numbers.Append(number).ok());  // a row for every worker
  const auto batch = arrow::RecordBatch::Make(schema, rows + 1,
                                              {hashes.Finish().ValueOrDie(), numbers.Finish().ValueOrDie()});
  return WriteStateFile({node, 0, 1, true}, schema, {batch}, arrow::default_memory_pool()).ValueOrDie().bytes;
}

struct Given {
  std::vector<int64_t> numbers;  // of files, in order
  int64_t rows = 0;
};

TEST(StateRestore, EveryWorkerHasItsRowsInTheOrderOfTheFiles) {
  for (const int workers : {1, 2, 3}) {
    std::vector<std::map<std::string, Given>> given(static_cast<size_t>(workers));
    auto restore = StateRestore::Make(workers, [&](int worker, const std::string& node, const auto& rows) {
                     Given& mine = given[static_cast<size_t>(worker)][node];
                     const auto& hashes = static_cast<const arrow::UInt64Array&>(*rows->column(0));
                     const auto& numbers = static_cast<const arrow::Int64Array&>(*rows->column(1));
                     const auto [first, last] = GroupsOf(worker, workers);
                     for (int64_t i = 0; i < rows->num_rows(); ++i) {
                       if (hashes.IsNull(i)) continue;
                       const int group = GroupOf(hashes.Value(i));
                       EXPECT_TRUE(group >= first && group <= last);
                       ++mine.rows;
                     }
                     mine.numbers.push_back(numbers.Value(0));
                     return Status::OK();
                   }).ValueOrDie();
    constexpr int64_t kFiles = 40;  // more than may be under way
    static_assert(kFiles > static_cast<int64_t>(kRestoreFiles));
    for (int64_t number = 0; number < kFiles; ++number) {
      for (const char* node : {"a", "b"}) {
        ASSERT_TRUE(restore->add(node, FileOf(node, number, 2000 / (number + 1))).ok());
      }
    }
    ASSERT_TRUE(restore->finish().ok());
    std::vector<int64_t> order;
    int64_t rows = 0, seen = 0;
    for (int64_t number = 0; number < kFiles; ++number) {
      order.push_back(number);
      rows += 2 * (2000 / (number + 1));
    }
    for (auto& by_node : given) {
      for (const auto& [node, mine] : by_node) {
        EXPECT_EQ(mine.numbers, order) << node;
        seen += mine.rows;
      }
    }
    EXPECT_EQ(seen, rows);
  }
}

TEST(StateRestore, TheOldestDamagedFileIsTheError) {
  for (int round = 0; round < 20; ++round) {
    std::atomic<int64_t> after{0};
    auto restore = StateRestore::Make(2, [&](int, const std::string& node, const auto&) {
                     if (node == "after") ++after;
                     return Status::OK();
                   }).ValueOrDie();
    const auto damaged = [](const std::string& node, int64_t byte) {
      auto bytes = FileOf(node, 1, 1000)->ToString();
      bytes[static_cast<size_t>(byte)] ^= 1;
      return arrow::Buffer::FromString(std::move(bytes));
    };
    Status status = restore->add("whole", FileOf("whole", 0, 1000));
    ASSERT_TRUE(status.ok());
    for (const auto& [node, file] :
         {std::pair("first", damaged("first", 300)), std::pair("second", damaged("second", 2))}) {
      if (status.ok()) status = restore->add(node, file);
    }
    for (int i = 0; i < 20 && status.ok(); ++i) status = restore->add("after", FileOf("after", 1, 10));
    if (status.ok()) status = restore->finish();
    EXPECT_EQ(KindOf(status), ErrorKind::kState);
    EXPECT_NE(MessageOf(status).find("of first"), std::string::npos) << status;
  }
}

TEST(StateRestore, AnErrorOfAnOperatorIsTold) {
  auto restore = StateRestore::Make(3, [&](int worker, const std::string&, const auto&) {
                   return worker == 1 ? Error(ErrorKind::kState, "rows of another shape") : Status::OK();
                 }).ValueOrDie();
  Status status = Status::OK();
  for (int i = 0; i < 100 && status.ok(); ++i) status = restore->add("a", FileOf("a", i, 100));
  EXPECT_EQ(MessageOf(restore->finish()), "rows of another shape");
}

}  // namespace
}  // namespace frazil
