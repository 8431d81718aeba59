#include "connector/dead_letter/source.h"

#include <arrow/array.h>
#include <arrow/io/file.h>
#include <arrow/ipc/reader.h>
#include <arrow/record_batch.h>

#include <algorithm>
#include <compare>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace frazil {
namespace {

// Which rejection a row is of: rising within a partition.
struct Letter {
  int64_t epoch = -1;
  int64_t position = -1;
  std::string tie;  // of letters of one position, several of which a step may set aside; empty: there is one
  auto operator<=>(const Letter&) const = default;
};

struct File {
  std::string name;   // of the partition
  std::string place;  // where its rows were read at first
  std::string path;
};

std::string PositionOf(const Letter& letter) {
  nlohmann::json made = {{"v", 1}, {"epoch", letter.epoch}, {"position", letter.position}};
  if (!letter.tie.empty()) made["tie"] = letter.tie;
  return made.dump();
}

Result<Letter> LetterOf(const std::string& position) {
  const auto read = nlohmann::json::parse(position, nullptr, false);
  const bool known = read.is_object() && read.value("v", nlohmann::json()) == 1 && read.contains("epoch") &&
                     read["epoch"].is_number_integer() && read.contains("position") &&
                     read["position"].is_number_integer() &&
                     (!read.contains("tie") || read["tie"].is_string());
  if (!known) {
    return Error(ErrorKind::kState, "reading a position of dead letters: expected epoch and position, got " +
                                        position.substr(0, 100));
  }
  return Letter{read["epoch"].get<int64_t>(), read["position"].get<int64_t>(), read.value("tie", "")};
}

Result<std::vector<File>> FilesOf(const nlohmann::json& options) {
  std::vector<File> files;
  const auto listed = options.find("partitions");
  if (listed == options.end() || !listed->is_array()) {
    return Error(ErrorKind::kConfig, "reading dead letters: \"partitions\" is no list");
  }
  for (const auto& each : *listed) {
    files.push_back({each.at("name").get<std::string>(), each.at("place").get<std::string>(),
                     each.at("file").get<std::string>()});
  }
  return files;
}

// The rows of a file, batch after batch.
class LetterFile {
 public:
  static Result<std::unique_ptr<LetterFile>> Open(const File& file) {
    auto made = std::make_unique<LetterFile>();
    FZ_ASSIGN(auto input, arrow::io::ReadableFile::Open(file.path));
    FZ_ASSIGN(made->reader_, arrow::ipc::RecordBatchStreamReader::Open(input));
    const auto expected =
        arrow::schema({arrow::field("epoch", arrow::int64()), arrow::field("position", arrow::int64()),
                       arrow::field("tie", arrow::utf8()), arrow::field("raw", arrow::binary())});
    if (!made->reader_->schema()->Equals(*expected)) {
      return Error(ErrorKind::kState, "reading dead letters of " + file.path + ": its columns are others");
    }
    FZ_TRY(made->next());
    return made;
  }

  // The row at hand; ended() says that there is none.
  bool ended() const { return batch_ == nullptr; }
  Letter letter() const {
    return {values(0).Value(row_), values(1).Value(row_),
            static_cast<const arrow::StringArray&>(*batch_->column(2)).GetString(row_)};
  }
  std::string_view raw() const {
    return static_cast<const arrow::BinaryArray&>(*batch_->column(3)).GetView(row_);
  }
  Status advance() { return ++row_ < batch_->num_rows() ? Status::OK() : next(); }

 private:
  const arrow::Int64Array& values(int column) const {
    return static_cast<const arrow::Int64Array&>(*batch_->column(column));
  }
  Status next() {
    row_ = 0;
    do {
      FZ_TRY(reader_->ReadNext(&batch_));
    } while (batch_ != nullptr && batch_->num_rows() == 0);
    return Status::OK();
  }

  std::shared_ptr<arrow::ipc::RecordBatchStreamReader> reader_;
  std::shared_ptr<arrow::RecordBatch> batch_;
  int64_t row_ = 0;
};

class DeadLetterSource : public Source {
 public:
  DeadLetterSource(std::vector<File> files, arrow::MemoryPool* pool)
      : files_(std::move(files)), pool_(pool) {}

  Status assign(const std::vector<Assignment>& partitions, std::function<void()>) override {
    for (const Assignment& each : partitions) {
      const auto file =
          std::find_if(files_.begin(), files_.end(), [&](const File& f) { return f.name == each.name; });
      if (file == files_.end()) continue;  // nothing of it is left in this run
      Open open{each, *file, {}, nullptr};
      FZ_ASSIGN(open.last, LetterOf(each.position));
      FZ_ASSIGN(open.rows, LetterFile::Open(*file));
      while (!open.rows->ended() && open.rows->letter() <= open.last) FZ_TRY(open.rows->advance());
      open_.push_back(std::move(open));
    }
    return Status::OK();
  }

  Result<Poll> poll(const Budget& budget) override {
    bool held = false;
    for (size_t i = 0; i < open_.size(); ++i) {
      Open& open = open_[(turn_ + i) % open_.size()];
      if (open.rows->ended()) continue;
      if (budget.holds(open.assignment.ordinal)) {
        held = true;
        continue;
      }
      turn_ = (turn_ + i + 1) % open_.size();
      return take(&open, budget);
    }
    Poll poll;
    poll.kind = held ? Poll::Kind::kIdle : Poll::Kind::kEnd;
    return poll;
  }

  bool behind(int32_t ordinal) const override {
    return std::any_of(open_.begin(), open_.end(), [&](const Open& open) {
      return open.assignment.ordinal == ordinal && !open.rows->ended();
    });
  }

  std::vector<PartitionPosition> positions() const override {
    std::vector<PartitionPosition> positions;
    for (const Open& open : open_) {
      positions.push_back({open.assignment.name, PositionOf(open.last), open.rows->ended() ? 0 : -1});
    }
    return positions;
  }

 private:
  struct Open {
    Assignment assignment;
    File file;
    Letter last;
    std::unique_ptr<LetterFile> rows;
  };

  Result<Poll> take(Open* open, const Budget& budget) {
    Poll poll;
    poll.kind = Poll::Kind::kRows;
    poll.raw.emplace();
    RawBatch& raw = *poll.raw;
    raw.place = open->file.place;
    std::string bytes;
    while (!open->rows->ended() && raw.rows() < std::max<int64_t>(budget.rows, 1) &&
           (raw.rows() == 0 || static_cast<int64_t>(bytes.size()) < budget.bytes)) {
      const std::string_view row = open->rows->raw();
      raw.offset.push_back(static_cast<uint32_t>(bytes.size()));
      raw.length.push_back(static_cast<uint32_t>(row.size()));
      open->last = open->rows->letter();
      raw.position.push_back(open->last.position);
      bytes.append(row);
      bytes.push_back('\n');  // rows that are lines are decoded faster
      FZ_TRY(open->rows->advance());
    }
    poll.origin.partition = open->assignment.ordinal;
    poll.origin.position_begin = raw.position.front();
    poll.origin.position_end = raw.position.back() + 1;
    FZ_ASSIGN(auto data, arrow::AllocateBuffer(static_cast<int64_t>(bytes.size()) + kRawPadding, pool_));
    std::memcpy(data->mutable_data(), bytes.data(), bytes.size());
    std::memset(data->mutable_data() + bytes.size(), 0, kRawPadding);
    raw.data = std::move(data);
    return poll;
  }

  const std::vector<File> files_;
  arrow::MemoryPool* const pool_;
  std::vector<Open> open_;
  size_t turn_ = 0;
};

class DeadLetterEnumerator : public Enumerator {
 public:
  explicit DeadLetterEnumerator(std::vector<File> files) : files_(std::move(files)) {}

  Result<std::vector<Partition>> discover(bool) override {
    std::vector<Partition> partitions;
    for (const File& file : files_) {
      FZ_ASSIGN(auto rows, LetterFile::Open(file));
      Letter last;
      while (!rows->ended()) {
        last = rows->letter();
        FZ_TRY(rows->advance());
      }
      partitions.push_back({file.name, PositionOf({}), PositionOf(last)});
    }
    std::sort(partitions.begin(), partitions.end(),
              [](const Partition& a, const Partition& b) { return a.name < b.name; });
    return partitions;
  }

 private:
  const std::vector<File> files_;
};

}  // namespace

Result<std::unique_ptr<Source>> MakeDeadLetterSource(const nlohmann::json& options, arrow::MemoryPool* pool) {
  FZ_ASSIGN(auto files, FilesOf(options));
  return std::make_unique<DeadLetterSource>(std::move(files), pool);
}

Result<std::unique_ptr<Enumerator>> MakeDeadLetterEnumerator(const nlohmann::json& options) {
  FZ_ASSIGN(auto files, FilesOf(options));
  return std::make_unique<DeadLetterEnumerator>(std::move(files));
}

}  // namespace frazil
