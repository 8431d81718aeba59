#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
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

// What librdkafka is told for a consumer of `partitions` partitions, in order, without its callbacks. Memory:
// each partition's queue and fetch size is its share of prefetch_bytes.
std::vector<std::pair<std::string, std::string>> ClientSettings(const Options& options, int64_t partitions);

// True if the value of this librdkafka setting must not be shown.
bool IsSecretSetting(const std::string& name);

}  // namespace frazil::kafka
