#include "connector/kafka/proof.h"

#include <nlohmann/json.hpp>

namespace frazil::kafka {

std::string ProofMetadata(const Proof& proof) {
  return nlohmann::json{
      {"v", 1}, {"digest", proof.digest}, {"messages", proof.messages}, {"whole", proof.whole}}
      .dump();
}

Result<Proof> ParseProof(int64_t offset, const std::string& metadata) {
  const auto read = nlohmann::json::parse(metadata, nullptr, false);
  const bool known = read.is_object() && read.value("v", nlohmann::json()) == 1 && read.contains("digest") &&
                     read["digest"].is_string() && read.contains("messages") &&
                     read["messages"].is_number_integer() && read.contains("whole") &&
                     read["whole"].is_boolean();
  if (!known) {
    return Error(ErrorKind::kState,
                 "reading how far a sink has been sent: the group's offset " + std::to_string(offset) +
                     " has \"" + metadata.substr(0, 100) +
                     "\" beside it, which this version did not write; somebody set offsets of that group");
  }
  return Proof{offset, read["digest"].get<std::string>(), read["messages"].get<int64_t>(),
               read["whole"].get<bool>()};
}

}  // namespace frazil::kafka
