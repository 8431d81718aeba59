#pragma once

#include <arrow/array.h>
#include <arrow/buffer.h>
#include <arrow/memory_pool.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "base/status.h"

namespace frazil {

// The hash of an encoded key: XXH3-64 with seed 0 (kKeyHashVersion).
uint64_t HashKey(std::string_view key);

// The encoded keys of a batch and their hashes. Made to be filled again and again: memory is kept between
// batches. Views are valid until the next encode or assign. One thread.
class EncodedKeys {
 public:
  explicit EncodedKeys(arrow::MemoryPool* pool = arrow::default_memory_pool()) : pool_(pool) {}

  int64_t size() const { return rows_; }
  std::string_view key(int64_t row) const {
    return {starts_ + offset_[row], static_cast<size_t>(offset_[row + 1] - offset_[row])};
  }
  uint64_t hash(int64_t row) const { return hash_[row]; }
  std::span<const uint64_t> hashes() const { return {hash_, static_cast<size_t>(rows_)}; }

  // Takes keys that are encoded already. Errors: more than 4 GiB of keys, no memory.
  Status assign(std::span<const std::string_view> keys);

 private:
  friend class KeyCodec;

  Status resize_rows(int64_t rows);
  Status resize_bytes(uint64_t bytes);
  void finish(int64_t rows, const uint64_t* hashes);  // hashes them unless they are given

  arrow::MemoryPool* pool_;
  std::unique_ptr<arrow::ResizableBuffer> offsets_, bytes_, hashes_;
  // What the buffers hold.
  int64_t rows_ = 0;
  uint32_t* offset_ = nullptr;  // rows + 1
  const char* starts_ = nullptr;
  uint64_t* hash_ = nullptr;
};

// Encodes key columns as key.h says (version 1), hashes them, and makes columns of encoded keys again.
// Immutable, thread-safe.
class KeyCodec {
 public:
  // Errors: no columns of these types can be a key (floats of 16 bits, decimals over 128 bits, nested types).
  static Result<KeyCodec> Make(arrow::DataTypeVector types);

  // Columns of the types given to Make. With `hashes` (one per row, from an exchange by the same columns)
  // keys are not hashed again. Errors: a time that is no whole microsecond or beyond what 64 bits of them
  // hold - such times would be another key than they are; a batch with more than 4 GiB of keys; no memory.
  Status encode(const arrow::ArrayVector& columns, int64_t rows, EncodedKeys* keys,
                std::span<const uint64_t> hashes = {}) const;

  // The columns of encoded keys. What encode normalised stays so: -0.0 is 0.0, NaN is one NaN. Any bytes may
  // be given (state files may be damaged or of other types). Errors (kState): bytes that encode would not
  // write for these types, with the number of the key; no memory.
  Result<arrow::ArrayVector> decode(std::span<const std::string_view> keys, arrow::MemoryPool* pool) const;

  const arrow::DataTypeVector& types() const { return types_; }

 private:
  explicit KeyCodec(arrow::DataTypeVector types) : types_(std::move(types)) {}

  arrow::DataTypeVector types_;
};

}  // namespace frazil
