#pragma once

#include <string>

#include "base/status.h"
#include "connector/kafka/publisher.h"

namespace frazil::kafka {

// What stands beside the offset, which is the slot: {"v":1,"digest":...,"messages":n,"whole":bool}.
std::string ProofMetadata(const Proof& proof);

// Reads an offset and what stands beside it; kState if this version did not write it.
Result<Proof> ParseProof(int64_t offset, const std::string& metadata);

}  // namespace frazil::kafka
