#include <gtest/gtest.h>

#include "connector/kafka/mock_cluster.h"

namespace frazil::kafka {
namespace {

using nlohmann::json;

std::string StartsOf(const Result<std::vector<Partition>>& found) {
  if (!found.ok()) return found.status().ToString();
  std::string text;
  for (const auto& partition : *found) {
    text += partition.name + ":" + json::parse(partition.start)["offset"].dump() + " ";
  }
  return text;
}

void SendTen(const MockCluster& cluster) {
  cluster.create("orders", 2);
  for (int i = 0; i < 10; ++i) cluster.send("orders", 0, "x", nullptr, 1'000 + i * 10);
  cluster.flush();
}

TEST(KafkaEnumerator, ResolvesStarts) {
  const MockCluster cluster;
  SendTen(cluster);
  auto options = cluster.options("orders");
  EXPECT_EQ(StartsOf(Discover(options, false)), "orders-0:0 orders-1:0 ");
  options["start"] = "latest";
  EXPECT_EQ(StartsOf(Discover(options, false)), "orders-0:10 orders-1:0 ");
  options["start"] = {{"offsets", {{"orders-0", 4}, {"orders-1", 0}}}};
  EXPECT_EQ(StartsOf(Discover(options, false)), "orders-0:4 orders-1:0 ");
}

TEST(KafkaEnumerator, RefusesOffsetsThatAreNotThere) {
  const MockCluster cluster;
  SendTen(cluster);
  auto options = cluster.options("orders");
  const auto message = [&](const json& offsets) {
    options["start"] = {{"offsets", offsets}};
    return MessageOf(Discover(options, false).status());
  };
  EXPECT_EQ(message({{"orders-0", 4}}),
            "starting orders-1: start gives no offset for it; name every partition");
  EXPECT_EQ(message({{"orders-0", 11}, {"orders-1", 0}}),
            "starting orders-0: start gives offset 11, the topic has 0 to 10");
  EXPECT_EQ(message({{"orders-0", 1}, {"orders-1", 0}, {"orders-2", 0}}),
            "starting orders-2: start names it, but there is no such partition");
}

TEST(KafkaEnumerator, PartitionsTheCheckpointDoesNotKnowBeginAtTheirFirstRow) {
  const MockCluster cluster;
  SendTen(cluster);
  auto options = cluster.options("orders");
  options["start"] = "latest";
  auto enumerator = *MakeKafkaEnumerator(options);
  ASSERT_TRUE(enumerator->known({{"orders-1", "{}"}}).ok());
  EXPECT_EQ(StartsOf(enumerator->discover(false)), "orders-0:0 orders-1:0 ");
}

TEST(KafkaEnumerator, StartsAreResolvedOnce) {
  const MockCluster cluster;
  SendTen(cluster);
  auto options = cluster.options("orders");
  options["start"] = "latest";
  auto enumerator = *MakeKafkaEnumerator(options);
  EXPECT_EQ(StartsOf(enumerator->discover(false)), "orders-0:10 orders-1:0 ");
  cluster.send("orders", 0, "y");
  cluster.flush();
  const auto again = enumerator->discover(true);
  EXPECT_EQ(StartsOf(again), "orders-0:10 orders-1:0 ");
  EXPECT_EQ((*again)[0].end, R"({"v":1,"offset":11})");
}

TEST(KafkaEnumerator, WaitsForALeader) {
  const MockCluster cluster;
  SendTen(cluster);
  rd_kafka_mock_push_request_errors(cluster.get(), /*ListOffsets*/ 2, 2,
                                    RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
                                    RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION);
  EXPECT_EQ(StartsOf(Discover(cluster.options("orders"), false)), "orders-0:0 orders-1:0 ");
}

TEST(KafkaEnumerator, TopicMissingIsNotBrokerAway) {
  const MockCluster cluster;
  cluster.create("orders", 1);
  rd_kafka_mock_topic_set_error(cluster.get(), "other", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
  const auto missing = Discover(cluster.options("other"), false);
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(KindOf(missing.status()), ErrorKind::kUser);
  EXPECT_FALSE(IsRetryable(missing.status()));
  EXPECT_NE(MessageOf(missing.status()).find("reading topic other: there is no such topic"),
            std::string::npos);

  const auto away =
      Discover({{"servers", "127.0.0.1:1"}, {"topics", {"orders"}}, {"timeout_ms", 500}}, false);
  ASSERT_FALSE(away.ok());
  EXPECT_EQ(KindOf(away.status()), ErrorKind::kConnect);
  EXPECT_TRUE(IsRetryable(away.status()));
  EXPECT_NE(MessageOf(away.status()).find("refused"), std::string::npos) << away.status();
}

TEST(KafkaEnumerator, RefusedTopicIsAnError) {
  const MockCluster cluster;
  cluster.create("orders", 1);
  rd_kafka_mock_topic_set_error(cluster.get(), "orders", RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
  const auto found = Discover(cluster.options("orders"), false);
  ASSERT_FALSE(found.ok());
  EXPECT_FALSE(IsRetryable(found.status()));
  EXPECT_NE(MessageOf(found.status()).find("reading topic orders"), std::string::npos) << found.status();
  EXPECT_NE(MessageOf(found.status()).find("ACLs"), std::string::npos) << found.status();
}

TEST(KafkaEnumerator, BadClientSettingIsAConfigError) {
  json options = {{"servers", "127.0.0.1:1"}, {"topics", {"orders"}}};
  options["client_options"] = {{"no.such.setting", "1"}};
  const auto found = Discover(options, false);
  EXPECT_EQ(KindOf(found.status()), ErrorKind::kConfig);
  EXPECT_NE(MessageOf(found.status()).find("no.such.setting"), std::string::npos);
  options["client_options"] = {{"ssl.key.pem", "topsecret"}};
  options["security"] = {{"protocol", "ssl"}};
  const auto secret = Discover(options, false);
  EXPECT_EQ(KindOf(secret.status()), ErrorKind::kConfig);
  EXPECT_EQ(secret.status().ToString().find("topsecret"), std::string::npos) << secret.status();
}

}  // namespace
}  // namespace frazil::kafka
