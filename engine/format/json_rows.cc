#include "format/json_rows.h"

#include <algorithm>

namespace frazil {
namespace {

// Bytes that are indexed together at most: they and their index stay in the first-level cache.
constexpr uint32_t kBlockBytes = 16 << 10;

bool IsWhite(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

}  // namespace

Status JsonRows::Begin(const RawBatch& raw) {
  raw_ = &raw;
  end_ = 0;
  indexed_ = false;
  size_t longest = 0;
  for (const uint32_t length : raw.length) {
    if (length != RawBatch::kNullRow) longest = std::max<size_t>(longest, length);
  }
  FZ_TRY(together_.Reserve(kBlockBytes));
  return alone_.Reserve(std::min(longest, static_cast<size_t>(limits::kRowBytesMax)));
}

// The rows from `first` on that may be indexed together: one, if only itself. The text is not looked at: the
// first stage is the best one to bring it into the cache.
int64_t JsonRows::block_end(int64_t first) const {
  const auto& offset = raw_->offset;
  const auto& length = raw_->length;
  auto i = static_cast<size_t>(first);
  if (length[i] == RawBatch::kNullRow || length[i] > kBlockBytes) return first + 1;
  const uint32_t begin = offset[i];
  for (; i + 1 < offset.size(); ++i) {
    const uint32_t next = offset[i + 1];
    if (length[i + 1] > kBlockBytes || next <= offset[i] + length[i]) break;
    if (next - begin > kBlockBytes - length[i + 1]) break;
  }
  return static_cast<int64_t>(i) + 1;
}

// True if row i is apart from the one before it.
bool JsonRows::IsApart(int64_t i) const {
  const auto at = static_cast<size_t>(i);
  const auto* data = reinterpret_cast<const char*>(raw_->data->data());
  const char* gap = data + raw_->offset[at - 1] + raw_->length[at - 1];
  return (*gap == '\n' || *gap == '\r') && std::all_of(gap + 1, data + raw_->offset[at], IsWhite);
}

JsonCursor* JsonRows::Start(int64_t i) {
  if (i >= end_) {
    end_ = block_end(i);
    indexed_ = false;
    if (end_ == i + 1) return nullptr;
    const auto last = static_cast<size_t>(end_ - 1);
    const char* data = reinterpret_cast<const char*>(raw_->data->data());
    block_offset_ = raw_->offset[static_cast<size_t>(i)];
    const uint32_t size = raw_->offset[last] + raw_->length[last] - block_offset_;
    JsonFailure unused;
    indexed_ = together_.Start({data + block_offset_, size}, &together_at_, unused);
  } else {
    indexed_ = indexed_ && IsApart(i);
  }
  if (!indexed_) return nullptr;
  together_at_.GoOnTo(place(i));
  began_ = together_at_.tokens();
  return &together_at_;
}

bool JsonRows::StartAlone(int64_t i, JsonCursor* cursor, JsonFailure& failure) {
  if (indexed_) together_at_.GoBackTo(began_);
  return alone_.Start(raw_->row(i), cursor, failure);
}

}  // namespace frazil
