#include "connector/kafka/options.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

namespace frazil::kafka {
namespace {

using nlohmann::json;

Status Wrong(const std::string& what) { return Error(ErrorKind::kConfig, "reading Kafka options: " + what); }

// Takes members out of one JSON object and remembers which it was asked for, to find the unknown ones at the
// end.
class Members {
 public:
  Members(const json& object, std::string path) : object_(object), path_(std::move(path)) {}

  // The member, or nullptr if it is absent or null.
  const json* find(const std::string& name) {
    known_.insert(name);
    const auto it = object_.find(name);
    return it == object_.end() || it->is_null() ? nullptr : &*it;
  }

  Status text(const std::string& name, std::string* out) {
    const json* member = find(name);
    if (member == nullptr) return Status::OK();
    if (!member->is_string()) return Wrong(path_ + name + " must be a string");
    *out = member->get<std::string>();
    return Status::OK();
  }

  Status number(const std::string& name, int64_t low, int64_t high, int64_t* out) {
    const json* member = find(name);
    if (member == nullptr) return Status::OK();
    if (!member->is_number_integer()) return Wrong(path_ + name + " must be an integer");
    const int64_t value = member->get<int64_t>();
    if (value < low || value > high) {
      return Wrong(path_ + name + " must be from " + std::to_string(low) + " to " + std::to_string(high) +
                   ", got " + std::to_string(value));
    }
    *out = value;
    return Status::OK();
  }

  template <typename T>
  Status choice(const std::string& name, const std::vector<std::pair<std::string, T>>& values, T* out) {
    const json* member = find(name);
    if (member == nullptr) return Status::OK();
    std::string list;
    for (const auto& [word, value] : values) {
      if (member->is_string() && member->get_ref<const std::string&>() == word) {
        *out = value;
        return Status::OK();
      }
      list += (list.empty() ? "" : ", ") + word;
    }
    return Wrong(path_ + name + " must be one of " + list + ", got " + member->dump());
  }

  Status no_others() const {
    for (const auto& [name, value] : object_.items()) {
      if (known_.count(name) == 0) return Wrong("there is no option " + path_ + name);
    }
    return Status::OK();
  }

 private:
  const json& object_;
  std::string path_;
  std::set<std::string> known_;
};

Status ParseTopics(Members* members, std::vector<std::string>* topics) {
  const json* list = members->find("topics");
  if (list == nullptr || !list->is_array() || list->empty())
    return Wrong("topics must be a list of topic names");
  for (const json& topic : *list) {
    if (!topic.is_string() || topic.get_ref<const std::string&>().empty()) {
      return Wrong("topics must be a list of topic names, got " + topic.dump());
    }
    const auto& name = topic.get_ref<const std::string&>();
    if (name[0] == '^') return Wrong("topic " + name + " is a pattern; give the topics by name");
    if (std::find(topics->begin(), topics->end(), name) != topics->end()) {
      return Wrong("topic " + name + " is listed twice");
    }
    topics->push_back(name);
  }
  return Status::OK();
}

Status ParseStart(Members* members, Start* start) {
  const json* member = members->find("start");
  if (member == nullptr) return Status::OK();
  if (!member->is_object()) {
    return members->choice<StartKind>(
        "start",
        {{"earliest", StartKind::kEarliest}, {"latest", StartKind::kLatest}, {"group", StartKind::kGroup}},
        &start->kind);
  }
  Members inner(*member, "start.");
  const json* offsets = inner.find("offsets");
  const bool timed = inner.find("timestamp_ms") != nullptr;
  if (timed == (offsets != nullptr)) return Wrong("start must have either timestamp_ms or offsets");
  FZ_TRY(inner.number("timestamp_ms", 0, INT64_MAX, &start->timestamp_ms));
  FZ_TRY(inner.no_others());
  start->kind = timed ? StartKind::kTimestamp : StartKind::kOffsets;
  if (timed) return Status::OK();
  if (!offsets->is_object() || offsets->empty()) return Wrong("start.offsets must map partitions to offsets");
  for (const auto& [partition, offset] : offsets->items()) {
    if (!offset.is_number_integer() || offset.get<int64_t>() < 0) {
      return Wrong("start.offsets[\"" + partition + "\"] must be an offset, got " + offset.dump());
    }
    start->offsets[partition] = offset.get<int64_t>();
  }
  return Status::OK();
}

Status ParseMetadata(Members* members, std::vector<MetadataColumn>* columns) {
  static const std::vector<std::pair<std::string, MetadataColumn>> kNames = {
      {"key", MetadataColumn::kKey},
      {"topic", MetadataColumn::kTopic},
      {"partition", MetadataColumn::kPartition},
      {"offset", MetadataColumn::kOffset},
      {"timestamp", MetadataColumn::kTimestamp},
      {"headers", MetadataColumn::kHeaders}};
  const json* list = members->find("metadata");
  if (list == nullptr) return Status::OK();
  if (!list->is_array()) return Wrong("metadata must be a list");
  for (const json& name : *list) {
    const auto it =
        std::find_if(kNames.begin(), kNames.end(), [&](const auto& known) { return name == known.first; });
    if (it == kNames.end()) {
      return Wrong("metadata must list some of key, topic, partition, offset, timestamp, headers; got " +
                   name.dump());
    }
    if (std::find(columns->begin(), columns->end(), it->second) != columns->end()) {
      return Wrong("metadata lists " + name.dump() + " twice");
    }
    columns->push_back(it->second);
  }
  return Status::OK();
}

Status ParseSecurity(Members* members, Security* security) {
  const json* member = members->find("security");
  if (member == nullptr) return Status::OK();
  if (!member->is_object()) return Wrong("security must be an object");
  Members inner(*member, "security.");
  FZ_TRY(inner.choice<std::string>("protocol",
                                   {{"plaintext", "plaintext"},
                                    {"ssl", "ssl"},
                                    {"sasl_plaintext", "sasl_plaintext"},
                                    {"sasl_ssl", "sasl_ssl"}},
                                   &security->protocol));
  FZ_TRY(inner.choice<std::string>(
      "mechanism",
      {{"PLAIN", "PLAIN"}, {"SCRAM-SHA-256", "SCRAM-SHA-256"}, {"SCRAM-SHA-512", "SCRAM-SHA-512"}},
      &security->mechanism));
  FZ_TRY(inner.text("username", &security->username));
  FZ_TRY(inner.text("password", &security->password));
  FZ_TRY(inner.text("ca_file", &security->ca_file));
  FZ_TRY(inner.text("certificate_file", &security->certificate_file));
  FZ_TRY(inner.text("key_file", &security->key_file));
  FZ_TRY(inner.text("key_password", &security->key_password));
  FZ_TRY(inner.no_others());
  const bool sasl = security->protocol.rfind("sasl", 0) == 0;
  const bool tls = security->protocol.find("ssl") != std::string::npos;
  if (!sasl && !(security->mechanism.empty() && security->username.empty() && security->password.empty())) {
    return Wrong("security has a mechanism, username or password, but protocol " + security->protocol +
                 " does not use them; use sasl_ssl (or sasl_plaintext)");
  }
  if (!tls &&
      !(security->ca_file.empty() && security->certificate_file.empty() && security->key_file.empty())) {
    return Wrong("security has a ca_file, certificate_file or key_file, but protocol " + security->protocol +
                 " does not use them; use ssl or sasl_ssl");
  }
  if (!security->mechanism.empty() && (security->username.empty() || security->password.empty())) {
    return Wrong("security.mechanism " + security->mechanism + " needs username and password");
  }
  if (security->certificate_file.empty() != security->key_file.empty()) {
    return Wrong("security.certificate_file and security.key_file belong together; give both");
  }
  return Status::OK();
}

// librdkafka settings that the connector decides, and what to use instead.
const std::map<std::string, std::string>& Owned() {
  static const std::string kNever = "it is fixed, delivery depends on it";
  static const std::map<std::string, std::string> kOwned = {
      {"bootstrap.servers", "use servers"},
      {"metadata.broker.list", "use servers"},
      {"security.protocol", "use security.protocol"},
      {"group.id", "use group"},
      {"isolation.level", "use isolation"},
      {"auto.offset.reset", "use on_truncated"},
      {"enable.auto.commit", kNever},
      {"auto.commit.enable", kNever},
      {"enable.auto.offset.store", kNever},
      {"enable.partition.eof", kNever},
      {"group.instance.id", kNever},
      {"transactional.id", kNever},
      {"enable.idempotence", kNever},
      {"acks", kNever},
      {"request.required.acks", kNever},
      {"partitioner", kNever},
      {"message.max.bytes", "use max_message of write_kafka"},
      {"compression.type", "use compression of write_kafka"},
      {"compression.codec", "use compression of write_kafka"},
      {"log.queue", kNever},
      {"opaque", kNever},
  };
  return kOwned;
}

Status ParseClientOptions(Members* members, std::map<std::string, std::string>* settings) {
  const json* member = members->find("client_options");
  if (member == nullptr) return Status::OK();
  if (!member->is_object()) return Wrong("client_options must map librdkafka settings to values");
  for (const auto& [name, value] : member->items()) {
    const auto owned = Owned().find(name);
    if (owned != Owned().end()) return Wrong("client_options cannot set " + name + ": " + owned->second);
    if (value.is_string()) {
      (*settings)[name] = value.get<std::string>();
    } else if (value.is_boolean() || value.is_number()) {
      (*settings)[name] = value.dump();
    } else {
      return Wrong("client_options[\"" + name + "\"] must be a string, number or boolean");
    }
  }
  return Status::OK();
}

// What every client is told.
void AddConnection(const std::string& servers, const Security& security,
                   std::vector<std::pair<std::string, std::string>>* settings) {
  settings->insert(settings->end(), {{"bootstrap.servers", servers},
                                     {"client.id", "frazil"},
                                     {"allow.auto.create.topics", "false"},
                                     {"socket.keepalive.enable", "true"},
                                     {"log.connection.close", "false"},
                                     {"reconnect.backoff.max.ms", std::to_string(limits::kKafkaReconnectMs)},
                                     {"security.protocol", security.protocol}});
  const auto add = [&](const char* name, const std::string& value) {
    if (!value.empty()) settings->emplace_back(name, value);
  };
  add("sasl.mechanism", security.mechanism);
  add("sasl.username", security.username);
  add("sasl.password", security.password);
  if (security.protocol.find("ssl") != std::string::npos) {
    add("ssl.ca.location", security.ca_file.empty() ? "probe" : security.ca_file);
  }
  add("ssl.certificate.location", security.certificate_file);
  add("ssl.key.location", security.key_file);
  add("ssl.key.password", security.key_password);
}

}  // namespace

Result<Options> ParseOptions(const json& options) {
  if (!options.is_object()) return Wrong("they must be a JSON object");
  Options out;
  Members members(options, "");
  FZ_TRY(members.text("servers", &out.servers));
  if (out.servers.empty()) return Wrong("servers must name a broker, for example \"localhost:9092\"");
  FZ_TRY(ParseTopics(&members, &out.topics));
  FZ_TRY(ParseStart(&members, &out.start));
  FZ_TRY(members.text("group", &out.group));
  if (out.start.kind == StartKind::kGroup && out.group.empty()) return Wrong("start \"group\" needs group");
  FZ_TRY(members.choice<bool>("isolation", {{"read_committed", true}, {"read_uncommitted", false}},
                              &out.read_committed));
  FZ_TRY(ParseMetadata(&members, &out.metadata));
  FZ_TRY(ParseSecurity(&members, &out.security));
  FZ_TRY(ParseClientOptions(&members, &out.client_options));
  FZ_TRY(members.choice<OnTruncated>(
      "on_truncated",
      {{"fail", OnTruncated::kFail}, {"earliest", OnTruncated::kEarliest}, {"latest", OnTruncated::kLatest}},
      &out.on_truncated));
  FZ_TRY(members.choice<Tombstones>(
      "tombstones",
      {{"reject", Tombstones::kReject}, {"skip", Tombstones::kSkip}, {"null", Tombstones::kNull}},
      &out.tombstones));
  FZ_TRY(members.number("prefetch_bytes", 64 << 10, int64_t{1} << 30, &out.prefetch_bytes));
  FZ_TRY(members.number("timeout_ms", 100, 600'000, &out.timeout_ms));
  FZ_TRY(members.number("give_up_after_ms", 0, INT64_MAX, &out.give_up_after_ms));
  FZ_TRY(members.no_others());
  if (out.security.protocol.rfind("sasl", 0) == 0 && out.security.mechanism.empty() &&
      out.client_options.count("sasl.mechanism") + out.client_options.count("sasl.mechanisms") == 0) {
    return Wrong("security.protocol " + out.security.protocol +
                 " needs security.mechanism (PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512)");
  }
  return out;
}

std::vector<std::pair<std::string, std::string>> ClientSettings(const Options& options, int64_t partitions) {
  const int64_t share = options.prefetch_bytes / std::max<int64_t>(partitions, 1);
  const int64_t fetch =
      std::clamp<int64_t>(share / 4, limits::kKafkaFetchBytesMin, limits::kKafkaFetchBytesMax);
  std::vector<std::pair<std::string, std::string>> settings = {
      {"enable.auto.commit", "false"},
      {"enable.auto.offset.store", "false"},
      {"enable.partition.eof", "true"},
      {"auto.offset.reset", "error"},
      {"isolation.level", options.read_committed ? "read_committed" : "read_uncommitted"},
      {"check.crcs", "true"},
      {"topic.metadata.propagation.max.ms", std::to_string(limits::kKafkaTopicMissingMs)},
      {"fetch.queue.backoff.ms", "5"},
      {"fetch.message.max.bytes", std::to_string(fetch)},
      {"fetch.max.bytes", std::to_string(std::clamp<int64_t>(options.prefetch_bytes, 1 << 20, 8 << 20))},
      {"queued.max.messages.kbytes", std::to_string(std::max(share, limits::kKafkaFetchBytesMin) >> 10)},
      {"queued.min.messages",
       std::to_string(std::clamp<int64_t>(share / limits::kKafkaRecordBytes, 64, 100'000))},
  };
  if (!options.group.empty()) settings.emplace_back("group.id", options.group);
  AddConnection(options.servers, options.security, &settings);
  for (const auto& [name, value] : options.client_options) settings.emplace_back(name, value);
  return settings;
}

Result<ProducerOptions> ParseProducerOptions(const json& options) {
  if (!options.is_object()) return Wrong("they must be a JSON object");
  ProducerOptions out;
  Members members(options, "");
  FZ_TRY(members.text("servers", &out.servers));
  if (out.servers.empty()) return Wrong("servers must name a broker, for example \"localhost:9092\"");
  FZ_TRY(members.text("topic", &out.topic));
  if (out.topic.empty()) return Wrong("topic must name a topic");
  FZ_TRY(ParseSecurity(&members, &out.security));
  FZ_TRY(ParseClientOptions(&members, &out.client_options));
  FZ_TRY(members.choice<std::string>(
      "compression",
      {{"none", "none"}, {"gzip", "gzip"}, {"snappy", "snappy"}, {"lz4", "lz4"}, {"zstd", "zstd"}},
      &out.compression));
  FZ_TRY(members.number("message_bytes_max", 1'000, limits::kRowBytesMax, &out.message_bytes_max));
  FZ_TRY(members.number("timeout_ms", 1'000, 600'000, &out.timeout_ms));
  FZ_TRY(members.text("proof", &out.proof));
  FZ_TRY(members.text("folder", &out.folder));
  if (const json* s3 = members.find("s3"); s3 != nullptr) out.s3 = *s3;
  FZ_TRY(members.no_others());
  return out;
}

std::vector<std::pair<std::string, std::string>> ProducerSettings(const ProducerOptions& options) {
  std::vector<std::pair<std::string, std::string>> settings = {
      {"transactional.id", options.proof},
      {"enable.idempotence", "true"},
      {"transaction.timeout.ms", std::to_string(options.timeout_ms)},
      {"message.timeout.ms", std::to_string(options.timeout_ms)},
      {"message.max.bytes", std::to_string(options.message_bytes_max)},
      {"queue.buffering.max.kbytes", std::to_string(kSendBytes >> 10)},
      {"queue.buffering.max.messages", std::to_string(kSendMessages)},
      {"compression.type", options.compression},
      {"partitioner", "murmur2_random"},  // as producers in Java do
      {"linger.ms", "5"},
  };
  AddConnection(options.servers, options.security, &settings);
  for (const auto& [name, value] : options.client_options) settings.emplace_back(name, value);
  return settings;
}

std::vector<std::pair<std::string, std::string>> ProofSettings(const ProducerOptions& options) {
  std::vector<std::pair<std::string, std::string>> settings = {
      {"group.id", options.proof},
      {"enable.auto.commit", "false"},
      {"isolation.level", "read_committed"},  // waits for the end of a transaction that is being committed
  };
  AddConnection(options.servers, options.security, &settings);
  return settings;
}

bool IsSecretSetting(const std::string& name) {
  for (const char* word : {"password", "secret", ".pem", "jaas", "token", "oauthbearer.config"}) {
    if (name.find(word) != std::string::npos) return true;
  }
  return false;
}

}  // namespace frazil::kafka
