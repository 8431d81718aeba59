#include <gtest/gtest.h>

#include "connector/kafka/mock_cluster.h"

namespace frazil::kafka {
namespace {

using Rows = std::vector<std::string>;
using nlohmann::json;

Rows RowsOf(const Result<Rows>& result) {
  EXPECT_TRUE(result.ok()) << result.status();
  return result.ok() ? *result : Rows{};
}

TEST(KafkaSource, ReadsEveryRowOnceInOrder) {
  const MockCluster cluster;
  cluster.create("orders", 3);
  for (int i = 0; i < 300; ++i) cluster.send("orders", i % 3, std::to_string(i / 3).c_str());
  cluster.flush();
  const auto found = Discover(cluster.options("orders"), /*bounded=*/true);
  ASSERT_TRUE(found.ok()) << found.status();
  ASSERT_EQ(found->size(), 3U);
  EXPECT_EQ((*found)[1].name, "orders-1");
  EXPECT_EQ((*found)[1].start, R"({"v":1,"offset":0})");
  EXPECT_EQ((*found)[1].end, R"({"v":1,"offset":100})");
  for (const int64_t rows : {1, 7, 16 * 1024}) {
    Reader reader(cluster.options("orders"));
    ASSERT_TRUE(reader.assign(*found).ok());
    std::map<std::string, int> next;
    for (const auto& row : RowsOf(reader.rows(1'000, {rows, 1 << 20}))) {
      const auto name = row.substr(0, row.find('@'));
      const int at = next[name]++;
      EXPECT_EQ(row, name + "@" + std::to_string(at) + "=" + std::to_string(at));
    }
    for (const auto& partition : *found) {
      EXPECT_EQ(next[partition.name], 100);
      EXPECT_EQ(reader.position(partition.name), partition.end);
    }
    for (const auto& position : reader.source().positions()) EXPECT_EQ(position.lag, 0);
  }
}

TEST(KafkaSource, HonoursBudget) {
  const MockCluster cluster;
  cluster.create("orders", 1);
  for (int i = 0; i < 50; ++i) cluster.send("orders", 0, std::string(1'000, 'x').c_str());
  cluster.flush();
  Reader reader(cluster.options("orders"));
  ASSERT_TRUE(reader.assign({{"orders-0", R"({"v":1,"offset":0})", ""}}).ok());
  auto poll = reader.next({7, 1 << 20});
  ASSERT_TRUE(poll.ok()) << poll.status();
  EXPECT_LE(poll->raw->rows(), 7);
  EXPECT_EQ(poll->origin.position_end, poll->raw->position.back() + 1);
  poll = reader.next({7, 1 << 20});  // the size of a row is known now
  poll = reader.next({1'000, 3'000});
  ASSERT_TRUE(poll.ok()) << poll.status();
  EXPECT_LE(poll->raw->rows(), 6);
}

TEST(KafkaSource, StartsAtItsPositionAndWakesForNewRows) {
  const MockCluster cluster;
  cluster.create("orders", 1);
  for (const char* value : {"a", "b", "c"}) cluster.send("orders", 0, value);
  cluster.flush();
  Reader reader(cluster.options("orders"));
  ASSERT_TRUE(reader.assign({{"orders-0", R"({"v":1,"offset":1})", ""}}).ok());
  EXPECT_EQ(RowsOf(reader.rows(2)), (Rows{"orders-0@1=b", "orders-0@2=c"}));
  for (int i = 3; i < 8; ++i) {
    cluster.send("orders", 0, "d");
    cluster.flush();
    EXPECT_EQ(RowsOf(reader.rows(1)), (Rows{"orders-0@" + std::to_string(i) + "=d"}));
  }
  EXPECT_EQ(reader.position("orders-0"), R"({"v":1,"offset":8})");
}

TEST(KafkaSource, TakesPartitionsLater) {
  const MockCluster cluster;
  cluster.create("orders", 2);
  cluster.send("orders", 0, "a");
  cluster.send("orders", 1, "b");
  cluster.flush();
  Reader reader(cluster.options("orders"));
  ASSERT_TRUE(reader.assign({}).ok());
  ASSERT_TRUE(reader.assign({{"orders-0", R"({"v":1,"offset":0})", ""}}).ok());
  EXPECT_EQ(RowsOf(reader.rows(1)), (Rows{"orders-0@0=a"}));
  ASSERT_TRUE(reader.assign({{"orders-1", R"({"v":1,"offset":0})", ""}}).ok());
  EXPECT_EQ(RowsOf(reader.rows(1)), (Rows{"orders-1@0=b"}));
  EXPECT_FALSE(reader.assign({{"orders-1", R"({"v":1,"offset":0})", ""}}).ok());
  EXPECT_EQ(KindOf(reader.assign({{"other-1", R"({"v":1,"offset":0})", ""}})), ErrorKind::kState);
}

TEST(KafkaSource, GivesMetadata) {
  const MockCluster cluster;
  cluster.create("orders", 2);
  auto* headers = rd_kafka_headers_new(2);
  rd_kafka_header_add(headers, "trace", -1, "1", 1);
  rd_kafka_header_add(headers, "none", -1, nullptr, 0);
  cluster.send("orders", 1, "a", "k1", 1'700'000'000'123, headers);
  cluster.send("orders", 1, "b");
  cluster.flush();
  auto options = cluster.options("orders");
  options["metadata"] = {"key", "topic", "partition", "offset", "timestamp", "headers"};
  Reader reader(options);
  ASSERT_TRUE(reader.assign({{"orders-1", R"({"v":1,"offset":0})", R"({"v":1,"offset":2})"}}).ok());
  std::vector<std::shared_ptr<arrow::RecordBatch>> parts;
  while (true) {
    const auto poll = reader.next();
    ASSERT_TRUE(poll.ok()) << poll.status();
    if (poll->kind == Poll::Kind::kEnd) break;
    ASSERT_EQ(poll->raw->metadata->num_rows(), poll->raw->rows());
    ASSERT_TRUE(poll->raw->metadata->ValidateFull().ok());
    parts.push_back(poll->raw->metadata);
  }
  const auto table = *(*arrow::Table::FromRecordBatches(parts))->CombineChunksToBatch();
  EXPECT_EQ(
      table->schema()->ToString(),
      "_key: binary\n_topic: string\n_partition: int32\n_offset: int64\n_timestamp: timestamp[ms, tz=UTC]\n"
      "_headers: list<item: struct<key: string, value: binary>>");
  EXPECT_EQ((*table->GetColumnByName("_key")->GetScalar(0))->ToString(), "k1");
  EXPECT_TRUE(table->GetColumnByName("_key")->IsNull(1));
  EXPECT_EQ((*table->GetColumnByName("_topic")->GetScalar(1))->ToString(), "orders");
  EXPECT_EQ((*table->GetColumnByName("_partition")->GetScalar(1))->ToString(), "1");
  EXPECT_EQ((*table->GetColumnByName("_offset")->GetScalar(1))->ToString(), "1");
  EXPECT_EQ((*table->GetColumnByName("_timestamp")->GetScalar(0))->ToString(), "2023-11-14 22:13:20.123Z");
  const auto& lists = static_cast<const arrow::ListArray&>(*table->GetColumnByName("_headers"));
  EXPECT_EQ(lists.value_length(0), 2);
  EXPECT_EQ(lists.value_length(1), 0);
}

TEST(KafkaSource, TombstonesFollowThePolicy) {
  const MockCluster cluster;
  cluster.create("users", 1);
  cluster.send("users", 0, "a", "1");
  cluster.send("users", 0, nullptr, "1");
  cluster.send("users", 0, "", "2");
  cluster.send("users", 0, nullptr, "2");
  cluster.flush();
  const std::vector<Partition> all = {{"users-0", R"({"v":1,"offset":0})", R"({"v":1,"offset":4})"}};
  auto options = cluster.options("users");
  options["tombstones"] = "skip";
  Reader skip(options);
  ASSERT_TRUE(skip.assign(all).ok());
  EXPECT_EQ(RowsOf(skip.rows(9)), (Rows{"users-0@0=a", "users-0@2="}));
  EXPECT_EQ(skip.position("users-0"), R"({"v":1,"offset":4})");
  options["tombstones"] = "null";
  Reader null(options);
  ASSERT_TRUE(null.assign(all).ok());
  EXPECT_EQ(RowsOf(null.rows(9)),
            (Rows{"users-0@0=a", "users-0@1=(null)", "users-0@2=", "users-0@3=(null)"}));
  options["tombstones"] = "reject";
  Reader reject(options);
  ASSERT_TRUE(reject.assign(all).ok());
  std::vector<int64_t> rejected;
  while (true) {
    const auto poll = reject.next();
    ASSERT_TRUE(poll.ok()) << poll.status();
    if (poll->kind == Poll::Kind::kEnd) break;
    for (const auto& row : poll->raw->rejected) {
      rejected.push_back(row.position);
      EXPECT_EQ(row.place, "users-0");
      EXPECT_NE(row.reason.find("tombstone"), std::string::npos);
    }
  }
  EXPECT_EQ(rejected, (std::vector<int64_t>{1, 3}));
}

TEST(KafkaSource, NoPartitionsIsTheEnd) {
  Reader reader(json{{"servers", "127.0.0.1:1"}, {"topics", {"orders"}}});
  ASSERT_TRUE(reader.assign({}).ok());
  EXPECT_EQ(reader.source().poll({1, 1})->kind, Poll::Kind::kEnd);
}

TEST(KafkaSource, BrokerAwayIsIdleWithACondition) {
  const MockCluster cluster;
  cluster.create("orders", 1);
  cluster.send("orders", 0, "a");
  cluster.flush();
  Reader reader(cluster.options("orders"));
  ASSERT_TRUE(reader.assign({{"orders-0", R"({"v":1,"offset":0})", ""}}).ok());
  EXPECT_EQ(RowsOf(reader.rows(1)), (Rows{"orders-0@0=a"}));
  EXPECT_EQ(reader.source().condition(), "");
  rd_kafka_mock_broker_set_down(cluster.get(), 1);
  while (reader.source().condition().empty()) {
    ASSERT_TRUE(reader.sleep()) << "nothing was said";
    ASSERT_EQ(reader.source().poll({10, 1'000})->kind, Poll::Kind::kIdle);
  }
  EXPECT_NE(reader.source().condition().find("is away since"), std::string::npos)
      << reader.source().condition();
  rd_kafka_mock_broker_set_up(cluster.get(), 1);
  cluster.send("orders", 0, "b");
  cluster.flush();
  EXPECT_EQ(RowsOf(reader.rows(1)), (Rows{"orders-0@1=b"}));
  EXPECT_EQ(reader.source().condition(), "");
}

TEST(KafkaSource, GivesUpWhenTold) {
  Reader reader(json{{"servers", "127.0.0.1:1"}, {"topics", {"orders"}}, {"give_up_after_ms", 1}});
  ASSERT_TRUE(reader.assign({{"orders-0", R"({"v":1,"offset":0})", ""}}).ok());
  const auto poll = reader.next();
  ASSERT_FALSE(poll.ok());
  EXPECT_EQ(KindOf(poll.status()), ErrorKind::kConnect);
  EXPECT_TRUE(IsRetryable(poll.status()));
  EXPECT_NE(MessageOf(poll.status()).find("127.0.0.1:1"), std::string::npos) << poll.status();
}

TEST(KafkaSource, PassingFetchErrorsCostNothing) {
  const MockCluster cluster;
  cluster.create("orders", 1);
  for (const char* value : {"a", "b", "c"}) cluster.send("orders", 0, value);
  cluster.flush();
  rd_kafka_mock_push_request_errors(cluster.get(), /*Fetch*/ 1, 3, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
                                    RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR, RD_KAFKA_RESP_ERR__TRANSPORT);
  Reader reader(cluster.options("orders"));
  ASSERT_TRUE(reader.assign({{"orders-0", R"({"v":1,"offset":0})", R"({"v":1,"offset":3})"}}).ok());
  EXPECT_EQ(RowsOf(reader.rows(9)), (Rows{"orders-0@0=a", "orders-0@1=b", "orders-0@2=c"}));
}

TEST(KafkaSource, PositionBehindTheTopicIsAnErrorWhateverThePolicy) {
  const MockCluster cluster;
  cluster.create("orders", 1);
  cluster.send("orders", 0, "a");
  cluster.flush();
  for (const char* policy : {"fail", "earliest", "latest"}) {
    auto options = cluster.options("orders");
    options["on_truncated"] = policy;
    for (const char* end : {"", R"({"v":1,"offset":1})"}) {
      Reader reader(options);
      ASSERT_TRUE(reader.assign({{"orders-0", R"({"v":1,"offset":50})", end}}).ok());
      const auto poll = reader.next();
      ASSERT_FALSE(poll.ok());
      EXPECT_EQ(KindOf(poll.status()), ErrorKind::kUser);
      EXPECT_NE(MessageOf(poll.status()).find("made anew or lost rows"), std::string::npos) << poll.status();
    }
  }
}

}  // namespace
}  // namespace frazil::kafka
