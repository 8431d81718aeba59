#pragma once

#include <arrow/array/data.h>
#include <arrow/buffer.h>
#include <arrow/memory_pool.h>
#include <arrow/type.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "format/json.h"
#include "format/json_cursor.h"

namespace frazil {

// Growing memory of a column's values. After Finish it is empty again; memory it gave away is used anew when
// nobody holds it any more, which saves most page faults.
class JsonBuffer {
 public:
  explicit JsonBuffer(arrow::MemoryPool* pool) : pool_(pool) {}

  uint8_t* data() { return data_; }
  template <typename T>
  T* as() {
    return reinterpret_cast<T*>(data_);
  }
  int64_t capacity() const { return capacity_; }

  // Makes room for at least `bytes`, twice as much as before if it has to move.
  Status Grow(int64_t bytes);
  // Gives the first `size` bytes away.
  Result<std::shared_ptr<arrow::Buffer>> Finish(int64_t size);

 private:
  std::shared_ptr<arrow::ResizableBuffer> TakeSpare(int64_t bytes);

  arrow::MemoryPool* pool_;
  std::shared_ptr<arrow::ResizableBuffer> buffer_;
  std::vector<std::shared_ptr<arrow::ResizableBuffer>> given_;  // lately; at most kSpares
  uint8_t* data_ = nullptr;
  int64_t capacity_ = 0;
};

// The values of one column as they are read. Values are appended; Truncate takes appended ones back, which is
// how rows that turn out bad and earlier values of duplicate keys vanish. After a false from Read or Append
// the column may hold a part of a value: only Truncate may follow.
class JsonColumn {
 public:
  JsonColumn(std::shared_ptr<arrow::DataType> type, bool nullable, const char* expected,
             arrow::MemoryPool* pool)
      : type_(std::move(type)), pool_(pool), expected_(expected), nullable_(nullable) {}
  virtual ~JsonColumn() = default;

  int64_t length() const { return length_; }
  bool nullable() const { return nullable_; }

  // Reads the value here, null included.
  bool Read(JsonCursor& cursor, JsonFailure& failure) {
    if (cursor.Peek() == 'n') [[unlikely]]
      return ReadNull(cursor, failure);
    return Append(cursor, failure);
  }
  // Appends a null; the column is nullable.
  bool AppendNull(JsonFailure& failure) {
    nulls_.push_back(static_cast<uint32_t>(length_));
    return AppendEmpty(failure);
  }

  // Reads a value that is not null.
  virtual bool Append(JsonCursor& cursor, JsonFailure& failure) = 0;
  // Appends a value that nobody sees (under a null): zero, an empty string or list.
  virtual bool AppendEmpty(JsonFailure& failure) = 0;
  virtual void Truncate(int64_t length) = 0;
  // Makes room for about `values` more; called before the first value of each batch.
  virtual Status Reserve(int64_t values) = 0;
  // Gives the column away and begins a new one.
  virtual Result<std::shared_ptr<arrow::ArrayData>> Finish() = 0;

 protected:
  bool Expected(const JsonCursor& cursor, JsonFailure& failure) const {
    return cursor.Expected(expected_, failure);
  }
  void TruncateNulls(int64_t length) {
    while (!nulls_.empty() && nulls_.back() >= length) nulls_.pop_back();
    length_ = length;
  }
  // Validity bitmap (nullptr without nulls) and null count; forgets the nulls.
  Result<std::shared_ptr<arrow::Buffer>> FinishNulls(int64_t* count);

  std::shared_ptr<arrow::DataType> type_;
  arrow::MemoryPool* pool_;
  const char* expected_;  // what error texts call a value: "number", "string"
  bool nullable_;
  int64_t length_ = 0;
  std::vector<uint32_t> nulls_;  // rows, ascending

 private:
  bool ReadNull(JsonCursor& cursor, JsonFailure& failure);
};

// Values of fixed width.
template <typename T>
class JsonFixedColumn : public JsonColumn {
 public:
  JsonFixedColumn(std::shared_ptr<arrow::DataType> type, bool nullable, const char* expected,
                  arrow::MemoryPool* pool)
      : JsonColumn(std::move(type), nullable, expected, pool), values_(pool) {}

  bool AppendEmpty(JsonFailure& failure) override { return Put(T{}, failure); }
  void Truncate(int64_t length) override { TruncateNulls(length); }
  Status Reserve(int64_t values) override {
    FZ_TRY(values_.Grow((length_ + values) * static_cast<int64_t>(sizeof(T))));
    capacity_ = values_.capacity() / static_cast<int64_t>(sizeof(T));
    return Status::OK();
  }
  Result<std::shared_ptr<arrow::ArrayData>> Finish() override {
    int64_t nulls = 0;
    FZ_ASSIGN(auto validity, FinishNulls(&nulls));
    FZ_ASSIGN(auto values, values_.Finish(length_ * static_cast<int64_t>(sizeof(T))));
    auto made = arrow::ArrayData::Make(type_, length_, {std::move(validity), std::move(values)}, nulls);
    length_ = capacity_ = 0;
    return made;
  }

 protected:
  bool Put(T value, JsonFailure& failure) {
    if (length_ == capacity_) [[unlikely]] {
      if (!failure.Ok(Reserve(1))) return false;
    }
    values_.template as<T>()[length_++] = value;
    return true;
  }

 private:
  JsonBuffer values_;
  int64_t capacity_ = 0;  // values
};

// Makes the column for a field and its type's children; metadata as json.h says. `level` is the nesting above
// it.
Result<std::unique_ptr<JsonColumn>> MakeJsonColumn(const arrow::Field& field, const JsonOptions& options,
                                                   arrow::MemoryPool* pool, int level);

// The makers per kind of type, nullptr if the type is not of theirs.
Result<std::unique_ptr<JsonColumn>> MakeJsonNumberColumn(const arrow::Field& field, arrow::MemoryPool* pool);
Result<std::unique_ptr<JsonColumn>> MakeJsonTimeColumn(const arrow::Field& field, const JsonOptions& options,
                                                       arrow::MemoryPool* pool);
Result<std::unique_ptr<JsonColumn>> MakeJsonTextColumn(const arrow::Field& field, arrow::MemoryPool* pool);
Result<std::unique_ptr<JsonColumn>> MakeJsonNestedColumn(const arrow::Field& field,
                                                         const JsonOptions& options, arrow::MemoryPool* pool,
                                                         int level);

// A value of the field's metadata, or "".
std::string JsonMetadata(const arrow::Field& field, const char* key);

}  // namespace frazil
