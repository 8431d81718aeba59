#include "connector/kafka/publisher.h"

#include <arrow/array.h>
#include <arrow/io/interfaces.h>
#include <arrow/ipc/reader.h>
#include <arrow/record_batch.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "base/filesystem.h"
#include "connector/kafka/broker_error.h"
#include "connector/kafka/client.h"
#include "connector/kafka/proof.h"
#include "connector/kafka/sink.h"

namespace frazil::kafka {
namespace {

// Milliseconds between two tries of a step, and for librdkafka to make room in its queue.
constexpr int kPauseMs = 100;
// Milliseconds of one call into librdkafka, after which it is looked at whether brokers can be reached.
constexpr int kSliceMs = 1'000;
// Milliseconds of a step after which it gives up if they cannot, so that this is said while it lasts.
constexpr int64_t kAwayMs = 5'000;
// Milliseconds to abort what another process will have to abort otherwise.
constexpr int kAbortMs = 5'000;
// Messages between two looks at what brokers have answered.
constexpr int64_t kServeEvery = 1'000;

struct ErrorDeleter {
  void operator()(rd_kafka_error_t* error) const { rd_kafka_error_destroy(error); }
};
using KafkaError = std::unique_ptr<rd_kafka_error_t, ErrorDeleter>;

struct PartitionsDeleter {
  void operator()(rd_kafka_topic_partition_list_t* list) const {
    rd_kafka_topic_partition_list_destroy(list);
  }
};
using Partitions = std::unique_ptr<rd_kafka_topic_partition_list_t, PartitionsDeleter>;

// An error of a broker that does not pass: what to do about it.
std::string AdviceFor(rd_kafka_resp_err_t code) {
  switch (code) {
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
      return "\nraise max.message.bytes of the topic; the epoch waits in the checkpoint log";
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
      return "\ngive this user the ACLs Write and Describe on the topic";
    case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
      return "\ngive this user the ACLs Write and Describe on the transactional id";
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
      return "\ngive this user the ACL Read on the group of that name";
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
      return "\nmake the topic: kafka-topics.sh --create";
    default:
      return {};
  }
}

bool IsAuthorization(rd_kafka_resp_err_t code) {
  return code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED ||
         code == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED ||
         code == RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED ||
         code == RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED;
}

// Errors of librdkafka that end the producer or the transaction, and after which a new one may do it.
bool MayWorkAnew(rd_kafka_resp_err_t code) {
  switch (code) {
    case RD_KAFKA_RESP_ERR__FENCED:  // by a newer process, or by an older one that has not seen it yet
    case RD_KAFKA_RESP_ERR_PRODUCER_FENCED:
    case RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH:
    case RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING:
    case RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID:
    case RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS:
    case RD_KAFKA_RESP_ERR_INVALID_TXN_STATE:
    case RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER:
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS:
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND:
    case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
    case RD_KAFKA_RESP_ERR__PURGE_QUEUE:
    case RD_KAFKA_RESP_ERR__PURGE_INFLIGHT:
    case RD_KAFKA_RESP_ERR__STATE:
    case RD_KAFKA_RESP_ERR__FATAL:
      return true;
    default:
      return IsTransient(code);
  }
}

std::string_view ViewAt(const arrow::BinaryArray& array, int64_t row) {
  const std::string_view view = array.GetView(row);
  return view.data() == nullptr ? std::string_view("", 0) : view;
}

}  // namespace

Publisher::Publisher(ProducerOptions options) : options_(std::move(options)) {}

Publisher::~Publisher() { close(); }

void Publisher::OnDelivered(rd_kafka_t*, const rd_kafka_message_t* message, void* opaque) {
  auto* self = static_cast<Publisher*>(opaque);
  if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
    self->troubled_ = false;
  } else if (self->undelivered_ == RD_KAFKA_RESP_ERR_NO_ERROR) {
    self->undelivered_ = message->err;
  }
}

void Publisher::OnError(rd_kafka_t*, int, const char* reason, void* opaque) {
  auto* self = static_cast<Publisher*>(opaque);
  self->trouble_ = reason;
  self->troubled_ = true;
}

bool Publisher::out_of_time(int64_t begin) const {
  const int64_t waited = SteadyMs() - begin;
  return waited >= options_.timeout_ms || (troubled_ && waited >= kAwayMs);
}

Status Publisher::open_producer() {
  undelivered_ = RD_KAFKA_RESP_ERR_NO_ERROR;
  trouble_.clear();
  troubled_ = false;
  FZ_ASSIGN(auto conf, MakeConf(ProducerSettings(options_)));
  rd_kafka_conf_set_opaque(conf.get(), this);
  rd_kafka_conf_set_dr_msg_cb(conf.get(), &OnDelivered);
  rd_kafka_conf_set_error_cb(conf.get(), &OnError);
  std::array<char, 512> text{};
  producer_ = rd_kafka_new(RD_KAFKA_PRODUCER, conf.get(), text.data(), text.size());
  if (producer_ == nullptr) {
    return Error(ErrorKind::kConfig, "making a Kafka client for " + options_.servers + ": " + text.data());
  }
  (void)conf.release();  // rd_kafka_new() took it
  topic_ = rd_kafka_topic_new(producer_, options_.topic.c_str(), nullptr);
  FZ_CHECK(topic_ != nullptr);
  return Status::OK();
}

Status Publisher::open_consumer() {
  if (consumer_ != nullptr) return Status::OK();
  FZ_ASSIGN(auto conf, MakeConf(ProofSettings(options_)));
  rd_kafka_conf_set_opaque(conf.get(), this);
  rd_kafka_conf_set_error_cb(conf.get(), &OnError);
  std::array<char, 512> text{};
  consumer_ = rd_kafka_new(RD_KAFKA_CONSUMER, conf.get(), text.data(), text.size());
  if (consumer_ == nullptr) {
    return Error(ErrorKind::kConfig, "making a Kafka client for " + options_.servers + ": " + text.data());
  }
  (void)conf.release();
  return Status::OK();
}

void Publisher::close() {
  if (topic_ != nullptr) rd_kafka_topic_destroy(topic_);
  topic_ = nullptr;
  if (producer_ != nullptr) {
    rd_kafka_purge(producer_, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    // Readers of what is committed would wait for its time-out.
    if (sending_) (void)KafkaError(rd_kafka_abort_transaction(producer_, kAbortMs));
    rd_kafka_destroy(producer_);
  }
  producer_ = nullptr;
  sending_ = false;
  if (consumer_ != nullptr) rd_kafka_destroy_flags(consumer_, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
  consumer_ = nullptr;
}

Status Publisher::failed(const std::string& what, rd_kafka_resp_err_t code, const std::string& text,
                         bool retryable) {
  std::string message = what + " " + options_.topic + " at " + options_.servers + ": " + text;
  if (!trouble_.empty() && text.find(trouble_) == std::string::npos) message += " (" + trouble_ + ")";
  message += AdviceFor(code);
  if (IsAuthorization(code)) return NamedError("AuthError", message);
  const bool lost = IsTransient(code) || code == RD_KAFKA_RESP_ERR__MSG_TIMED_OUT;
  return Error(lost ? ErrorKind::kConnect : ErrorKind::kSink, message, retryable || MayWorkAnew(code));
}

template <typename Call>
Status Publisher::patiently(const char* what, Call call) {
  const int64_t begin = SteadyMs();
  while (true) {
    const KafkaError error(call());
    if (error == nullptr) {
      troubled_ = false;
      return Status::OK();
    }
    rd_kafka_poll(producer_, kPauseMs);
    const bool retriable = rd_kafka_error_is_retriable(error.get()) != 0;
    if (retriable && !out_of_time(begin)) continue;
    const auto code =
        undelivered_ == RD_KAFKA_RESP_ERR_NO_ERROR ? rd_kafka_error_code(error.get()) : undelivered_;
    const std::string text = undelivered_ == RD_KAFKA_RESP_ERR_NO_ERROR ? rd_kafka_error_string(error.get())
                                                                        : rd_kafka_err2str(undelivered_);
    return failed(what, code, text, retriable);
  }
}

Status Publisher::check() {
  FZ_TRY(open_consumer());
  const int64_t deadline = SteadyMs() + limits::kKafkaTopicMissingMs;
  while (true) {
    const auto code = look_for_topic();
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) return Status::OK();
    // A new topic takes a moment to be known.
    if (!IsUnknownTopic(code) || SteadyMs() > deadline) {
      return failed("looking for topic", code, rd_kafka_err2str(code), false);
    }
    rd_kafka_poll(consumer_, kPauseMs);
  }
}

rd_kafka_resp_err_t Publisher::look_for_topic() {
  rd_kafka_topic_t* topic = rd_kafka_topic_new(consumer_, options_.topic.c_str(), nullptr);
  const rd_kafka_metadata_t* metadata = nullptr;
  auto code = rd_kafka_metadata(consumer_, 0, topic, &metadata, static_cast<int>(limits::kKafkaTimeoutMs));
  rd_kafka_poll(consumer_, 0);
  if (metadata != nullptr) {
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR && metadata->topic_cnt == 1) code = metadata->topics[0].err;
    rd_kafka_metadata_destroy(metadata);
  }
  rd_kafka_topic_destroy(topic);
  return code;
}

Result<std::optional<Proof>> Publisher::recover() {
  close();
  FZ_TRY(open_producer());
  FZ_TRY(patiently("taking over the sending to topic",
                   [this] { return rd_kafka_init_transactions(producer_, kSliceMs); }));
  FZ_TRY(open_consumer());
  auto proof = read_proof();
  rd_kafka_destroy_flags(consumer_, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
  consumer_ = nullptr;
  return proof;
}

Result<std::optional<Proof>> Publisher::read_proof() {
  const int64_t deadline = SteadyMs() + options_.timeout_ms;
  while (true) {
    const Partitions asked(rd_kafka_topic_partition_list_new(1));
    rd_kafka_topic_partition_list_add(asked.get(), options_.topic.c_str(), 0);
    auto code = rd_kafka_committed(consumer_, asked.get(), static_cast<int>(limits::kKafkaTimeoutMs));
    rd_kafka_poll(consumer_, 0);
    const rd_kafka_topic_partition_t& answer = asked->elems[0];
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) code = answer.err;
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
      if (IsTransient(code) && SteadyMs() < deadline) continue;
      return failed("asking what was committed to topic", code, rd_kafka_err2str(code), false);
    }
    if (answer.offset < 0) return std::optional<Proof>();
    FZ_ASSIGN(auto proof, ParseProof(answer.offset, std::string(static_cast<const char*>(answer.metadata),
                                                                answer.metadata_size)));
    return std::optional<Proof>(std::move(proof));
  }
}

Result<int64_t> Publisher::publish(const EpochMessages& epoch) {
  if (producer_ == nullptr) return Error(ErrorKind::kInternal, "publish() without recover()");
  auto sent = send_all(epoch);
  if (!sent.ok()) close();
  return sent;
}

Result<int64_t> Publisher::send_all(const EpochMessages& epoch) {
  FZ_ASSIGN(const auto place, MakeFilePlace(options_.folder, options_.s3));
  int64_t passed = 0, sent = 0;  // messages of the epoch
  Transaction transaction;
  FZ_TRY(begin());
  for (const std::string& name : epoch.files) {
    const std::string path = place.path + "/" + name;
    FZ_ASSIGN(auto input, place.fs->OpenInputStream(path));
    FZ_ASSIGN(auto reader, arrow::ipc::RecordBatchStreamReader::Open(input));
    if (!reader->schema()->Equals(*StagedSchema())) {
      return Error(ErrorKind::kState, "reading staged messages of " + path + ": these are no messages");
    }
    while (true) {
      std::shared_ptr<arrow::RecordBatch> batch;
      FZ_TRY(reader->ReadNext(&batch));
      if (batch == nullptr) break;
      const int64_t from = std::clamp<int64_t>(epoch.skip - passed, 0, batch->num_rows());
      FZ_TRY(send_batch(*batch, from, &transaction));
      passed += batch->num_rows();
      sent += batch->num_rows() - from;
      if (transaction.bytes >= kTransactionBytes || transaction.messages >= kTransactionMessages) {
        FZ_TRY(commit({epoch.slot, epoch.digest, passed, false}));
        transaction = {};
        FZ_TRY(begin());
      }
    }
  }
  FZ_TRY(commit({epoch.slot, epoch.digest, passed, true}));
  return sent;
}

Status Publisher::send_batch(const arrow::RecordBatch& batch, int64_t from, Transaction* transaction) {
  const auto& keys = static_cast<const arrow::BinaryArray&>(*batch.column(0));
  const auto& values = static_cast<const arrow::BinaryArray&>(*batch.column(1));
  const int64_t begin = SteadyMs();
  for (int64_t row = from; row < batch.num_rows(); ++row) {
    const std::string_view key = keys.IsNull(row) ? std::string_view() : ViewAt(keys, row);
    const std::string_view value = values.IsNull(row) ? std::string_view() : ViewAt(values, row);
    while (rd_kafka_produce(topic_, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY,
                            const_cast<char*>(value.data()), value.size(), key.data(), key.size(),
                            nullptr) != 0) {
      const auto code = rd_kafka_last_error();
      if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
        return failed("sending to topic", code, rd_kafka_err2str(code), false);
      }
      if (undelivered_ != RD_KAFKA_RESP_ERR_NO_ERROR || out_of_time(begin)) {
        const auto why =
            undelivered_ == RD_KAFKA_RESP_ERR_NO_ERROR ? RD_KAFKA_RESP_ERR__TIMED_OUT : undelivered_;
        return failed("sending to topic", why, rd_kafka_err2str(why), false);
      }
      rd_kafka_poll(producer_, kPauseMs);
    }
    transaction->bytes += static_cast<int64_t>(key.size() + value.size());
    if (++transaction->messages % kServeEvery == 0) rd_kafka_poll(producer_, 0);
  }
  return Status::OK();
}

Status Publisher::begin() {
  const KafkaError error(rd_kafka_begin_transaction(producer_));
  if (error != nullptr) {
    return failed("beginning a transaction for topic", rd_kafka_error_code(error.get()),
                  rd_kafka_error_string(error.get()), rd_kafka_error_is_retriable(error.get()) != 0);
  }
  sending_ = true;
  return Status::OK();
}

Status Publisher::deliver() {
  const int64_t begin = SteadyMs();
  while (true) {
    const auto code = rd_kafka_flush(producer_, kSliceMs);
    if (undelivered_ != RD_KAFKA_RESP_ERR_NO_ERROR) {
      return failed("sending to topic", undelivered_, rd_kafka_err2str(undelivered_), false);
    }
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) return Status::OK();
    if (out_of_time(begin)) return failed("sending to topic", code, rd_kafka_err2str(code), true);
  }
}

Status Publisher::put_proof(const Proof& proof) {
  const Partitions offsets(rd_kafka_topic_partition_list_new(1));
  auto* partition = rd_kafka_topic_partition_list_add(offsets.get(), options_.topic.c_str(), 0);
  const std::string text = ProofMetadata(proof);
  partition->offset = proof.slot;
  partition->metadata = rd_kafka_mem_malloc(producer_, text.size());  // the list frees it
  std::memcpy(partition->metadata, text.data(), text.size());
  partition->metadata_size = text.size();
  rd_kafka_consumer_group_metadata_t* group = rd_kafka_consumer_group_metadata_new(options_.proof.c_str());
  const auto status = patiently("committing to topic", [&] {
    return rd_kafka_send_offsets_to_transaction(producer_, offsets.get(), group, kSliceMs);
  });
  rd_kafka_consumer_group_metadata_destroy(group);
  return status;
}

Status Publisher::commit(const Proof& proof) {
  FZ_TRY(deliver());
  FZ_TRY(put_proof(proof));
  FZ_TRY(
      patiently("committing to topic", [this] { return rd_kafka_commit_transaction(producer_, kSliceMs); }));
  sending_ = false;
  return Status::OK();
}

}  // namespace frazil::kafka
