#include "connector/kafka/options.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "connector/kafka/position.h"

namespace frazil::kafka {
namespace {

nlohmann::json Base() { return {{"servers", "localhost:9092"}, {"topics", {"orders"}}}; }

std::string ErrorOf(const nlohmann::json& options) {
  const auto parsed = ParseOptions(options);
  if (parsed.ok()) return "no error";
  EXPECT_EQ(KindOf(parsed.status()), ErrorKind::kConfig);
  return MessageOf(parsed.status());
}

std::string Setting(const Options& options, const std::string& name, int64_t partitions = 1) {
  std::string found = "none";
  for (const auto& [key, value] : ClientSettings(options, partitions)) {
    if (key == name) found = value;
  }
  return found;
}

TEST(KafkaOptions, ReadsAll) {
  auto json = Base();
  json["start"] = {{"offsets", {{"orders-0", 5}}}};
  json["group"] = "lag";
  json["isolation"] = "read_uncommitted";
  json["metadata"] = {"offset", "key"};
  json["security"] = {{"protocol", "sasl_ssl"}, {"mechanism", "SCRAM-SHA-512"}, {"username", "u"},
                      {"password", "hidden"},   {"ca_file", "/ca.pem"},         {"key_file", nullptr}};
  json["client_options"] = {{"client.rack", "a"}, {"socket.nagle.disable", true}, {"fetch.wait.max.ms", 100}};
  json["on_truncated"] = "latest";
  json["tombstones"] = "null";
  const auto options = ParseOptions(json);
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->start.kind, StartKind::kOffsets);
  EXPECT_EQ(options->start.offsets.at("orders-0"), 5);
  EXPECT_EQ(options->metadata, (std::vector{MetadataColumn::kOffset, MetadataColumn::kKey}));
  EXPECT_EQ(options->on_truncated, OnTruncated::kLatest);
  EXPECT_EQ(options->tombstones, Tombstones::kNull);
  EXPECT_EQ(Setting(*options, "group.id"), "lag");
  EXPECT_EQ(Setting(*options, "isolation.level"), "read_uncommitted");
  EXPECT_EQ(Setting(*options, "sasl.password"), "hidden");
  EXPECT_EQ(Setting(*options, "ssl.ca.location"), "/ca.pem");
  EXPECT_EQ(Setting(*options, "socket.nagle.disable"), "true");
  EXPECT_EQ(Setting(*options, "fetch.wait.max.ms"), "100");
}

TEST(KafkaOptions, NamesWhatIsWrong) {
  auto json = Base();
  EXPECT_EQ(ErrorOf(json), "no error");
  EXPECT_EQ(ErrorOf({{"topics", {"a"}}}),
            "reading Kafka options: servers must name a broker, for example \"localhost:9092\"");
  json["topic"] = "orders";
  EXPECT_EQ(ErrorOf(json), "reading Kafka options: there is no option topic");
  json = Base();
  json["start"] = "first";
  EXPECT_EQ(ErrorOf(json),
            "reading Kafka options: start must be one of earliest, latest, group, got \"first\"");
  json["start"] = "group";
  EXPECT_EQ(ErrorOf(json), "reading Kafka options: start \"group\" needs group");
  json["start"] = {{"offsets", {{"orders-0", -1}}}};
  EXPECT_EQ(ErrorOf(json), "reading Kafka options: start.offsets[\"orders-0\"] must be an offset, got -1");
  json["start"] = {{"offsets", {{"orders-0", 1}}}, {"timestamp_ms", 1}};
  EXPECT_EQ(ErrorOf(json), "reading Kafka options: start must have either timestamp_ms or offsets");
  json = Base();
  json["topics"] = {"orders", "orders"};
  EXPECT_EQ(ErrorOf(json), "reading Kafka options: topic orders is listed twice");
  json["topics"] = {"^orders.*"};
  EXPECT_EQ(ErrorOf(json), "reading Kafka options: topic ^orders.* is a pattern; give the topics by name");
  json = Base();
  json["metadata"] = {"value"};
  EXPECT_EQ(ErrorOf(json).find("reading Kafka options: metadata must list some of key"), 0U);
  json = Base();
  json["client_options"] = {{"auto.offset.reset", "latest"}};
  EXPECT_EQ(ErrorOf(json),
            "reading Kafka options: client_options cannot set auto.offset.reset: use on_truncated");
}

TEST(KafkaOptions, SecurityFitsTogetherAndStaysSecret) {
  auto json = Base();
  json["security"] = {
      {"protocol", "ssl"}, {"mechanism", "PLAIN"}, {"username", "u"}, {"password", "topsecret"}};
  EXPECT_NE(ErrorOf(json).find("protocol ssl does not use them"), std::string::npos);
  EXPECT_EQ(ErrorOf(json).find("topsecret"), std::string::npos);
  json["security"] = {{"protocol", "sasl_ssl"}};
  EXPECT_NE(ErrorOf(json).find("needs security.mechanism"), std::string::npos);
  json["client_options"] = {{"sasl.mechanism", "OAUTHBEARER"}};
  EXPECT_EQ(ErrorOf(json), "no error");
  json = Base();
  json["security"] = {{"protocol", "sasl_plaintext"}, {"mechanism", "PLAIN"}, {"username", "u"}};
  EXPECT_NE(ErrorOf(json).find("needs username and password"), std::string::npos);
  json["security"] = {{"protocol", "plaintext"}, {"ca_file", "/ca.pem"}};
  EXPECT_NE(ErrorOf(json).find("does not use them"), std::string::npos);
  EXPECT_TRUE(IsSecretSetting("sasl.password"));
  EXPECT_TRUE(IsSecretSetting("ssl.key.pem"));
  EXPECT_TRUE(IsSecretSetting("sasl.oauthbearer.client.secret"));
  EXPECT_FALSE(IsSecretSetting("fetch.wait.max.ms"));
}

TEST(KafkaOptions, SharesTheMemoryBetweenPartitions) {
  auto options = *ParseOptions(Base());
  EXPECT_EQ(Setting(options, "queued.max.messages.kbytes"), "8192");
  EXPECT_EQ(Setting(options, "fetch.message.max.bytes"), "262144");
  EXPECT_EQ(Setting(options, "queued.max.messages.kbytes", 64), "128");
  EXPECT_EQ(Setting(options, "fetch.message.max.bytes", 64), "32768");
  EXPECT_EQ(Setting(options, "queued.max.messages.kbytes", 10'000), "16");
  EXPECT_EQ(Setting(options, "fetch.message.max.bytes", 10'000), "16384");
  EXPECT_EQ(Setting(options, "queued.min.messages", 64), "512");
}

TEST(KafkaPosition, ReadsItsOwnAndNothingElse) {
  EXPECT_EQ(*OffsetOf(PositionOf(42)), 42);
  for (const char* bad :
       {"", "{}", "42", "{\"v\":2,\"offset\":1}", "{\"v\":1,\"offset\":-1}", "{\"v\":1,\"offset\":\"1\"}"}) {
    EXPECT_EQ(KindOf(OffsetOf(bad).status()), ErrorKind::kState) << bad;
  }
  EXPECT_EQ(*ParsePartitionName("a-b-3"), (std::pair<std::string, int32_t>{"a-b", 3}));
  for (const char* bad : {"orders", "-3", "orders-", "orders-x", "orders-3x", "orders--3"}) {
    const auto parsed = ParsePartitionName(bad);
    if (std::string(bad) == "orders--3") {
      EXPECT_EQ(*parsed, (std::pair<std::string, int32_t>{"orders-", 3}));
    } else {
      EXPECT_EQ(KindOf(parsed.status()), ErrorKind::kState) << bad;
    }
  }
}

}  // namespace
}  // namespace frazil::kafka
