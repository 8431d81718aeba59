#pragma once

#include <memory>
#include <nlohmann/json.hpp>

#include "format/decoder.h"

namespace frazil {

// Makes the decoder of a format ({"kind": "json", ...}) for these columns. The one list of formats is in
// registry.cc.
Result<std::unique_ptr<Decoder>> MakeDecoder(const nlohmann::json& format,
                                             const std::shared_ptr<arrow::Schema>& schema,
                                             arrow::MemoryPool* pool);

}  // namespace frazil
