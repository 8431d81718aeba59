#pragma once

#include <librdkafka/rdkafka.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "connector/kafka/options.h"

namespace frazil::kafka {

struct ConfDeleter {
  void operator()(rd_kafka_conf_t* conf) const { rd_kafka_conf_destroy(conf); }
};
using Conf = std::unique_ptr<rd_kafka_conf_t, ConfDeleter>;

// A configuration with these settings, which writes nothing to stderr. kConfig: one that librdkafka refuses.
Result<Conf> MakeConf(const std::vector<std::pair<std::string, std::string>>& settings);

// One librdkafka consumer and what is known of its connection. Called by one thread, which has to call
// serve() now and then; `wake` (may be empty) is called from librdkafka's threads when serve() has something
// to do. Nothing is written to stderr: the last log lines are kept for errors. Queues and topics made from
// handle() are destroyed first.
class Client {
 public:
  // An error is kConfig: a setting that librdkafka refuses, a certificate it cannot read.
  static Result<std::unique_ptr<Client>> Make(const Options& options, int64_t partitions,
                                              std::function<void()> wake);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  rd_kafka_t* handle() const { return handle_; }

  // Takes in what librdkafka has to tell; never blocks.
  void serve();

  // The error that ends the run: the broker refuses our login or certificate, or gave_up_after_ms without any
  // broker.
  Status check() const;

  // "broker 127.0.0.1:9092 is away since 5 s: Connection refused"; empty if a broker has answered since the
  // last trouble.
  std::string condition() const;

  // What was last wrong with the connection, for the error of a call that timed out. Empty = nothing.
  std::string trouble() const;

  // How often a topic was told to be unknown or forbidden. librdkafka says it without the topic's name, while
  // the queue of one of its partitions is read.
  int64_t topic_errors() const;

  // Commits of group offsets that failed, since the start.
  int64_t commits_failed() const;
  bool commit_in_flight() const;
  void commit_started();
  void commit_refused();

 private:
  struct Shared;  // what librdkafka's threads write; the callbacks' opaque
  explicit Client(const Options& options);

  Options options_;
  std::unique_ptr<Shared> shared_;
  rd_kafka_t* handle_ = nullptr;
  rd_kafka_queue_t* main_ = nullptr;
};

// Milliseconds of a clock that only runs forward.
int64_t SteadyMs();

}  // namespace frazil::kafka
