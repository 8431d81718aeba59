#define XXH_INLINE_ALL
#include "operator/time/order_mark.h"

#include <arrow/api.h>
#include <xxhash.h>

#include <bit>
#include <cstring>
#include <span>
#include <string>
#include <utility>

namespace frazil {
namespace {

uint64_t BigEndian(uint64_t value) { return __builtin_bswap64(value); }
static_assert(std::endian::native == std::endian::little);

// Adds the bytes of a column's value; what has another value has other bytes.
Status AddValue(const arrow::Array& column, int64_t row, std::string* bytes) {
  if (column.IsNull(row)) {
    bytes->push_back(0);
    return Status::OK();
  }
  bytes->push_back(1);
  const auto add = [bytes](std::string_view value) {
    const auto length = static_cast<uint64_t>(value.size());
    bytes->append(reinterpret_cast<const char*>(&length), sizeof(length));
    bytes->append(value);
  };
  const arrow::DataType& type = *column.type();
  if (type.id() == arrow::Type::BOOL) {
    bytes->push_back(static_cast<const arrow::BooleanArray&>(column).Value(row) ? 1 : 0);
  } else if (arrow::is_fixed_width(type.id()) && type.id() != arrow::Type::DICTIONARY) {
    const int width = static_cast<const arrow::FixedWidthType&>(type).bit_width() / 8;
    const uint8_t* values = column.data()->buffers[1]->data();
    bytes->append(reinterpret_cast<const char*>(values) + (column.offset() + row) * width,
                  static_cast<size_t>(width));
  } else if (arrow::is_binary_like(type.id())) {
    add(static_cast<const arrow::BinaryArray&>(column).GetView(row));
  } else if (arrow::is_large_binary_like(type.id())) {
    add(static_cast<const arrow::LargeBinaryArray&>(column).GetView(row));
  } else {
    FZ_ASSIGN(const auto value, column.GetScalar(row));
    add(value->ToString());
  }
  return Status::OK();
}

Status HashRows(const arrow::RecordBatch& columns, std::span<uint64_t> marks) {
  std::string bytes;
  for (int64_t i = 0; i < columns.num_rows(); ++i) {
    bytes.clear();
    for (const auto& column : columns.columns()) FZ_TRY(AddValue(*column, i, &bytes));
    const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
    marks[static_cast<size_t>(2 * i)] = hash.high64;
    marks[static_cast<size_t>(2 * i + 1)] = hash.low64;
  }
  return Status::OK();
}

}  // namespace

// Names do not fit into a mark, and the rank of a name would change with the partitions there are; a hash of
// the names is the same in all runs. The source goes by its id, which the job has put where no partition is:
// its number changes with the program, which goes on with rows that are held.
uint64_t PartitionHash(const Origin& origin, const PartitionNames* partitions) {
  if (origin.partition < 0 || partitions == nullptr) return 0;
  const std::string name =
      partitions->name(origin.source, -1) + "/" + partitions->name(origin.source, origin.partition);
  return XXH3_64bits(name.data(), name.size());
}

Result<std::shared_ptr<arrow::FixedSizeBinaryArray>> OrderMarkOf(const Batch& batch,
                                                                 const PartitionNames* partitions,
                                                                 arrow::MemoryPool* pool) {
  if (auto mark = MarkOf(batch, kOrderMark); mark != nullptr) {
    return std::static_pointer_cast<arrow::FixedSizeBinaryArray>(mark);
  }
  const int64_t rows = batch.rows();
  FZ_ASSIGN(std::shared_ptr<arrow::Buffer> buffer, arrow::AllocateBuffer(rows * kOrderBytes, pool));
  const std::span marks(reinterpret_cast<uint64_t*>(buffer->mutable_data()), static_cast<size_t>(2 * rows));
  const auto position = MarkOf(batch, kPositionMark);
  if (batch.origin.partition >= 0 && position != nullptr && position->null_count() == 0) {
    const uint64_t partition = BigEndian(PartitionHash(batch.origin, partitions));
    const auto* positions = static_cast<const arrow::Int64Array&>(*position).raw_values();
    for (int64_t i = 0; i < rows; ++i) {
      marks[static_cast<size_t>(2 * i)] = partition;
      marks[static_cast<size_t>(2 * i + 1)] = BigEndian(static_cast<uint64_t>(positions[i]));
    }
  } else {
    FZ_TRY(HashRows(*batch.columns, marks));
  }
  return std::make_shared<arrow::FixedSizeBinaryArray>(arrow::fixed_size_binary(kOrderBytes), rows,
                                                       std::move(buffer));
}

}  // namespace frazil
