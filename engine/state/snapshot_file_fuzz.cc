// Any bytes as a state file, and the same with their length and checksum put right, so that header and rows
// are reached: an error, or batches that are whole and of the groups asked for.
#include <arrow/array.h>
#include <arrow/compute/initialize.h>

#include <cstdlib>

#include "base/memory.h"
#include "state/snapshot_file.h"

namespace {

void Read(const std::string& bytes) {
  frazil::MemoryBudget budget(64 << 20);
  frazil::AccountedPool pool("state", &budget, arrow::default_memory_pool());
  const auto read = frazil::ReadStateFile("fuzz", arrow::Buffer::FromString(bytes), "", 100, 600, &pool);
  if (!read.ok()) return;
  for (const auto& batch : read->batches) {
    if (!batch->ValidateFull().ok() || batch->num_rows() == 0) std::abort();
    const auto& hashes = static_cast<const arrow::UInt64Array&>(*batch->column(0));
    for (int64_t i = 0; i < hashes.length(); ++i) {
      const int group = frazil::GroupOf(hashes.Value(i));
      if (hashes.IsValid(i) && (group < 100 || group > 600)) std::abort();
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  if (!arrow::compute::Initialize().ok()) std::abort();
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string bytes(reinterpret_cast<const char*>(data), size);
  Read(bytes);
  frazil::SealStateFile(&bytes);
  Read(bytes);
  return 0;
}
