#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/limits.h"
#include "base/status.h"

namespace frazil::kafka {

enum class StartKind { kEarliest, kLatest, kGroup, kTimestamp, kOffsets };

// Where a partition begins that no checkpoint knows.
struct Start {
  StartKind kind = StartKind::kEarliest;
  int64_t timestamp_ms = 0;                // kTimestamp: the first record with this time or a later one
  std::map<std::string, int64_t> offsets;  // kOffsets: partition name -> offset
};

// What to do when the rows to read next are no longer in the topic.
enum class OnTruncated { kFail, kEarliest, kLatest };

// What to do with a record without a value: to the rejected rows, away, or on to the decoder as kNullRow.
enum class Tombstones { kReject, kSkip, kNull };

enum class MetadataColumn { kKey, kTopic, kPartition, kOffset, kTimestamp, kHeaders };

struct Security {
  std::string protocol = "plaintext";  // plaintext, ssl, sasl_plaintext, sasl_ssl
  std::string mechanism;               // PLAIN, SCRAM-SHA-256, SCRAM-SHA-512; empty = none
  std::string username, password;
  std::string ca_file, certificate_file, key_file, key_password;
};

// The options of a Kafka source, as Python's read_kafka makes them. JSON keys have these names.
struct Options {
  std::string servers;
  std::vector<std::string> topics;
  Start start;        // "earliest" | "latest" | "group" | {"timestamp_ms":n} | {"offsets":{"orders-0":5}}
  std::string group;  // for lag tools, and for start="group"; empty = none
  bool read_committed = true;            // isolation: "read_committed" | "read_uncommitted"
  std::vector<MetadataColumn> metadata;  // ["key", ...]: columns _key, ...
  Security security;
  std::map<std::string, std::string> client_options;  // librdkafka's own, last resort
  OnTruncated on_truncated = OnTruncated::kFail;
  Tombstones tombstones = Tombstones::kReject;
  int64_t prefetch_bytes = limits::kKafkaPrefetchBytes;
  int64_t timeout_ms = limits::kKafkaTimeoutMs;  // for one question to the broker
  int64_t give_up_after_ms = 0;                  // without any broker; 0 = wait for ever
};

// Reads the options; an unknown, missing or wrong one is a kConfig error. Values of secrets are in no error.
Result<Options> ParseOptions(const nlohmann::json& options);

// Bounds of a producer.
constexpr int64_t kMessageBytes = 1'000'000;  // bytes of a message that is sent, unless the user says
constexpr int64_t kSendBytes = 32 << 20;      // bytes a producer holds for brokers
constexpr int64_t kSendMessages = 200'000;    // messages in them
constexpr int64_t kPublishMs = 30'000;        // ms for the messages of a transaction to be taken
constexpr int64_t kTransactionBytes = 64
                                      << 20;  // bytes sent in one transaction; of more rows there are several
constexpr int64_t kTransactionMessages = 500'000;  // messages in it

// How rows get into a topic, as Python's write_kafka and its target make it. JSON keys have these names.
struct ProducerOptions {
  std::string servers;
  std::string topic;
  Security security;
  std::map<std::string, std::string> client_options;  // librdkafka's own, last resort
  std::string compression = "none";                   // of batches: none, gzip, snappy, lz4, zstd
  int64_t message_bytes_max = kMessageBytes;
  int64_t timeout_ms = kPublishMs;  // for one transaction to be sent, and to be committed
  std::string proof;                // transactional id, and group under which it is said what was committed
  std::string folder;               // where the rows to be sent are
  nlohmann::json s3;                // how to reach it; may be null
};

// As ParseOptions.
Result<ProducerOptions> ParseProducerOptions(const nlohmann::json& options);

// What librdkafka is told for a producer, in order.
std::vector<std::pair<std::string, std::string>> ProducerSettings(const ProducerOptions& options);
// And for the consumer that asks for its group's offsets.
std::vector<std::pair<std::string, std::string>> ProofSettings(const ProducerOptions& options);

// What librdkafka is told for a consumer of `partitions` partitions, in order, without its callbacks. Memory:
// each partition's queue and fetch size is its share of prefetch_bytes.
std::vector<std::pair<std::string, std::string>> ClientSettings(const Options& options, int64_t partitions);

// True if the value of this librdkafka setting must not be shown.
bool IsSecretSetting(const std::string& name);

}  // namespace frazil::kafka
