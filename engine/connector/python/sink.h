#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>

#include "connector/sink.h"

namespace frazil {

// A sink that the user has written in Python. Options: "handle", the number of its writers (writers.h), which
// write in a thread of theirs for each worker and make the tokens.
Result<std::unique_ptr<Sink>> MakePythonSink(const nlohmann::json& options, const SinkContext& context);

}  // namespace frazil
