#pragma once

#include <memory>
#include <nlohmann/json.hpp>

#include "base/status.h"
#include "connector/sink.h"

namespace frazil {

// Writes rows to files of a local folder. A file is written and made durable as
// "<folder>/_frazil/staging/<prefix>-<attempt>-<epoch>-<worker>-<uuid>.<jsonl|parquet>"; the committer
// renames it to the name in the token, "<prefix>-<epoch>-<worker>-<number>.<jsonl|parquet>". Options:
// {"folder", "format": "json" | "parquet", "prefix", "attempt"}; kConfig errors. Token:
// {"v":1,"rows":n,"files":[{"staged": path in the folder, "name", "rows", "bytes"}]}.
Result<std::unique_ptr<Sink>> MakeFileSink(const nlohmann::json& options, const SinkContext& context);

}  // namespace frazil
