#define XXH_INLINE_ALL
#include "operator/join/partner_order.h"

#include <arrow/api.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "operator/time/order_mark.h"

namespace frazil {
namespace {

using Mark = std::array<uint8_t, kOrderBytes>;

// Of a mark of a source (8 bytes of partition, 8 of position, both big endian): 6 and 7 of these, and 3 for
// the number. More partners than these count are not told apart.
constexpr uint32_t kNumberMax = (1u << 24) - 1;

Mark OfSource(const Mark& base, uint32_t number) {
  Mark made;
  std::memcpy(made.data(), base.data(), 6);
  std::memcpy(made.data() + 6, base.data() + 9, 7);
  number = std::min(number, kNumberMax);
  made[13] = static_cast<uint8_t>(number >> 16);
  made[14] = static_cast<uint8_t>(number >> 8);
  made[15] = static_cast<uint8_t>(number);
  return made;
}

// Of any other mark: the first partner keeps it, the others have a hash.
Mark OfOther(const Mark& base, uint32_t number) {
  if (number == 0) return base;
  std::array<uint8_t, kOrderBytes + sizeof number> bytes;
  std::memcpy(bytes.data(), base.data(), kOrderBytes);
  std::memcpy(bytes.data() + kOrderBytes, &number, sizeof number);
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  Mark made;
  std::memcpy(made.data(), &hash, kOrderBytes);
  return made;
}

}  // namespace

Status MarkPartners(Batch* batch, std::span<const uint32_t> numbers, const PartitionNames* partitions,
                    arrow::MemoryPool* pool) {
  const bool marked = MarkOf(*batch, kOrderMark) != nullptr;
  const bool of_source = batch->origin.partition >= 0 && MarkOf(*batch, kPositionMark) != nullptr;
  if (!marked && !of_source) return Status::OK();
  FZ_ASSIGN(const auto base, OrderMarkOf(*batch, partitions, pool));
  FZ_ASSIGN(std::shared_ptr<arrow::Buffer> buffer, arrow::AllocateBuffer(batch->rows() * kOrderBytes, pool));
  for (int64_t i = 0; i < batch->rows(); ++i) {
    Mark mark;
    std::memcpy(mark.data(), base->GetValue(i), kOrderBytes);
    const uint32_t number = numbers[static_cast<size_t>(i)];
    mark = marked ? OfOther(mark, number) : OfSource(mark, number);
    std::memcpy(buffer->mutable_data() + i * kOrderBytes, mark.data(), kOrderBytes);
  }
  SetMark(batch, kOrderMark,
          std::make_shared<arrow::FixedSizeBinaryArray>(arrow::fixed_size_binary(kOrderBytes), batch->rows(),
                                                        std::move(buffer)));
  return Status::OK();
}

}  // namespace frazil
