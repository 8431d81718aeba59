#pragma once

#include <arrow/type.h>

#include <memory>
#include <string>

#include "base/status.h"

namespace frazil {

// A schema as text and back: base64 of Arrow's IPC schema message. Exact for every type.
Result<std::string> SchemaText(const arrow::Schema& schema);
Result<std::shared_ptr<arrow::Schema>> ParseSchema(const std::string& base64);

}  // namespace frazil
