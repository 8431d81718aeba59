// Any bytes as the batch of a row of state: an error, or rows that are whole and can be taken.
#include <arrow/api.h>
#include <arrow/compute/initialize.h>

#include <cstdlib>

#include "base/memory.h"
#include "connector/iceberg/waiting_rows.h"

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  if (!arrow::compute::Initialize().ok()) std::abort();
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  frazil::MemoryBudget budget(64 << 20);
  frazil::AccountedPool pool("state", &budget, arrow::default_memory_pool());
  frazil::iceberg::WaitingRows waiting(0, &pool);
  arrow::BinaryBuilder bytes;
  if (!bytes.Append(data, static_cast<int32_t>(size)).ok()) std::abort();
  const auto schema =
      arrow::schema({arrow::field("hash", arrow::uint64()), arrow::field("table", arrow::utf8()),
                     arrow::field("writer", arrow::int32()), arrow::field("waiting", arrow::binary())});
  if (!frazil::iceberg::WaitingRows::IsSaved(*schema)) std::abort();
  const auto saved = arrow::RecordBatch::Make(
      schema, 1,
      {*arrow::MakeArrayOfNull(arrow::uint64(), 1), *arrow::MakeArrayFromScalar(arrow::StringScalar("t"), 1),
       *arrow::MakeArrayFromScalar(arrow::Int32Scalar(1), 1), *bytes.Finish()});
  const auto mine = [](const auto&, const auto& rows) { return rows; };
  if (!waiting.restore(*saved, mine).ok()) return 0;
  for (const auto& rows : waiting.take("t")) {
    if (!rows->ValidateFull().ok() || rows->num_rows() == 0) std::abort();
  }
  if (waiting.bytes() != 0) std::abort();
  return 0;
}
