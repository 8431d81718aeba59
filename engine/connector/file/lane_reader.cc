#include "connector/file/lane_reader.h"

#include <algorithm>

#include "connector/file/line_reader.h"
#include "connector/file/parquet_reader.h"

namespace frazil::file {
namespace {

std::string Bytes(int64_t size) { return std::to_string(size) + " bytes"; }

// Of rows behind which the position is.
Origin OriginOf(const Read& read, const Position& position) {
  Origin origin;
  origin.position_base = position.base;
  origin.position_end = position.offset;
  origin.position_begin = position.offset;
  if (!read.raw.has_value()) {
    origin.position_begin -= read.columns->num_rows();
    return origin;
  }
  if (read.raw->rows() > 0) origin.position_begin = read.raw->position.front();
  for (const RejectedRow& row : read.raw->rejected)
    origin.position_begin = std::min(origin.position_begin, row.position);
  return origin;
}

}  // namespace

LaneReader::LaneReader(std::string name, Position position, bool bounded, LaneContext context)
    : name_(std::move(name)),
      position_(std::move(position)),
      bounded_(bounded),
      context_(std::move(context)) {}

bool LaneReader::IsText(const std::string& path) const {
  return context_.options.format == Format::kJson &&
         CompressionOf(context_.options.compression, path) == Compression::kNone;
}

bool LaneReader::HasNewer() const {
  return std::any_of(waiting_.begin(), waiting_.end(),
                     [this](const Entry& file) { return file.key > position_.file; });
}

Status LaneReader::CheckDone(const Entry& file, int64_t read, std::vector<Entry>* late) const {
  if (file.size == read) return Status::OK();
  if (file.size > read && IsText(file.path)) {
    late->push_back(file);
    return Status::OK();
  }
  return Error(
      ErrorKind::kState,
      file.path + ": the file was " + Bytes(read) + " long when it was read and is " + Bytes(file.size) +
          " now\n  files must be complete before they are put there: write them elsewhere and rename them");
}

// Files under the floor may go, but none may come there or change: it would not be read.
Status LaneReader::CheckBelow(const Position::Below& now) {
  const Position::Below& before = position_.below;
  if (position_.below_known &&
      (now.files > before.files || (now.files == before.files && !(now == before)))) {
    const std::string what = now.files > before.files
                                 ? std::to_string(now.files - before.files) + " files came"
                                 : std::string("a file came or changed");
    return Error(
        ErrorKind::kState,
        name_ + ": " + what + " at or before \"" + position_.floor +
            "\" in the order of names, long after the files around were read, and would be left out\n"
            "  give files names that grow with time, or read with ordered=False");
  }
  position_.below = now;
  position_.below_known = true;
  return Status::OK();
}

// The file being read is not there when a run starts, or nothing at all of a lane that had more to give.
Status LaneReader::CheckRemoved(const std::string& what) {
  if (context_.options.on_removed == OnRemoved::kFail) {
    return Error(ErrorKind::kState, what +
                                        " is not there any more\n  put it back, or go on without the rest: "
                                        "on_removed=\"skip\"");
  }
  if (!position_.file.empty() && reader_ == nullptr) {
    position_.Finish(position_.offset);
    current_.reset();
    held_ = false;
  }
  return Status::OK();
}

Status LaneReader::Update(const std::vector<Entry>& files) {
  Position::Below below;
  std::vector<Entry> behind, late;
  std::string top = std::max(position_.floor, position_.file);
  if (!position_.done.empty()) top = std::max(top, position_.done.rbegin()->first);
  bool found = position_.file.empty() || (current_.has_value() && !held_);
  for (const Entry& file : files) {
    if (file.key == position_.file) {
      found = true;
      if (held_ && file.size != current_->size) current_.reset();
      if (!current_.has_value()) {
        current_ = file;
        held_ = false;
      }
    } else if (const auto done = position_.done.find(file.key); done != position_.done.end()) {
      FZ_TRY(CheckDone(file, done->second, &late));
    } else if (file.key > top) {
      behind.push_back(file);
    } else if (file.key > position_.floor) {
      late.push_back(file);
    } else {
      below.Add(file.key, file.size);
    }
  }
  if (!position_.floor.empty()) FZ_TRY(CheckBelow(below));
  if (!found) {
    FZ_TRY(CheckRemoved("going on in \"" + position_.file + "\" at " + std::to_string(position_.offset) +
                        ": the file"));
  } else if (files.empty() && position_.left > 0) {
    FZ_TRY(CheckRemoved(name_ + ": the rest of it (" + Bytes(position_.left) + ")"));
  }
  waiting_ = std::move(behind);
  waiting_.insert(waiting_.end(), late.begin(), late.end());
  position_.left = WaitingBytes();
  if (!waiting_.empty()) held_ = false;
  return Status::OK();
}

// Opens the file that the position names, or the next one.
Status LaneReader::Open() {
  if (!current_.has_value()) {
    // A file that came late holds up the floor: it is read first when too much stands above it.
    const auto next = !position_.Crowded()
                          ? waiting_.begin()
                          : std::min_element(waiting_.begin(), waiting_.end(),
                                             [](const Entry& a, const Entry& b) { return a.key < b.key; });
    current_ = *next;
    waiting_.erase(next);
    position_.Begin(current_->key);
    position_.left = WaitingBytes();
  }
  FZ_ASSIGN(const auto info, context_.fs->GetFileInfo(current_->path));
  if (info.type() != arrow::fs::FileType::File || info.size() < current_->size ||
      (!IsText(current_->path) && info.size() != current_->size)) {
    const std::string now =
        info.type() == arrow::fs::FileType::File ? Bytes(info.size()) + " long now" : "gone now";
    return Error(ErrorKind::kState, current_->path + ": the file was " + Bytes(current_->size) +
                                        " long when it was listed and is " + now +
                                        "\n  files must not change before they are read");
  }
  holds_ = false;
  if (context_.options.format == Format::kParquet) {
    FZ_ASSIGN(reader_, MakeParquetReader({context_.fs, *current_, position_.offset, context_.schema,
                                          context_.options, context_.pool}));
    return Status::OK();
  }
  if (IsText(current_->path)) {
    FZ_TRY(CheckBegin());
    // An object of a store is never written on.
    holds_ = !bounded_ && context_.fs->type_name() == "local" && !HasNewer();
  }
  LineReaderOptions options;
  options.bytes = {
      context_.fs,      current_->path, CompressionOf(context_.options.compression, current_->path),
      position_.offset, current_->size, context_.chunk_bytes,
      context_.pool,    context_.wakeup};
  options.with_path = context_.options.with_path;
  options.with_offset = context_.options.with_offset;
  options.hold_last = holds_;
  reader_ = std::make_unique<LineReader>(std::move(options));
  return Status::OK();
}

// A text file must still have a line's begin where the position is.
Status LaneReader::CheckBegin() const {
  if (position_.offset > current_->size) {
    return Error(ErrorKind::kState, current_->path + ": the position is at byte " +
                                        std::to_string(position_.offset) + " of " + Bytes(current_->size) +
                                        "\n  put the file back as it was, or start the pipeline anew");
  }
  if (position_.offset == 0) return Status::OK();
  FZ_ASSIGN(auto file, context_.fs->OpenInputFile(current_->path));
  FZ_ASSIGN(auto around, file->ReadAt(position_.offset - 1, 3));
  const auto bytes = static_cast<std::string_view>(*around);
  const auto behind = bytes.substr(std::min<size_t>(bytes.size(), 1));
  // A last line that was whole may get its line end later.
  const bool ended = behind.starts_with('\n') || behind.starts_with("\r\n");
  if (behind.empty() || bytes[0] == '\n' || ended) return Status::OK();
  return Error(ErrorKind::kState, current_->path + ": byte " + std::to_string(position_.offset) +
                                      " is not the begin of a line: its last line was written on after it "
                                      "was read\n  write whole lines, or put files there when they are "
                                      "complete");
}

Result<Read> LaneReader::read(const Budget& budget, bool wait) {
  for (;;) {
    if (reader_ == nullptr) {
      if (!left()) return Read{Read::Kind::kEnd, {}, {}};
      FZ_TRY(Open());
    }
    FZ_ASSIGN(auto read, reader_->read(budget, wait));
    position_.offset = reader_->next();
    if (read.kind == Read::Kind::kRows) {
      read.origin = OriginOf(read, position_);
      // At once, so that the position behind the last row says that the file may go.
      if (reader_->ended()) Finish();
    }
    if (read.kind != Read::Kind::kEnd) return read;
    Finish();
  }
}

// The file being read has come to its end, or to a last line that is to be held.
void LaneReader::Finish() {
  const int64_t size = reader_->read_bytes();
  reader_ = nullptr;
  const bool holding = holds_ && size < current_->size;
  if (holding && HasNewer()) return;  // it is opened again, to be read to its end
  if (holding && waiting_.empty()) {
    held_ = true;
    return;
  }
  if (holding) waiting_.push_back(*current_);  // behind those that came late for their place
  // What a bounded run leaves of a file that grew while it was read.
  const int64_t rest = IsText(current_->path) && !holding ? current_->size - size : 0;
  current_.reset();
  position_.Finish(size);
  position_.left = WaitingBytes() + rest;
  std::vector<std::string> keys;
  for (const Entry& file : waiting_) keys.push_back(file.key);
  std::sort(keys.begin(), keys.end());
  position_.Lower(keys);
}

std::string LaneReader::position() const {
  return position_.ToJson(context_.options.format == Format::kParquet);
}

int64_t LaneReader::WaitingBytes() const {
  int64_t bytes = 0;
  for (const Entry& file : waiting_) {
    const auto done = position_.done.find(file.key);
    bytes += file.size - (done == position_.done.end() ? 0 : done->second);
  }
  return bytes;
}

int64_t LaneReader::lag() const {
  if (!current_.has_value()) return position_.left;
  const int64_t read = IsText(current_->path) ? position_.offset : 0;
  return position_.left + std::max<int64_t>(0, current_->size - read);
}

}  // namespace frazil::file
