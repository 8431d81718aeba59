#pragma once

#include <memory>
#include <nlohmann/json.hpp>

#include "base/status.h"
#include "connector/sink.h"

namespace frazil {

// Shows rows to a person: its token carries them as JSON lines and the committer prints them. At most
// limits::kConsoleRows rows and about limits::kConsoleBytes bytes of an epoch are carried; the token says how
// many more there were. No options. Token: {"v":1,"rows":n,"lines":"...","more":n}.
Result<std::unique_ptr<Sink>> MakeConsoleSink(const nlohmann::json& options, const SinkContext& context);

}  // namespace frazil
