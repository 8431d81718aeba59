#include "connector/kafka/client.h"

#include <array>
#include <atomic>
#include <chrono>
#include <deque>
#include <mutex>
#include <utility>

namespace frazil::kafka {
namespace {

// Protocol requests that a broker answers before it has accepted a login.
constexpr int16_t kSaslHandshake = 17;
constexpr int16_t kApiVersions = 18;
constexpr int16_t kSaslAuthenticate = 36;

std::string Seconds(int64_t ms) { return std::to_string(ms / 1000) + " s"; }

}  // namespace

int64_t SteadyMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

Result<Conf> MakeConf(const std::vector<std::pair<std::string, std::string>>& settings) {
  Conf conf(rd_kafka_conf_new());
  std::array<char, 512> text{};
  for (const auto& [name, value] : settings) {
    if (rd_kafka_conf_set(conf.get(), name.c_str(), value.c_str(), text.data(), text.size()) ==
        RD_KAFKA_CONF_OK) {
      continue;
    }
    const std::string reason = IsSecretSetting(name) ? "librdkafka refuses its value" : text.data();
    return Error(ErrorKind::kConfig, "setting the Kafka client option " + name + ": " + reason);
  }
  rd_kafka_conf_set_log_cb(conf.get(), [](const rd_kafka_t*, int, const char*, const char*) {});
  return conf;
}

struct Client::Shared {
  // Written by librdkafka's threads.
  std::function<void()> wake;
  std::atomic<int64_t> answered_ms{-1};  // when a broker last answered a request that needs a login
  std::atomic<bool> events{true};        // the main queue may have something
  mutable std::mutex mutex;
  std::deque<std::string> log;

  // Written by callbacks that run inside serve().
  int64_t away_ms = -1;     // since when every request failed
  int64_t refused_ms = -1;  // since when the login is refused
  bool is_login = false;    // the name or password is refused, not the certificate
  std::string away, refused, fatal;
  int64_t topic_errors = 0;
  int64_t commits_failed = 0;
  bool commit_in_flight = false;

  bool answered_since(int64_t ms) const { return answered_ms.load(std::memory_order_relaxed) >= ms; }
  bool is_away() const { return away_ms >= 0 && !answered_since(away_ms); }
  bool is_refused() const { return refused_ms >= 0 && !answered_since(refused_ms); }

  static void OnLog(const rd_kafka_t* rk, int, const char* facility, const char* text) {
    auto* self = static_cast<Shared*>(rd_kafka_opaque(rk));
    if (self == nullptr) return;
    const std::lock_guard lock(self->mutex);
    self->log.push_back(std::string(facility) + ": " + text);
    if (self->log.size() > limits::kKafkaLogLines) self->log.pop_front();
  }

  static void OnError(rd_kafka_t* rk, int code, const char* reason, void* opaque) {
    auto* self = static_cast<Shared*>(opaque);
    const int64_t now = SteadyMs();
    switch (static_cast<rd_kafka_resp_err_t>(code)) {
      case RD_KAFKA_RESP_ERR__AUTHENTICATION:
      case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
      case RD_KAFKA_RESP_ERR__SSL:
        if (!self->is_refused()) self->refused_ms = now;
        self->is_login = code != RD_KAFKA_RESP_ERR__SSL;
        self->refused = reason;
        break;
      case RD_KAFKA_RESP_ERR__FATAL: {
        std::array<char, 512> text{};
        rd_kafka_fatal_error(rk, text.data(), text.size());
        self->fatal = text.data();
        break;
      }
      case RD_KAFKA_RESP_ERR__TRANSPORT:
      case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
      case RD_KAFKA_RESP_ERR__RESOLVE:
      case RD_KAFKA_RESP_ERR__TIMED_OUT:
        if (!self->is_away()) {
          self->away_ms = now;
          self->away.clear();
        }
        // "1/1 brokers are down" says less than the reason before it.
        if (self->away.empty() || code != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) self->away = reason;
        break;
      case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
      case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
      case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
      case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
        ++self->topic_errors;
        break;
      default:
        break;  // of the group coordinator: group offsets are for lag tools, their failures are counted
    }
  }

  static void OnCommit(rd_kafka_t*, rd_kafka_resp_err_t error, rd_kafka_topic_partition_list_t* offsets,
                       void* opaque) {
    auto* self = static_cast<Shared*>(opaque);
    self->commit_in_flight = false;
    bool failed = error != RD_KAFKA_RESP_ERR_NO_ERROR && error != RD_KAFKA_RESP_ERR__NO_OFFSET;
    for (int i = 0; offsets != nullptr && i < offsets->cnt; ++i)
      failed = failed || offsets->elems[i].err != 0;
    if (failed) ++self->commits_failed;
  }

  static void OnEvent(rd_kafka_t*, void* opaque) {
    auto* self = static_cast<Shared*>(opaque);
    self->events.store(true, std::memory_order_release);
    if (self->wake) self->wake();
  }

  static rd_kafka_resp_err_t OnResponse(rd_kafka_t*, int, const char*, int32_t, int16_t api, int16_t, int32_t,
                                        size_t, int64_t, rd_kafka_resp_err_t error, void* opaque) {
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR && api != kSaslHandshake && api != kApiVersions &&
        api != kSaslAuthenticate) {
      static_cast<Shared*>(opaque)->answered_ms.store(SteadyMs(), std::memory_order_relaxed);
    }
    return RD_KAFKA_RESP_ERR_NO_ERROR;
  }

  static rd_kafka_resp_err_t OnNew(rd_kafka_t* rk, const rd_kafka_conf_t*, void* opaque, char*, size_t) {
    return rd_kafka_interceptor_add_on_response_received(rk, "frazil", &OnResponse, opaque);
  }
};

Client::Client(const Options& options) : options_(options), shared_(std::make_unique<Shared>()) {}

Result<std::unique_ptr<Client>> Client::Make(const Options& options, int64_t partitions,
                                             std::function<void()> wake) {
  std::unique_ptr<Client> client(new Client(options));
  Shared* shared = client->shared_.get();
  shared->wake = std::move(wake);
  FZ_ASSIGN(auto conf, MakeConf(ClientSettings(options, partitions)));
  std::array<char, 512> text{};
  rd_kafka_conf_set_opaque(conf.get(), shared);
  rd_kafka_conf_set_log_cb(conf.get(), &Shared::OnLog);
  rd_kafka_conf_set_error_cb(conf.get(), &Shared::OnError);
  rd_kafka_conf_set_offset_commit_cb(conf.get(), &Shared::OnCommit);
  rd_kafka_conf_interceptor_add_on_new(conf.get(), "frazil", &Shared::OnNew, shared);
  client->handle_ = rd_kafka_new(RD_KAFKA_CONSUMER, conf.get(), text.data(), text.size());
  if (client->handle_ == nullptr) {
    return Error(ErrorKind::kConfig, "making a Kafka client for " + options.servers + ": " + text.data());
  }
  (void)conf.release();  // rd_kafka_new() took it
  client->main_ = rd_kafka_queue_get_main(client->handle_);
  rd_kafka_queue_cb_event_enable(client->main_, &Shared::OnEvent, shared);
  return client;
}

Client::~Client() {
  if (handle_ == nullptr) return;
  rd_kafka_queue_cb_event_enable(main_, nullptr, nullptr);
  rd_kafka_queue_destroy(main_);
  rd_kafka_destroy_flags(handle_, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
}

void Client::serve() {
  if (!shared_->events.exchange(false, std::memory_order_acq_rel)) return;
  while (rd_kafka_poll(handle_, 0) > 0) {
  }
}

Status Client::check() const {
  if (!shared_->fatal.empty()) {
    return Error(ErrorKind::kConnect, "reading from Kafka at " + options_.servers + ": " + shared_->fatal);
  }
  const int64_t now = SteadyMs();
  if (shared_->is_refused()) {
    // A login that has worked may be refused for a moment while a broker starts.
    const bool worked = shared_->answered_ms.load(std::memory_order_relaxed) >= 0;
    if (!worked || now - shared_->refused_ms >= limits::kKafkaRefusedMs) {
      return NamedError(shared_->is_login ? "AuthError" : "ConnectError",
                        "connecting to Kafka at " + options_.servers + ": " + shared_->refused +
                            "\ncheck security= (fz.Sasl, fz.Tls)");
    }
  }
  if (options_.give_up_after_ms > 0 && shared_->is_away() &&
      now - shared_->away_ms >= options_.give_up_after_ms) {
    return Error(
        ErrorKind::kConnect,
        condition() + "; gave up after give_up_after=" + std::to_string(options_.give_up_after_ms) + " ms",
        /*retryable=*/true);
  }
  return Status::OK();
}

std::string Client::condition() const {
  const int64_t now = SteadyMs();
  if (shared_->is_refused()) {
    return "broker " + options_.servers + " refuses the connection since " +
           Seconds(now - shared_->refused_ms) + ": " + shared_->refused;
  }
  if (!shared_->is_away()) return {};
  return "broker " + options_.servers + " is away since " + Seconds(now - shared_->away_ms) + ": " +
         shared_->away;
}

std::string Client::trouble() const {
  if (shared_->is_refused()) return shared_->refused;
  if (shared_->is_away()) return shared_->away;
  const std::lock_guard lock(shared_->mutex);
  return shared_->log.empty() ? std::string() : shared_->log.back();
}

int64_t Client::topic_errors() const { return shared_->topic_errors; }
int64_t Client::commits_failed() const { return shared_->commits_failed; }
bool Client::commit_in_flight() const { return shared_->commit_in_flight; }
void Client::commit_started() { shared_->commit_in_flight = true; }
void Client::commit_refused() { ++shared_->commits_failed; }

}  // namespace frazil::kafka
