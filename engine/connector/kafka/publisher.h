#pragma once

#include <librdkafka/rdkafka.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "connector/kafka/options.h"

namespace arrow {
class RecordBatch;
}

namespace frazil::kafka {

// How far the epochs of a sink have been sent, as the broker knows it.
struct Proof {
  int64_t slot = 0;      // of the checkpoint log
  std::string digest;    // of its manifest
  int64_t messages = 0;  // of that epoch that are in the topic
  bool whole = false;    // those are all
};

// Staged messages of an epoch (connector/kafka/sink.h), to be sent in this order.
struct EpochMessages {
  int64_t slot = 0;
  std::string digest;
  std::vector<std::string> files;  // names in the options' folder
  int64_t skip = 0;                // messages that are in the topic already
};

// Sends staged messages to a topic, each exactly once to readers of what is committed.
//
// Messages go in transactions. Each transaction also commits the offset of one group, named like the
// transactional id, for partition 0 of the topic: offset = slot, metadata = the rest of the proof. So
// messages and proof are there together or not at all. Whoever comes next takes the transactional id
// (recover()), which ends a transaction that is under way, one way or the other, and bars its sender for
// good; then the proof says where to go on. Nothing has to be known of a transaction that another process
// began: the messages are still staged.
//
// One thread at a time; calls block up to the options' timeout_ms for each step. Errors: kConnect or kSink,
// retryable if it may work later; after an error of recover() or publish(), recover() again.
class Publisher {
 public:
  explicit Publisher(ProducerOptions options);
  ~Publisher();
  Publisher(const Publisher&) = delete;
  Publisher& operator=(const Publisher&) = delete;

  // An error if the topic is not there, or brokers cannot be reached. Changes nothing.
  Status check();

  // Takes over from whoever sent before. Gives the proof, if there is one.
  Result<std::optional<Proof>> recover();

  // Sends the messages of an epoch; recover() was called. Gives the number that was sent.
  Result<int64_t> publish(const EpochMessages& epoch);

 private:
  struct Transaction {
    int64_t bytes = 0;
    int64_t messages = 0;
  };

  Status open_producer();
  Status open_consumer();
  void close();
  rd_kafka_resp_err_t look_for_topic();
  Result<std::optional<Proof>> read_proof();
  Result<int64_t> send_all(const EpochMessages& epoch);
  Status send_batch(const arrow::RecordBatch& batch, int64_t from, Transaction* transaction);
  Status begin();
  // Commits what was sent since begin() together with the proof.
  Status commit(const Proof& proof);
  // Waits until brokers have all messages. That is done first, as librdkafka answers to put_proof() only when
  // the transaction has timed out, if they cannot be reached.
  Status deliver();
  Status put_proof(const Proof& proof);
  // Calls until it works, fails for good, or is out_of_time(); `call` gives an error or nullptr, and waits
  // no longer than a slice.
  template <typename Call>
  Status patiently(const char* what, Call call);
  Status failed(const std::string& what, rd_kafka_resp_err_t code, const std::string& text, bool retryable);
  // A step that began then has to give up: timeout_ms are over, or brokers cannot be reached for some
  // seconds.
  bool out_of_time(int64_t begin) const;
  static void OnDelivered(rd_kafka_t*, const rd_kafka_message_t* message, void* opaque);
  static void OnError(rd_kafka_t*, int code, const char* reason, void* opaque);

  const ProducerOptions options_;
  rd_kafka_t* producer_ = nullptr;
  rd_kafka_topic_t* topic_ = nullptr;  // of the producer
  rd_kafka_t* consumer_ = nullptr;
  bool sending_ = false;                                          // a transaction has begun
  rd_kafka_resp_err_t undelivered_ = RD_KAFKA_RESP_ERR_NO_ERROR;  // of the first message that failed
  std::string trouble_;                                           // what was last wrong with a connection
  bool troubled_ = false;  // that was told, and since then nothing has worked
};

}  // namespace frazil::kafka
