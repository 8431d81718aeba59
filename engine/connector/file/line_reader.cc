#include "connector/file/line_reader.h"

#include <arrow/array/builder_binary.h>
#include <arrow/array/builder_primitive.h>

#include <algorithm>
#include <cstring>

#include "base/limits.h"

namespace frazil::file {
namespace {

constexpr int kChunksPerRead = 8;  // chunks without a row (blank lines) gone over in one read
constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

bool IsBlank(const char* begin, const char* end) {
  while (begin < end && (*begin == ' ' || *begin == '\t' || *begin == '\r')) ++begin;
  return begin == end;
}

}  // namespace

bool IsClosed(std::string_view line) {
  const size_t begin = line.find_first_not_of(" \t\r");
  if (begin == std::string_view::npos) return true;
  if (line[begin] != '{') return false;
  int64_t depth = 0;
  bool text = false;
  for (size_t at = begin; at < line.size(); ++at) {
    const char c = line[at];
    if (text) {
      if (c == '\\') ++at;
      text = c != '"';
    } else if (c == '"') {
      text = true;
    } else if (c == '{' || c == '[') {
      ++depth;
    } else if ((c == '}' || c == ']') && --depth == 0) {
      return line.find_first_not_of(" \t\r", at + 1) == std::string_view::npos;
    }
  }
  return false;
}

LineReader::LineReader(LineReaderOptions options)
    : options_(std::move(options)), bytes_(options_.bytes), next_(options_.bytes.offset) {}

int64_t LineReader::read_bytes() const { return left_ ? next_ : options_.bytes.size; }

Result<Read> LineReader::read(const Budget& budget, bool wait) {
  Read read;
  RawBatch raw;
  raw.place = options_.bytes.path;
  for (int chunks = 0; chunks < kChunksPerRead;) {
    Split(budget, &raw);
    if (raw.rows() > 0 || !raw.rejected.empty()) break;
    if (ended_) {
      read.kind = Read::Kind::kEnd;
      return read;
    }
    if (chunk_.last) {
      ended_ = true;
      FZ_ASSIGN(const bool row, LastLine(&raw));
      if (row) break;
      continue;
    }
    if (!bytes_.ready() && !wait) return read;
    FZ_ASSIGN(auto chunk, bytes_.take());
    FZ_TRY(Take(std::move(chunk)));
    if (gathering_) {
      const auto* found =
          static_cast<const char*>(std::memchr(data_ + at_, '\n', static_cast<size_t>(end_ - at_)));
      const int64_t cut = found == nullptr ? end_ : found - data_;
      const std::string_view part(data_ + at_, static_cast<size_t>(cut - at_));
      if (found == nullptr) {
        GatherLong(part);
        at_ = end_;
      } else {
        at_ = cut + 1;
        FZ_TRY(CloseLong(part, &raw));
        if (raw.rows() > 0 || !raw.rejected.empty()) {
          read.kind = Read::Kind::kRows;
          FZ_TRY(Finish(&raw));
          read.raw = std::move(raw);
          return read;
        }
      }
    }
    ++chunks;
  }
  read.kind = Read::Kind::kRows;
  FZ_TRY(Finish(&raw));
  read.raw = std::move(raw);
  return read;
}

// Puts the rest of the last chunk, which is a begin of a line, in front of the new one.
Status LineReader::Take(Chunk chunk) {
  const int64_t rest = end_ - at_;
  if (!gathering_ && rest > kChunkHeadroom) {
    gathering_ = true;
    long_begin_ = base_ + at_;  // next_ stands before a byte order mark
    GatherLong({data_ + at_, static_cast<size_t>(rest)});
  }
  const int64_t carried = gathering_ ? 0 : rest;
  const bool first = chunk_.buffer == nullptr && chunk.offset == 0;
  auto* data = reinterpret_cast<char*>(chunk.buffer->mutable_data());
  if (carried > 0) std::memcpy(data + kChunkHeadroom - carried, data_ + at_, static_cast<size_t>(carried));
  chunk_ = std::move(chunk);
  data_ = data;
  base_ = chunk_.offset - kChunkHeadroom;
  at_ = kChunkHeadroom - carried;
  end_ = kChunkHeadroom + chunk_.size;
  if (first && std::string_view(data_ + at_, static_cast<size_t>(end_ - at_)).starts_with(kByteOrderMark)) {
    at_ += static_cast<int64_t>(kByteOrderMark.size());
  }
  return Status::OK();
}

void LineReader::AddRow(int64_t begin, int64_t end, RawBatch* raw) {
  if (end > begin && data_[end - 1] == '\r') --end;
  const char first = end > begin ? data_[begin] : ' ';
  if ((first == ' ' || first == '\t' || first == '\r') && IsBlank(data_ + begin, data_ + end)) return;
  raw->offset.push_back(static_cast<uint32_t>(begin));
  raw->length.push_back(static_cast<uint32_t>(end - begin));
  raw->position.push_back(base_ + begin);
}

// Takes whole lines off the chunk. Every row of a RawBatch lies in one chunk.
void LineReader::Split(const Budget& budget, RawBatch* raw) {
  if (gathering_ || data_ == nullptr) return;
  const int64_t limit = std::max<int64_t>(budget.bytes, 1);
  const int64_t begin = at_;
  raw->offset.reserve(rows_before_);
  raw->length.reserve(rows_before_);
  raw->position.reserve(rows_before_);
  while (at_ < end_ && raw->rows() < std::max<int64_t>(budget.rows, 1) && at_ - begin < limit) {
    const auto* found =
        static_cast<const char*>(std::memchr(data_ + at_, '\n', static_cast<size_t>(end_ - at_)));
    if (found == nullptr) break;
    AddRow(at_, found - data_, raw);
    at_ = found - data_ + 1;
    next_ = base_ + at_;
  }
  if (raw->rows() == 0) return;
  raw->data = chunk_.buffer;
  rows_before_ = raw->offset.size() + raw->offset.size() / 16;
}

void LineReader::GatherLong(std::string_view part) {
  long_bytes_ += static_cast<int64_t>(part.size());
  if (long_bytes_ <= limits::kRowBytesMax) {
    long_.append(part);
    return;
  }
  // It is not a row any more; only its begin is shown.
  const auto kept = static_cast<size_t>(limits::kRejectedRawBytes);
  if (long_.size() > kept) {
    long_.resize(kept);
    long_.shrink_to_fit();
  } else if (long_.size() < kept) {
    long_.append(part.substr(0, kept - long_.size()));
  }
}

Status LineReader::CloseLong(std::string_view rest, RawBatch* raw) {
  GatherLong(rest);
  if (long_bytes_ > limits::kRowBytesMax) {
    RejectedRow row;
    row.place = options_.bytes.path;
    row.position = long_begin_;
    row.reason = "line longer than " + std::to_string(limits::kRowBytesMax) + " bytes";
    row.raw = std::move(long_);
    row.raw_bytes = long_bytes_;
    raw->rejected.push_back(std::move(row));
  } else {
    size_t size = long_.size();
    if (size > 0 && long_[size - 1] == '\r') --size;
    if (!IsBlank(long_.data(), long_.data() + size)) {
      FZ_ASSIGN(auto buffer,
                arrow::AllocateBuffer(static_cast<int64_t>(size) + kRawPadding, options_.bytes.pool));
      std::memcpy(buffer->mutable_data(), long_.data(), size);
      std::memset(buffer->mutable_data() + size, 0, static_cast<size_t>(kRawPadding));
      raw->data = std::move(buffer);
      raw->offset.push_back(0);
      raw->length.push_back(static_cast<uint32_t>(size));
      raw->position.push_back(long_begin_);
    }
  }
  next_ = base_ + at_;
  gathering_ = false;
  long_bytes_ = 0;
  long_ = std::string();
  return Status::OK();
}

// Deals with what follows the last line end. True if it gave a row.
Result<bool> LineReader::LastLine(RawBatch* raw) {
  if (at_ == end_ && !gathering_) {
    next_ = base_ + end_;
    return false;
  }
  if (options_.bytes.compression == Compression::kNone) {
    FZ_ASSIGN(auto info, options_.bytes.fs->GetFileInfo(options_.bytes.path));
    const std::string_view line =
        gathering_ ? std::string_view(long_) : std::string_view(data_ + at_, static_cast<size_t>(end_ - at_));
    left_ = info.size() > options_.bytes.size || (options_.hold_last && !IsClosed(line));
    if (left_) return false;
  }
  if (gathering_) {
    at_ = end_;
    FZ_TRY(CloseLong({}, raw));
  } else {
    AddRow(at_, end_, raw);
    at_ = end_;
    next_ = base_ + at_;
    if (raw->rows() > 0) raw->data = chunk_.buffer;
  }
  return raw->rows() > 0 || !raw->rejected.empty();
}

Status LineReader::Finish(RawBatch* raw) const {
  if (!options_.with_path && !options_.with_offset) return Status::OK();
  arrow::FieldVector fields;
  arrow::ArrayVector columns;
  if (options_.with_path) {
    arrow::StringBuilder paths(options_.bytes.pool);
    FZ_TRY(paths.Reserve(raw->rows()));
    FZ_TRY(paths.ReserveData(raw->rows() * static_cast<int64_t>(raw->place.size())));
    for (int64_t i = 0; i < raw->rows(); ++i) paths.UnsafeAppend(raw->place);
    FZ_ASSIGN(auto column, paths.Finish());
    fields.push_back(arrow::field("_path", arrow::utf8(), false));
    columns.push_back(std::move(column));
  }
  if (options_.with_offset) {
    arrow::Int64Builder offsets(options_.bytes.pool);
    FZ_TRY(offsets.AppendValues(raw->position));
    FZ_ASSIGN(auto column, offsets.Finish());
    fields.push_back(arrow::field("_offset", arrow::int64(), false));
    columns.push_back(std::move(column));
  }
  raw->metadata = arrow::RecordBatch::Make(arrow::schema(std::move(fields)), raw->rows(), std::move(columns));
  return Status::OK();
}

}  // namespace frazil::file
