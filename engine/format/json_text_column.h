#pragma once

#include "format/json_column.h"

namespace frazil {

// Strings (and base64 of binaries) with 32 or 64-bit offsets.
template <typename Offset>
class JsonTextColumn : public JsonColumn {
 public:
  JsonTextColumn(const arrow::Field& field, arrow::MemoryPool* pool);

  bool Append(JsonCursor& cursor, JsonFailure& failure) override;
  // Appends a text that is not read from JSON.
  bool AppendText(std::string_view text, JsonFailure& failure);
  bool AppendEmpty(JsonFailure& failure) override;
  void Truncate(int64_t length) override;
  Status Reserve(int64_t values) override;
  Result<std::shared_ptr<arrow::ArrayData>> Finish() override;

 private:
  // Makes room for one more value of up to `bytes`.
  bool Room(size_t bytes, JsonFailure& failure);
  bool AppendBase64(std::string_view text, const JsonCursor& at, JsonFailure& failure);
  void Close() { offsets_.template as<Offset>()[++length_] = static_cast<Offset>(size_); }

  JsonBuffer offsets_;
  JsonBuffer bytes_;
  int64_t offset_capacity_ = 0;  // values
  int64_t size_ = 0;             // bytes
  int64_t size_before_ = 0;      // bytes of the last batch: a guess for the next
  bool base64_;
};

}  // namespace frazil
