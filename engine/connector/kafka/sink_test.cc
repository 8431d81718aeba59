#include "connector/kafka/sink.h"

#include <arrow/api.h>
#include <arrow/io/file.h>
#include <arrow/ipc/reader.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/uuid.h"

namespace frazil {
namespace {

using Message = std::pair<std::optional<std::string>, std::optional<std::string>>;

class KafkaSinkTest : public testing::Test {
 protected:
  KafkaSinkTest() : folder_(testing::TempDir() + "kafka-sink-" + RandomUuid()) {}
  ~KafkaSinkTest() override { std::filesystem::remove_all(folder_); }

  static std::optional<std::string> at(const arrow::Array& column, int64_t row) {
    if (column.IsNull(row)) return std::nullopt;
    return std::string(static_cast<const arrow::BinaryArray&>(column).GetView(row));
  }

  std::vector<Message> read(const std::string& token) const {
    std::vector<Message> messages;
    const auto parsed = nlohmann::json::parse(token);
    for (const auto& file : parsed["files"]) {
      auto input = arrow::io::ReadableFile::Open(folder_ + "/" + file["name"].get<std::string>());
      auto reader = arrow::ipc::RecordBatchStreamReader::Open(*input);
      while (auto batch = *(*reader)->Next()) {
        for (int64_t row = 0; row < batch->num_rows(); ++row) {
          messages.push_back({at(*batch->column(0), row), at(*batch->column(1), row)});
        }
      }
    }
    return messages;
  }

  // Rows with ids and names, and kinds if there are any.
  static Batch rows(const std::vector<std::pair<int64_t, const char*>>& values,
                    const std::vector<uint8_t>& kinds = {}) {
    arrow::Int64Builder ids;
    arrow::StringBuilder names;
    for (const auto& [id, name] : values) {
      EXPECT_TRUE(ids.Append(id).ok());
      EXPECT_TRUE((name == nullptr ? names.AppendNull() : names.Append(name)).ok());
    }
    arrow::FieldVector fields = {arrow::field("id", arrow::int64()), arrow::field("name", arrow::utf8())};
    arrow::ArrayVector columns = {*ids.Finish(), *names.Finish()};
    if (!kinds.empty()) {
      arrow::UInt8Builder builder;
      EXPECT_TRUE(builder.AppendValues(kinds).ok());
      fields.push_back(arrow::field(std::string(kKindColumn), arrow::uint8()));
      columns.push_back(*builder.Finish());
    }
    const auto count = static_cast<int64_t>(values.size());
    return Batch{arrow::RecordBatch::Make(arrow::schema(fields), count, columns), {}, nullptr};
  }

  // Writes an epoch with this key; its token.
  Result<std::string> write(const std::vector<std::string>& key, const std::vector<Batch>& batches,
                            int64_t bytes_max = 1'000'000) {
    nlohmann::json all = nlohmann::json::object();
    all["folder"] = folder_;
    all["key"] = key;
    all["message_bytes_max"] = bytes_max;
    FZ_ASSIGN(auto sink, MakeKafkaSink(all, SinkContext{}));
    sink->begin(3);
    for (const Batch& batch : batches) FZ_TRY(sink->write(batch));
    return sink->prepare(3).result();
  }

  std::string folder_;
};

TEST_F(KafkaSinkTest, RowsAreMessagesInOrder) {
  const auto token = write({"name"}, {rows({{1, "a"}, {2, nullptr}}), rows({{3, "line\nend"}})});
  ASSERT_TRUE(token.ok()) << token.status();
  EXPECT_EQ(nlohmann::json::parse(*token)["rows"], 3);
  const std::vector<Message> expected = {{"a", R"({"id":1,"name":"a"})"},
                                         {std::nullopt, R"({"id":2,"name":null})"},
                                         {"line\nend", R"({"id":3,"name":"line\nend"})"}};
  EXPECT_EQ(read(*token), expected);
}

TEST_F(KafkaSinkTest, ChangesAreUpsertsAndTombstones) {
  const auto token = write({"id"}, {rows({{1, "a"}, {1, "a"}, {1, "b"}, {2, "c"}}, {0, 1, 2, 3})});
  ASSERT_TRUE(token.ok()) << token.status();
  const std::vector<Message> expected = {
      {"1", R"({"id":1,"name":"a"})"}, {"1", R"({"id":1,"name":"b"})"}, {"2", std::nullopt}};
  EXPECT_EQ(read(*token), expected);
}

TEST_F(KafkaSinkTest, AvroBehindTheIdOfItsSchema) {
  nlohmann::json all = {{"folder", folder_}, {"key", {"id"}}, {"message_bytes_max", 1'000'000}};
  const std::string record = R"({"type":"record","name":"R","fields":[{"name":"id","type":"long"},)"
                             R"({"name":"name","type":["null","string"]}]})";
  all["avro"]["value"] = {{"id", 258}, {"texts", {record}}};
  all["avro"]["key"] = {{"id", 3}, {"texts", {R"("long")"}}};
  auto sink = MakeKafkaSink(all, SinkContext{});
  ASSERT_TRUE(sink.ok()) << sink.status();
  (*sink)->begin(3);
  const auto sent = rows({{1, "a"}, {1, "a"}, {-1, nullptr}, {2, "c"}}, {0, 1, 2, 3});
  ASSERT_TRUE((*sink)->write(sent).ok());
  const auto token = (*sink)->prepare(3).result();
  ASSERT_TRUE(token.ok()) << token.status();
  const auto key = [](const char* id) { return std::string("\0\0\0\0\3", 5) + id; };
  const std::string head("\0\0\0\1\2", 5);
  const std::vector<Message> expected = {{key("\2"), head + std::string("\2\2\2a")},
                                         {key("\1"), head + std::string("\1\0", 2)},
                                         {key("\4"), std::nullopt}};
  EXPECT_EQ(read(*token), expected);
  all["avro"].erase("value");
  EXPECT_FALSE(MakeKafkaSink(all, SinkContext{}).ok());
}

TEST_F(KafkaSinkTest, RefusesWhatCannotBeSent) {
  const auto large = write({"id"}, {rows({{1, "a"}, {2, std::string(1000, 'x').c_str()}})}, 1000);
  ASSERT_FALSE(large.ok());
  EXPECT_NE(large.status().message().find("more than max_message=1000: 2"), std::string::npos)
      << large.status();
  const auto keyless = write({"name"}, {rows({{1, nullptr}}, {3})});
  ASSERT_FALSE(keyless.ok());
  EXPECT_EQ(KindOf(keyless.status()), ErrorKind::kUser);
}

TEST_F(KafkaSinkTest, NothingIsLeftOfAnEpochThatNeverWas) {
  {
    auto sink = MakeKafkaSink(nlohmann::json::object({{"folder", folder_}}), SinkContext{});
    ASSERT_TRUE(sink.ok()) << sink.status();
    (*sink)->begin(1);
    const std::string text(1 << 20, 'x');
    ASSERT_TRUE(
        (*sink)
            ->write(rows({{1, text.substr(0, 900'000).c_str()}, {2, text.substr(0, 900'000).c_str()}}))
            .ok());
  }
  EXPECT_TRUE(!std::filesystem::exists(folder_) || std::filesystem::is_empty(folder_));
  const auto empty = write({}, {});
  ASSERT_TRUE(empty.ok());
  EXPECT_EQ(*empty, "");
}

}  // namespace
}  // namespace frazil
