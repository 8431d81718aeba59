#include "format/registry.h"

namespace frazil {

Result<std::unique_ptr<Decoder>> MakeDecoder(const nlohmann::json& format, const std::shared_ptr<arrow::Schema>&,
                                             arrow::MemoryPool*) {
  const auto kind = format.at("kind").get<std::string>();
  return Error(ErrorKind::kConfig, "no format \"" + kind + "\"");
}

}  // namespace frazil
