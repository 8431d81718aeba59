#pragma once

#include <memory>
#include <nlohmann/json.hpp>

#include "base/status.h"
#include "connector/sink.h"

namespace frazil {

// Carries rows to the Python process in its token, for tests and notebooks: {"v":1,"rows":n,"ipc": base64 of
// an Arrow IPC stream}. At most limits::kMemorySinkBytes an epoch, more is a kUser error. No options.
Result<std::unique_ptr<Sink>> MakeMemorySink(const nlohmann::json& options, const SinkContext& context);

}  // namespace frazil
