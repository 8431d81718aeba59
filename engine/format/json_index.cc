#include "format/json_index.h"

#include <simdjson.h>

#include "format/raw_batch.h"

namespace frazil {
namespace {

constexpr size_t kRoomMin = 64 << 10;  // bytes of a row; four bytes of index each
constexpr size_t kRoomKept = 1 << 20;  // bytes; room above it is given back

std::string ReasonOf(simdjson::error_code code) {
  switch (code) {
    case simdjson::UTF8_ERROR:
      return "not valid UTF-8";
    case simdjson::UNCLOSED_STRING:
      return "a string is not closed";
    case simdjson::UNESCAPED_CHARS:
      return "a raw control character in a string";
    case simdjson::EMPTY:
      return "empty row";
    default:
      return std::string("not JSON: ") + simdjson::error_message(code);
  }
}

}  // namespace

JsonIndex::JsonIndex() = default;
JsonIndex::~JsonIndex() = default;

Status JsonIndex::Reserve(size_t bytes) {
  bytes = std::max(bytes, kRoomMin);
  if (stage_ != nullptr && stage_->capacity() >= bytes) return Status::OK();
  simdjson::error_code code;
  if (stage_ == nullptr) {
    code = simdjson::get_active_implementation()->create_dom_parser_implementation(bytes, limits::kJsonDepth,
                                                                                   stage_);
  } else {
    code = stage_->allocate(bytes, limits::kJsonDepth);
  }
  if (code == simdjson::SUCCESS) return Status::OK();
  stage_ = nullptr;
  return Status::OutOfMemory("allocating the JSON index of a row of ", bytes, " bytes");
}

Status JsonIndex::Shrink() {
  if (stage_ == nullptr || stage_->capacity() <= kRoomKept) return Status::OK();
  stage_ = nullptr;
  return Reserve(kRoomMin);
}

bool JsonIndex::Start(std::string_view row, JsonCursor* cursor, JsonFailure& failure) {
  if (row.empty()) return failure.Because("empty row");
  const auto code = stage_->stage1(reinterpret_cast<const uint8_t*>(row.data()), row.size(),
                                   simdjson::stage1_mode::regular);
  if (code != simdjson::SUCCESS) [[unlikely]]
    return failure.Because(ReasonOf(code));
  const uint32_t* begin = stage_->structural_indexes.get();
  *cursor =
      JsonCursor(row.data(), begin, begin + stage_->n_structural_indexes, static_cast<uint32_t>(row.size()));
  return true;
}

Result<JsonText> JsonText::Make(std::string_view text) {
  JsonText made;
  std::string padded(text);
  padded.append(kRawPadding, ' ');
  made.padded_ = std::make_shared<const std::string>(std::move(padded));
  made.index_ = std::make_shared<JsonIndex>();
  FZ_TRY(made.index_->Reserve(text.size()));
  JsonFailure failure;
  if (!made.index_->Start({made.padded_->data(), text.size()}, &made.cursor_, failure)) {
    return Error(ErrorKind::kConfig, "expected JSON, got " + ShownJson(text) + ": " + failure.reason);
  }
  return made;
}

JsonCursor JsonText::cursor() const { return cursor_; }

}  // namespace frazil
