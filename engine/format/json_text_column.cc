#include "format/json_text_column.h"

#include <arrow/type_traits.h>

#include <limits>

#include "format/base64.h"
#include "format/raw_batch.h"

namespace frazil {
namespace {

constexpr size_t kShortText = 32;   // bytes copied at once, whatever the length
constexpr size_t kMiddleText = 64;  // the same, for what is longer
static_assert(kMiddleText <= static_cast<size_t>(kRawPadding));

}  // namespace

template <typename Offset>
JsonTextColumn<Offset>::JsonTextColumn(const arrow::Field& field, arrow::MemoryPool* pool)
    : JsonColumn(field.type(), field.nullable(),
                 arrow::is_string(field.type()->id()) ? "string" : "base64 string", pool),
      offsets_(pool),
      bytes_(pool),
      base64_(!arrow::is_string(field.type()->id())) {}

template <typename Offset>
bool JsonTextColumn<Offset>::Append(JsonCursor& cursor, JsonFailure& failure) {
  if (cursor.Peek() != '"') [[unlikely]]
    return Expected(cursor, failure);
  const JsonCursor at = cursor;
  const std::string_view raw = cursor.TakeRawString();
  if (!Room(raw.size(), failure)) return false;
  char* out = bytes_.as<char>() + size_;
  if (base64_) return AppendBase64(raw, at, failure);
  if (cursor.HasEscape(raw)) {
    size_t size = 0;
    if (!UnescapeJson(raw, out, &size, failure)) return false;
    size_ += static_cast<int64_t>(size);
  } else {
    if (raw.size() <= kShortText) {
      std::memcpy(out, raw.data(), kShortText);
    } else if (raw.size() <= kMiddleText) {
      std::memcpy(out, raw.data(), kMiddleText);
    } else {
      std::memcpy(out, raw.data(), raw.size());
    }
    size_ += static_cast<int64_t>(raw.size());
  }
  Close();
  return true;
}

template <typename Offset>
bool JsonTextColumn<Offset>::AppendBase64(std::string_view text, const JsonCursor& at, JsonFailure& failure) {
  std::string plain;
  JsonCursor probe = at;
  if (probe.HasEscape(text)) {  // "\/" is the only escape a base64 text can hold
    plain.resize(text.size());
    size_t size = 0;
    if (!UnescapeJson(text, plain.data(), &size, failure)) return false;
    text = std::string_view(plain).substr(0, size);
  }
  size_t size = 0;
  if (!DecodeBase64(text, bytes_.data() + size_, &size)) return Expected(at, failure);
  size_ += static_cast<int64_t>(size);
  Close();
  return true;
}

template <typename Offset>
bool JsonTextColumn<Offset>::AppendText(std::string_view text, JsonFailure& failure) {
  if (!Room(text.size(), failure)) return false;
  std::memcpy(bytes_.as<char>() + size_, text.data(), text.size());
  size_ += static_cast<int64_t>(text.size());
  Close();
  return true;
}

template <typename Offset>
bool JsonTextColumn<Offset>::AppendEmpty(JsonFailure& failure) {
  if (!Room(0, failure)) return false;
  Close();
  return true;
}

template <typename Offset>
void JsonTextColumn<Offset>::Truncate(int64_t length) {
  TruncateNulls(length);
  size_ = offsets_.template as<Offset>()[length];
}

template <typename Offset>
bool JsonTextColumn<Offset>::Room(size_t bytes, JsonFailure& failure) {
  if (length_ + 1 >= offset_capacity_) [[unlikely]] {
    if (!failure.Ok(offsets_.Grow((length_ + 2) * static_cast<int64_t>(sizeof(Offset))))) return false;
    offset_capacity_ = offsets_.capacity() / static_cast<int64_t>(sizeof(Offset));
  }
  const int64_t wanted = size_ + static_cast<int64_t>(bytes + kMiddleText);
  if (wanted <= bytes_.capacity()) [[likely]]
    return true;
  if (wanted > std::numeric_limits<Offset>::max()) {
    return failure.Fatal(Error(ErrorKind::kDecode,
                               "more than 2 GiB of text in one column of one batch\n  read smaller batches"));
  }
  return failure.Ok(bytes_.Grow(wanted));
}

template <typename Offset>
Status JsonTextColumn<Offset>::Reserve(int64_t values) {
  FZ_TRY(offsets_.Grow((length_ + values + 1) * static_cast<int64_t>(sizeof(Offset))));
  offset_capacity_ = offsets_.capacity() / static_cast<int64_t>(sizeof(Offset));
  if (length_ == 0) offsets_.template as<Offset>()[0] = 0;
  return bytes_.Grow(size_ + size_before_ + size_before_ / 16 + static_cast<int64_t>(kMiddleText));
}

template <typename Offset>
Result<std::shared_ptr<arrow::ArrayData>> JsonTextColumn<Offset>::Finish() {
  int64_t nulls = 0;
  FZ_ASSIGN(auto validity, FinishNulls(&nulls));
  FZ_ASSIGN(auto offsets, offsets_.Finish((length_ + 1) * static_cast<int64_t>(sizeof(Offset))));
  FZ_ASSIGN(auto bytes, bytes_.Finish(size_));
  auto made = arrow::ArrayData::Make(type_, length_,
                                     {std::move(validity), std::move(offsets), std::move(bytes)}, nulls);
  size_before_ = size_;
  length_ = size_ = offset_capacity_ = 0;
  return made;
}

template class JsonTextColumn<int32_t>;
template class JsonTextColumn<int64_t>;

Result<std::unique_ptr<JsonColumn>> MakeJsonTextColumn(const arrow::Field& field, arrow::MemoryPool* pool) {
  switch (field.type()->id()) {
    case arrow::Type::STRING:
    case arrow::Type::BINARY:
      return std::make_unique<JsonTextColumn<int32_t>>(field, pool);
    case arrow::Type::LARGE_STRING:
    case arrow::Type::LARGE_BINARY:
      return std::make_unique<JsonTextColumn<int64_t>>(field, pool);
    default:
      return nullptr;
  }
}

}  // namespace frazil
