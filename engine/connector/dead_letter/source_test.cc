#include "connector/dead_letter/source.h"

#include <arrow/api.h>
#include <arrow/io/file.h>
#include <arrow/ipc/writer.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <tuple>
#include <vector>

#include "base/uuid.h"

namespace frazil {
namespace {

class DeadLetterSourceTest : public testing::Test {
 protected:
  DeadLetterSourceTest() : path_(testing::TempDir() + "letters-" + RandomUuid()) {}
  ~DeadLetterSourceTest() override { std::filesystem::remove(path_); }

  // Writes rows of epoch, position and bytes, two in a batch. The tie is what stands before a '|' in the
  // bytes.
  void write(const std::vector<std::tuple<int64_t, int64_t, std::string>>& rows) const {
    const auto schema =
        arrow::schema({arrow::field("epoch", arrow::int64()), arrow::field("position", arrow::int64()),
                       arrow::field("tie", arrow::utf8()), arrow::field("raw", arrow::binary())});
    const auto output = *arrow::io::FileOutputStream::Open(path_);
    const auto writer = *arrow::ipc::MakeStreamWriter(output, schema);
    for (size_t begin = 0; begin < rows.size(); begin += 2) {
      arrow::Int64Builder epochs, positions;
      arrow::StringBuilder ties;
      arrow::BinaryBuilder raw;
      const size_t end = std::min(begin + 2, rows.size());
      for (size_t i = begin; i < end; ++i) {
        ASSERT_TRUE(epochs.Append(std::get<0>(rows[i])).ok());
        ASSERT_TRUE(positions.Append(std::get<1>(rows[i])).ok());
        const std::string& bytes = std::get<2>(rows[i]);
        ASSERT_TRUE(
            ties.Append(bytes.find('|') == std::string::npos ? "" : bytes.substr(0, bytes.find('|'))).ok());
        ASSERT_TRUE(raw.Append(bytes).ok());
      }
      const arrow::ArrayVector columns = {*epochs.Finish(), *positions.Finish(), *ties.Finish(),
                                          *raw.Finish()};
      const auto batch = arrow::RecordBatch::Make(schema, static_cast<int64_t>(end - begin), columns);
      ASSERT_TRUE(writer->WriteRecordBatch(*batch).ok());
    }
    ASSERT_TRUE(writer->Close().ok());
    ASSERT_TRUE(output->Close().ok());
  }

  nlohmann::json options() const {
    nlohmann::json partition = {{"name", "log/orders-0"}, {"place", "orders-0"}, {"file", path_}};
    nlohmann::json made = nlohmann::json::object();
    made["partitions"] = std::vector<nlohmann::json>{partition};
    return made;
  }

  // What comes behind a position, as "place@position=bytes"; the position then is in `at`.
  Result<std::vector<std::string>> read(std::string* at, int64_t rows_max, int64_t polls = 100) const {
    FZ_ASSIGN(auto source, MakeDeadLetterSource(options(), arrow::default_memory_pool()));
    FZ_TRY(source->assign({{0, "log/orders-0", *at, ""}}, [] {}));
    std::vector<std::string> found;
    for (int64_t i = 0; i < polls; ++i) {
      FZ_ASSIGN(const Poll poll, source->poll({rows_max, 1 << 20}));
      if (poll.kind == Poll::Kind::kEnd) break;
      for (int64_t row = 0; row < poll.raw->rows(); ++row) {
        found.push_back(poll.raw->place + "@" + std::to_string(poll.raw->position[static_cast<size_t>(row)]) +
                        "=" + std::string(poll.raw->row(row)));
      }
    }
    *at = source->positions().front().position;
    return found;
  }

  const std::string path_;
  const std::string start_ = R"({"v":1,"epoch":-1,"position":-1})";
};

const std::vector<std::string> kAll = {"orders-0@5=a", "orders-0@9=", "orders-0@2=ccc", "orders-0@7=d"};

TEST_F(DeadLetterSourceTest, GoesOnFromEveryPosition) {
  // A position of the source may come again in a later epoch, below those before.
  write({{1, 5, "a"}, {1, 9, ""}, {4, 2, "ccc"}, {4, 7, "d"}});
  for (int64_t rows : {1, 2, 3, 100}) {
    std::string at = start_;
    std::vector<std::string> found;
    for (int turn = 0; turn < 5; ++turn) {
      const auto some = read(&at, rows, 1);
      ASSERT_TRUE(some.ok()) << some.status();
      found.insert(found.end(), some->begin(), some->end());
    }
    EXPECT_EQ(found, kAll) << rows;
  }
}

TEST_F(DeadLetterSourceTest, LettersOfOnePositionAreToldApart) {
  write({{1, -1, "a|1"}, {1, -1, "b|2"}, {1, -1, "c|3"}, {2, -1, "a|4"}});
  for (int64_t rows : {1, 2, 3}) {
    std::string at = start_;
    std::vector<std::string> found;
    for (int turn = 0; turn < 5; ++turn) {
      const auto some = read(&at, rows, 1);
      ASSERT_TRUE(some.ok()) << some.status();
      found.insert(found.end(), some->begin(), some->end());
      // Letters that were given may be gone from the file.
      if (turn == 0 && rows == 2) write({{1, -1, "c|3"}, {2, -1, "a|4"}});
    }
    EXPECT_EQ(found, (std::vector<std::string>{"orders-0@-1=a|1", "orders-0@-1=b|2", "orders-0@-1=c|3",
                                               "orders-0@-1=a|4"}))
        << rows;
    if (rows == 2) write({{1, -1, "a|1"}, {1, -1, "b|2"}, {1, -1, "c|3"}, {2, -1, "a|4"}});
  }
}

TEST_F(DeadLetterSourceTest, FileMayBeMadeAnewWithoutWhatWasGiven) {
  write({{1, 5, "a"}, {1, 9, ""}, {4, 2, "ccc"}, {4, 7, "d"}});
  std::string at = start_;
  ASSERT_TRUE(read(&at, 3, 1).ok());
  write({{4, 7, "d"}, {8, 1, "e"}});
  const auto rest = read(&at, 100);
  ASSERT_TRUE(rest.ok());
  EXPECT_EQ(*rest, (std::vector<std::string>{"orders-0@7=d", "orders-0@1=e"}));
}

TEST_F(DeadLetterSourceTest, EndsWithItsLastRow) {
  write({{1, 5, "a"}, {4, 2, "c"}});
  const auto enumerator = MakeDeadLetterEnumerator(options());
  ASSERT_TRUE(enumerator.ok());
  const auto found = (*enumerator)->discover(true);
  ASSERT_TRUE(found.ok()) << found.status();
  ASSERT_EQ(found->size(), 1U);
  EXPECT_EQ(found->front().end, R"({"epoch":4,"position":2,"v":1})");
  for (const char* wrong : {"", "{}", R"({"v":2,"epoch":1,"position":1})", R"({"v":1,"epoch":"x"})"}) {
    std::string at = wrong;
    EXPECT_EQ(KindOf(read(&at, 1).status()), ErrorKind::kState) << wrong;
  }
}

}  // namespace
}  // namespace frazil
