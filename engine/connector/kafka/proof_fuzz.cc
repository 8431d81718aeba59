// Any bytes beside a group's offset: an error or a proof, and a proof survives being written and read.
#include "connector/kafka/proof.h"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace frazil::kafka;
  const auto proof = ParseProof(7, std::string(reinterpret_cast<const char*>(data), size));
  if (!proof.ok()) return 0;
  const auto again = ParseProof(7, ProofMetadata(*proof));
  if (!again.ok() || again->digest != proof->digest || again->messages != proof->messages ||
      again->whole != proof->whole) {
    std::abort();
  }
  return 0;
}
