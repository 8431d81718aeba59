#include "format/json_column.h"

#include <arrow/util/bit_util.h>
#include <arrow/util/key_value_metadata.h>

#include <algorithm>
#include <cstring>

#include "format/debezium_column.h"

namespace frazil {
namespace {

constexpr size_t kSpares = 4;                 // buffers remembered of one column
constexpr int64_t kSpareBytesMin = 64 << 10;  // bytes; smaller ones are kept whatever is wanted

class NullColumn : public JsonColumn {
 public:
  NullColumn(std::shared_ptr<arrow::DataType> type, arrow::MemoryPool* pool)
      : JsonColumn(std::move(type), true, "null", pool) {}
  bool Append(JsonCursor& cursor, JsonFailure& failure) override { return Expected(cursor, failure); }
  bool AppendEmpty(JsonFailure&) override {
    ++length_;
    return true;
  }
  void Truncate(int64_t length) override { TruncateNulls(length); }
  Status Reserve(int64_t) override { return Status::OK(); }
  Result<std::shared_ptr<arrow::ArrayData>> Finish() override {
    auto made = arrow::ArrayData::Make(type_, length_, {nullptr}, length_);
    nulls_.clear();
    length_ = 0;
    return made;
  }
};

}  // namespace

Status JsonBuffer::Grow(int64_t bytes) {
  if (bytes <= capacity_ && data_ != nullptr) return Status::OK();
  const int64_t wanted = std::max(bytes, capacity_ * 2);
  if (buffer_ == nullptr) buffer_ = TakeSpare(wanted);
  if (buffer_ == nullptr) {
    FZ_ASSIGN(auto made, arrow::AllocateResizableBuffer(wanted, pool_));
    buffer_ = std::move(made);
  } else {
    FZ_TRY(buffer_->Resize(wanted, /*shrink_to_fit=*/false));
  }
  data_ = buffer_->mutable_data();
  capacity_ = buffer_->capacity();
  return Status::OK();
}

// Copying the pointer before counting makes what other threads did with the memory visible here: they let go
// of it by the same counter.
std::shared_ptr<arrow::ResizableBuffer> JsonBuffer::TakeSpare(int64_t bytes) {
  for (size_t i = 0; i < given_.size(); ++i) {
    std::shared_ptr<arrow::ResizableBuffer> spare = given_[i];
    if (spare.use_count() != 2) continue;
    given_.erase(given_.begin() + static_cast<std::ptrdiff_t>(i));
    // One that is much too large is for a batch of another kind: give its memory back.
    if (spare->capacity() >= bytes && spare->capacity() / 4 <= bytes + kSpareBytesMin) return spare;
    --i;
  }
  return nullptr;
}

Result<std::shared_ptr<arrow::Buffer>> JsonBuffer::Finish(int64_t size) {
  if (buffer_ == nullptr) FZ_TRY(Grow(0));
  FZ_TRY(buffer_->Resize(size, /*shrink_to_fit=*/false));
  std::shared_ptr<arrow::Buffer> made = buffer_;
  if (given_.size() == kSpares) given_.erase(given_.begin());
  given_.push_back(std::move(buffer_));
  buffer_ = nullptr;
  data_ = nullptr;
  capacity_ = 0;
  return made;
}

bool JsonColumn::ReadNull(JsonCursor& cursor, JsonFailure& failure) {
  JsonCursor behind = cursor;
  if (!behind.TakeNull(failure)) return Expected(cursor, failure);
  if (!nullable_) return failure.Because("null where the column is not nullable");
  cursor = behind;
  return AppendNull(failure);
}

Result<std::shared_ptr<arrow::Buffer>> JsonColumn::FinishNulls(int64_t* count) {
  *count = static_cast<int64_t>(nulls_.size());
  if (nulls_.empty()) return std::shared_ptr<arrow::Buffer>();
  FZ_ASSIGN(auto bits, arrow::AllocateBuffer(arrow::bit_util::BytesForBits(length_), pool_));
  std::memset(bits->mutable_data(), 0xff, static_cast<size_t>(bits->size()));
  for (const uint32_t row : nulls_) arrow::bit_util::ClearBit(bits->mutable_data(), row);
  nulls_.clear();
  return std::shared_ptr<arrow::Buffer>(std::move(bits));
}

std::string JsonMetadata(const arrow::Field& field, const char* key) {
  if (field.metadata() == nullptr) return "";
  auto found = field.metadata()->Get(key);
  return found.ok() ? *found : "";
}

Result<std::unique_ptr<JsonColumn>> MakeJsonColumn(const arrow::Field& field, const JsonOptions& options,
                                                   arrow::MemoryPool* pool, int level) {
  if (level > limits::kJsonDepth) {
    return Error(ErrorKind::kConfig,
                 "type nested deeper than " + std::to_string(limits::kJsonDepth) + " levels\n  flatten it");
  }
  if (field.HasMetadata()) {
    FZ_ASSIGN(auto special, MakeDebeziumColumn(field, options, pool, level));
    if (special != nullptr) return special;
  }
  if (field.type()->id() == arrow::Type::NA) return std::make_unique<NullColumn>(field.type(), pool);
  FZ_ASSIGN(auto made, MakeJsonNumberColumn(field, pool));
  if (made == nullptr) {
    FZ_ASSIGN(made, MakeJsonTimeColumn(field, options, pool));
  }
  if (made == nullptr) {
    FZ_ASSIGN(made, MakeJsonTextColumn(field, pool));
  }
  if (made == nullptr) {
    FZ_ASSIGN(made, MakeJsonNestedColumn(field, options, pool, level));
  }
  if (made != nullptr) return made;
  return Error(ErrorKind::kConfig,
               "type " + field.type()->ToString() +
                   " cannot be read from JSON\n  declare another type and cast it in the pipeline");
}

}  // namespace frazil
