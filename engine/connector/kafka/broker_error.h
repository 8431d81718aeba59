#pragma once

#include <librdkafka/rdkafka.h>

#include <string>

#include "base/status.h"

namespace frazil::kafka {

// True for what passes by itself: a broker away, a leader moving, a time-out.
bool IsTransient(rd_kafka_resp_err_t code);

// True if the broker says that there is no such topic or partition.
bool IsUnknownTopic(rd_kafka_resp_err_t code);

// The error `code` as a Status: "<what>: <reason>[: <detail>][; what to do]". kConnect, retryable if
// transient.
Status BrokerError(rd_kafka_resp_err_t code, const std::string& what, const std::string& detail = {});

}  // namespace frazil::kafka
