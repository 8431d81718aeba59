#include "operator/join/dimension.h"

#include <arrow/api.h>
#include <arrow/array/concatenate.h>
#include <arrow/util/byte_size.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/limits.h"

namespace frazil {
namespace {

constexpr size_t kPrefetch = 16;  // keys whose slots are fetched ahead of the one that is compared

// Adds the bytes of each value of a column with values of any length.
void AddLengths(const arrow::Array& column, uint32_t* bytes) {
  const auto add = [&](const auto& typed) {
    for (int64_t i = 0; i < typed.length(); ++i) {
      const auto more = static_cast<uint64_t>(typed.IsNull(i) ? 0 : typed.value_length(i));
      bytes[i] = static_cast<uint32_t>(std::min<uint64_t>(bytes[i] + more, UINT32_MAX));
    }
  };
  switch (column.type_id()) {
    case arrow::Type::STRING:
    case arrow::Type::BINARY:
      return add(static_cast<const arrow::BinaryArray&>(column));
    case arrow::Type::LARGE_STRING:
    case arrow::Type::LARGE_BINARY:
      return add(static_cast<const arrow::LargeBinaryArray&>(column));
    default:
      return;
  }
}

bool IsUnsigned(const arrow::DataType& type) { return arrow::is_unsigned_integer(type.id()); }

bool IsText(const arrow::DataType& type) { return arrow::is_string(type.id()); }

bool IsBytes(const arrow::DataType& type) {
  return (arrow::is_base_binary_like(type.id()) || type.id() == arrow::Type::FIXED_SIZE_BINARY) &&
         !IsText(type);
}

}  // namespace

std::vector<uint8_t> KeyNulls(const arrow::ArrayVector& keys, int64_t rows) {
  std::vector<uint8_t> nulls;
  for (const auto& column : keys) {
    if (column->null_count() == 0) continue;
    nulls.resize(static_cast<size_t>(rows));
    for (int64_t i = 0; i < rows; ++i) nulls[static_cast<size_t>(i)] |= column->IsNull(i) ? 1 : 0;
  }
  return nulls;
}

bool SameKeyType(const arrow::DataType& left, const arrow::DataType& right) {
  if (arrow::is_integer(left.id()) && arrow::is_integer(right.id())) {
    // As a key, 2^63 and more would be a number below 0.
    const bool wide = left.id() == arrow::Type::UINT64 || right.id() == arrow::Type::UINT64;
    return !wide || (IsUnsigned(left) && IsUnsigned(right));
  }
  if (left.id() == arrow::Type::TIMESTAMP && right.id() == arrow::Type::TIMESTAMP) {
    return static_cast<const arrow::TimestampType&>(left).timezone().empty() ==
           static_cast<const arrow::TimestampType&>(right).timezone().empty();
  }
  if (arrow::is_time(left.id()) && arrow::is_time(right.id())) return true;
  if (left.id() == arrow::Type::DURATION && right.id() == arrow::Type::DURATION) return true;
  if (IsText(left) && IsText(right)) return true;
  if (IsBytes(left) && IsBytes(right)) return true;
  if (left.id() == arrow::Type::DECIMAL128 && right.id() == arrow::Type::DECIMAL128) {
    return static_cast<const arrow::DecimalType&>(left).scale() ==
           static_cast<const arrow::DecimalType&>(right).scale();
  }
  return left.Equals(right);
}

Dimension::Dimension(Spec spec)
    : spec_(std::move(spec)),
      budget_(std::numeric_limits<int64_t>::max()),  // check_size() has the text that fits
      pool_("lookup", &budget_, arrow::system_memory_pool()),
      keys_(&pool_),
      slots_(&pool_),
      next_(&pool_),
      wide_(&pool_) {}

Result<std::shared_ptr<const Dimension>> Dimension::Make(
    Spec spec, const std::shared_ptr<arrow::Schema>& schema,
    const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches) {
  auto made = std::make_shared<Dimension>(std::move(spec));
  FZ_TRY(made->take(schema, batches));
  return made;
}

Status Dimension::take(const std::shared_ptr<arrow::Schema>& schema,
                       const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches) {
  const auto select = [&](const std::vector<std::string>& names,
                          arrow::MemoryPool* pool) -> Result<std::shared_ptr<arrow::RecordBatch>> {
    std::vector<int> places;
    for (const std::string& name : names) {
      places.push_back(schema->GetFieldIndex(name));
      FZ_CHECK(places.back() >= 0);
    }
    arrow::FieldVector fields;
    for (const int place : places) fields.push_back(schema->field(place));
    arrow::RecordBatchVector chosen;
    int64_t rows = 0, bytes = 0;
    for (const auto& batch : batches) {
      FZ_ASSIGN(auto some, batch->SelectColumns(places));
      rows += some->num_rows();
      FZ_ASSIGN(const int64_t size, arrow::util::ReferencedBufferSize(*some));
      bytes += size;
      if (some->num_rows() > 0) chosen.push_back(std::move(some));
    }
    if (bytes > spec_.max_bytes || rows >= kLookupRows) return too_large(rows, bytes);
    const auto selected = arrow::schema(fields);
    if (chosen.empty()) return arrow::RecordBatch::MakeEmpty(selected, pool);
    if (fields.empty()) return arrow::RecordBatch::Make(selected, rows, arrow::ArrayVector{});
    return arrow::ConcatenateRecordBatches(chosen, pool);
  };
  FZ_ASSIGN(rows_, select(spec_.columns, &pool_));
  FZ_TRY(check_size());
  FZ_ASSIGN(const auto keys, select(spec_.keys, arrow::system_memory_pool()));
  for (const auto& column : keys->columns()) key_types_.push_back(column->type());
  FZ_TRY(index(keys->columns(), keys->num_rows()));
  FZ_TRY(measure());
  return check_size();
}

Status Dimension::index(const arrow::ArrayVector& keys, int64_t rows) {
  FZ_ASSIGN(const KeyCodec codec, KeyCodec::Make(key_types_));
  if (auto encoded = codec.encode(keys, rows, &keys_); !encoded.ok()) {
    return NamedError("DataError", "lookup " + spec_.name + ": " + MessageOf(encoded));
  }
  FZ_TRY(check_size());
  const std::vector<uint8_t> nulls = KeyNulls(keys, rows);
  std::vector<uint32_t> last;  // row of the end of each chain, by its first row; only with several rows a key
  for (int64_t i = 0; i < rows; ++i) {
    if (!nulls.empty() && nulls[static_cast<size_t>(i)] != 0) continue;
    ++keyed_;
    const auto row = static_cast<uint32_t>(i);
    const uint32_t head = find_one(keys_.hash(i), keys_.key(i));
    if (head == kNoRow) {
      FZ_TRY(insert(row));
    } else if (spec_.unique) {
      return doubled(head, row, keys);
    } else {
      FZ_TRY(chain(head, row, &last));
    }
    if (i % 65'536 == 0) FZ_TRY(check_size());
  }
  return Status::OK();
}

Status Dimension::insert(uint32_t row) {
  const auto hash = static_cast<uint32_t>(keys_.hash(row));
  FZ_TRY(slots_.reserve(hash));
  slots_.insert(hash, row + 1);
  return Status::OK();
}

Status Dimension::chain(uint32_t head, uint32_t row, std::vector<uint32_t>* last) {
  const auto rows = static_cast<size_t>(keys_.size());
  if (next_.empty()) {
    FZ_TRY(next_.reserve(rows));
    for (size_t i = 0; i < rows; ++i) next_.push_back(kNoRow);
    last->assign(rows, kNoRow);
  }
  const uint32_t end = (*last)[head] == kNoRow ? head : (*last)[head];
  next_[end] = row;
  (*last)[head] = row;
  return Status::OK();
}

// Rows of very different size are taken by their bytes, others by their number.
Status Dimension::measure() {
  const int64_t rows = rows_->num_rows();
  if (rows == 0) return Status::OK();
  FZ_ASSIGN(const int64_t bytes, arrow::util::ReferencedBufferSize(*rows_));
  row_bytes_ = bytes / rows + 1;
  std::vector<uint32_t> lengths(static_cast<size_t>(rows), 0);
  for (const auto& column : rows_->columns()) AddLengths(*column, lengths.data());
  const int64_t most = *std::max_element(lengths.begin(), lengths.end());
  if (most * limits::kBatchRows <= 4 * limits::kBatchBytes) return Status::OK();
  FZ_TRY(wide_.reserve(lengths.size()));
  for (const uint32_t length : lengths) {
    wide_.push_back(static_cast<uint32_t>(std::min<uint64_t>(uint64_t{length} + 8, UINT32_MAX)));
  }
  return Status::OK();
}

uint32_t Dimension::find_one(uint64_t hash, std::string_view key) const {
  const auto low = static_cast<uint32_t>(hash);
  auto place = slots_.place(low);
  while (const uint32_t slot = SlotDirectory::Next(&place, low)) {
    if (keys_.key(slot - 1) == key) return slot - 1;
  }
  return kNoRow;
}

void Dimension::find(const EncodedKeys& keys, std::span<const uint8_t> absent,
                     std::vector<uint32_t>* first) const {
  const auto rows = static_cast<size_t>(keys.size());
  first->resize(rows);
  const auto hash = [&](size_t i) { return keys.hash(static_cast<int64_t>(i)); };
  for (size_t i = 0; i < std::min(kPrefetch, rows); ++i) {
    SlotDirectory::Prefetch(slots_.place(static_cast<uint32_t>(hash(i))));
  }
  for (size_t i = 0; i < rows; ++i) {
    if (i + kPrefetch < rows) {
      SlotDirectory::Prefetch(slots_.place(static_cast<uint32_t>(hash(i + kPrefetch))));
    }
    const bool none = !absent.empty() && absent[i] != 0;
    (*first)[i] = none ? kNoRow : find_one(hash(i), keys.key(static_cast<int64_t>(i)));
  }
}

Status Dimension::too_large(int64_t rows, int64_t bytes) const {
  const bool many = rows >= kLookupRows;
  return NamedError("DataError", "lookup " + spec_.name + ": " + std::to_string(rows) + " rows of " +
                                     std::to_string(bytes) + " bytes, at most " +
                                     std::to_string(many ? kLookupRows - 1 : spec_.max_bytes) +
                                     (many ? " rows" : " bytes (max_bytes)") +
                                     " are possible\ntake fewer columns or rows" +
                                     (many ? "" : ", or raise max_bytes="));
}

Status Dimension::check_size() const {
  if (bytes() <= spec_.max_bytes) return Status::OK();
  return too_large(rows_->num_rows(), bytes());
}

Status Dimension::doubled(uint32_t first, uint32_t second, const arrow::ArrayVector& keys) const {
  std::string key;
  for (size_t i = 0; i < keys.size(); ++i) {
    FZ_ASSIGN(const auto value, keys[i]->GetScalar(second));
    key += (key.empty() ? "" : ", ") + spec_.keys[i] + "=" + value->ToString();
  }
  return NamedError("DataError", "lookup " + spec_.name + ": rows " + std::to_string(first) + " and " +
                                     std::to_string(second) + " have the same key " + key +
                                     "\nduplicates=\"all\" gives a row for each of them; else make keys "
                                     "unique in the table");
}

}  // namespace frazil
