#include "connector/kafka/publisher.h"

#include <arrow/api.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/uuid.h"
#include "connector/kafka/mock_cluster.h"
#include "connector/kafka/proof.h"
#include "connector/kafka/sink.h"

namespace frazil::kafka {
namespace {

class PublisherTest : public testing::Test {
 protected:
  PublisherTest() : folder_(testing::TempDir() + "publisher-" + RandomUuid()) {
    cluster_.create("out", 2);
    cluster_.create("__consumer_offsets", 1);
  }
  ~PublisherTest() override { std::filesystem::remove_all(folder_); }

  // Stages ids from..to-1 as an epoch; the names of its files.
  std::vector<std::string> stage(int64_t from, int64_t to) {
    nlohmann::json options = {{"folder", folder_}};
    options["key"] = std::vector<std::string>{"id"};
    auto sink = MakeKafkaSink(options, SinkContext{});
    EXPECT_TRUE(sink.ok()) << sink.status();
    (*sink)->begin(1);
    arrow::Int64Builder ids;
    for (int64_t id = from; id < to; ++id) EXPECT_TRUE(ids.Append(id).ok());
    auto rows = arrow::RecordBatch::Make(arrow::schema({arrow::field("id", arrow::int64())}), to - from,
                                         {*ids.Finish()});
    EXPECT_TRUE((*sink)->write(Batch{rows, {}, nullptr}).ok());
    const auto token = (*sink)->prepare(1).result();
    EXPECT_TRUE(token.ok()) << token.status();
    std::vector<std::string> names;
    const auto parsed = nlohmann::json::parse(*token);
    for (const auto& file : parsed["files"]) names.push_back(file["name"]);
    return names;
  }

  std::unique_ptr<Publisher> make() {
    auto options = ParseProducerOptions({{"servers", cluster_.servers()},
                                         {"topic", "out"},
                                         {"proof", "frazil.test"},
                                         {"folder", folder_},
                                         {"timeout_ms", 20'000}});
    EXPECT_TRUE(options.ok()) << options.status();
    return std::make_unique<Publisher>(*options);
  }

  MockCluster cluster_;
  std::string folder_;
};

TEST_F(PublisherTest, SendsWhatIsNotThereYet) {
  auto first = make();
  auto proof = first->recover();
  ASSERT_TRUE(proof.ok()) << proof.status();
  EXPECT_FALSE(proof->has_value());
  const auto sent = first->publish({7, "digest", stage(0, 10), 0});
  ASSERT_TRUE(sent.ok()) << sent.status();
  EXPECT_EQ(*sent, 10);
  // What is there already is not sent again. (The mock broker forgets offsets that transactions commit; what
  // a real one says of them is tested in tests/e2e and tests/crash.)
  auto second = make();
  ASSERT_TRUE(second->recover().ok());
  const auto rest = second->publish({8, "other", stage(10, 30), 15});
  ASSERT_TRUE(rest.ok()) << rest.status();
  EXPECT_EQ(*rest, 5);
}

TEST_F(PublisherTest, FailedTransactionIsTakenBack) {
  auto publisher = make();
  ASSERT_TRUE(publisher->recover().ok());
  rd_kafka_mock_push_request_errors(cluster_.get(), /*Produce*/ 0, 1,
                                    RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
  const auto files = stage(0, 10);
  const auto refused = publisher->publish({7, "digest", files, 0});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(NameOf(refused.status()), "AuthError") << refused.status();
  const auto proof = publisher->recover();
  ASSERT_TRUE(proof.ok()) << proof.status();
  EXPECT_FALSE(proof->has_value());
  EXPECT_TRUE(publisher->publish({7, "digest", files, 0}).ok());
}

TEST_F(PublisherTest, SaysSoonThatBrokersAreAway) {
  auto publisher = make();
  ASSERT_TRUE(publisher->recover().ok());
  const auto files = stage(0, 10);
  ASSERT_EQ(rd_kafka_mock_broker_set_down(cluster_.get(), 1), RD_KAFKA_RESP_ERR_NO_ERROR);
  const auto sent = publisher->publish({1, "digest", files, 0});
  ASSERT_FALSE(sent.ok());
  EXPECT_TRUE(IsRetryable(sent.status())) << sent.status();
  EXPECT_NE(sent.status().ToString().find("Connection refused"), std::string::npos) << sent.status();
  // Messages wait for timeout_ms.
  EXPECT_EQ(sent.status().ToString().find("Message timed out"), std::string::npos) << sent.status();
  ASSERT_EQ(rd_kafka_mock_broker_set_up(cluster_.get(), 1), RD_KAFKA_RESP_ERR_NO_ERROR);
  ASSERT_TRUE(publisher->recover().ok());
  const auto again = publisher->publish({1, "digest", files, 0});
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(*again, 10);
}

TEST_F(PublisherTest, SaysWhatIsMissing) {
  auto options = ParseProducerOptions({{"servers", cluster_.servers()}, {"topic", "nobody"}, {"proof", "p"}});
  ASSERT_TRUE(options.ok());
  Publisher publisher(*options);
  const Status status = publisher.check();
  // The mock broker makes topics that are asked for, real ones say that they are not there.
  EXPECT_TRUE(status.ok() || status.message().find("make the topic") != std::string::npos) << status;
  auto made = make();
  ASSERT_TRUE(made->recover().ok());
  const auto gone = made->publish({7, "digest", {"no-such-file"}, 0});
  EXPECT_FALSE(gone.ok());
}

TEST(KafkaProof, ReadsWhatItWrites) {
  const auto read = ParseProof(3, ProofMetadata({3, "abc", 5, false}));
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->slot, 3);
  EXPECT_EQ(read->digest, "abc");
  EXPECT_EQ(read->messages, 5);
  EXPECT_FALSE(read->whole);
  for (const char* wrong : {"", "{}", "[]", R"({"v":2,"digest":"a","messages":1,"whole":true})",
                            R"({"v":1,"digest":1,"messages":1,"whole":true})", "\xff"}) {
    const auto refused = ParseProof(3, wrong);
    ASSERT_FALSE(refused.ok()) << wrong;
    EXPECT_EQ(KindOf(refused.status()), ErrorKind::kState);
  }
}

}  // namespace
}  // namespace frazil::kafka
