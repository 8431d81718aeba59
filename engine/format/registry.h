#pragma once

#include <memory>
#include <nlohmann/json.hpp>

#include "format/decoder.h"
#include "format/schema_board.h"

namespace frazil {

// Makes the decoder of a format ({"kind": "json", ...}) for these columns. The one list of formats is in
// registry.cc. Formats whose schemas are in a registry ("registry": its name) get them from `desk`.
Result<std::unique_ptr<Decoder>> MakeDecoder(const nlohmann::json& format,
                                             const std::shared_ptr<arrow::Schema>& schema,
                                             arrow::MemoryPool* pool, SchemaDesk desk = {});

}  // namespace frazil
