#include "connector/file/source.h"

#include <arrow/io/interfaces.h>
#include <arrow/util/future.h>
#include <arrow/util/thread_pool.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <set>

#include "base/limits.h"
#include "connector/file/lane_reader.h"

namespace frazil {
namespace file {
namespace {

constexpr size_t kOpenLanes = 8;  // lanes of a worker with an open file; each holds two chunks
// The same where those that are open wait for others, and would have to be unpacked from their begin again.
constexpr size_t kOpenPackedLanes = 64;

// The file behind a key: listed lanes put "000001:" in front.
std::string PathOfKey(const std::string& key, Lanes lanes) {
  return lanes == Lanes::kListed ? key.substr(key.find(':') + 1) : key;
}

std::vector<Entry> FilesOf(const End& end, Lanes lanes) {
  std::vector<Entry> files;
  for (const auto& [key, size] : end.files) files.push_back({key, PathOfKey(key, lanes), size});
  return files;
}

class FileSource : public Source {
 public:
  FileSource(Listing listing, std::shared_ptr<arrow::Schema> schema, arrow::MemoryPool* pool,
             int64_t chunk_bytes)
      : listing_(std::make_shared<const Listing>(std::move(listing))) {
    context_.fs = listing_->fs();
    context_.options = listing_->options();
    context_.schema = std::move(schema);
    context_.pool = pool;
    context_.chunk_bytes = chunk_bytes;
  }
  ~FileSource() override {
    if (context_.wakeup != nullptr) context_.wakeup->stop();
    if (look_.is_valid()) look_.Wait();
  }

  Status assign(const std::vector<Assignment>& partitions, std::function<void()> waker) override {
    if (context_.wakeup == nullptr) context_.wakeup = std::make_shared<Wakeup>(std::move(waker));
    for (const Assignment& partition : partitions) {
      auto position = Position::Parse(partition.position);
      if (!position.ok()) return Prefixed(position.status(), partition.name);
      Open& lane = lanes_.emplace_back(
          Open{partition.ordinal, !partition.end.empty(),
               LaneReader(partition.name, std::move(*position), !partition.end.empty(), context_)});
      if (!lane.bounded) {
        watching_ = true;
        continue;
      }
      FZ_ASSIGN(const End end, End::Parse(partition.end));
      FZ_TRY(lane.reader.Update(FilesOf(end, context_.options.lanes)));
    }
    if (watching_) {
      FZ_ASSIGN(auto found, listing_->Lanes(/*must_exist=*/false));
      FZ_TRY(Update(found));
    }
    return Status::OK();
  }

  Result<Poll> poll(const Budget& budget) override {
    if (watching_) FZ_TRY(Watch());
    bool left = watching_;
    for (const bool wait : {false, listing_->local()}) {
      for (size_t tries = 0; tries < lanes_.size(); ++tries) {
        Open& lane = lanes_[turn_++ % lanes_.size()];
        if (!lane.reader.left()) continue;
        left = true;
        if (budget.holds(lane.ordinal)) continue;
        if (!lane.reader.open() && OpenLanes() >= kOpenLanes && !MakeRoom(budget)) continue;
        FZ_ASSIGN(auto read, lane.reader.read(budget, wait));
        if (read.kind == Read::Kind::kRows) return Given(lane, std::move(read));
      }
      left = std::any_of(lanes_.begin(), lanes_.end(), [](const Open& lane) { return lane.reader.left(); }) ||
             watching_;
    }
    Poll poll;
    poll.kind = left ? Poll::Kind::kIdle : Poll::Kind::kEnd;
    return poll;
  }

  bool behind(int32_t ordinal) const override {
    return std::any_of(lanes_.begin(), lanes_.end(),
                       [&](const Open& lane) { return lane.ordinal == ordinal && lane.reader.left(); });
  }

  std::vector<PartitionPosition> positions() const override {
    std::vector<PartitionPosition> positions;
    for (const Open& lane : lanes_)
      positions.push_back({lane.reader.name(), lane.reader.position(), lane.reader.lag()});
    return positions;
  }

 private:
  struct Open {
    int32_t ordinal;
    bool bounded;
    LaneReader reader;
  };

  size_t OpenLanes() const {
    return static_cast<size_t>(
        std::count_if(lanes_.begin(), lanes_.end(), [](const Open& lane) { return lane.reader.open(); }));
  }

  // Closes a lane that waits for others, one of which cannot be opened else: they would wait for ever.
  bool MakeRoom(const Budget& budget) {
    Open* held = nullptr;
    for (Open& lane : lanes_) {
      if (!lane.reader.open() || !budget.holds(lane.ordinal)) continue;
      if (held == nullptr || !lane.reader.packed()) held = &lane;
      if (!held->reader.packed()) break;
    }
    if (held == nullptr) return false;
    if (!held->reader.packed() || OpenLanes() >= kOpenPackedLanes) held->reader.close();
    return true;
  }

  static Poll Given(const Open& lane, Read read) {
    Poll poll;
    poll.kind = Poll::Kind::kRows;
    poll.origin = read.origin;
    poll.origin.partition = lane.ordinal;
    poll.raw = std::move(read.raw);
    poll.columns = std::move(read.columns);
    return poll;
  }

  Status Update(const std::vector<Lane>& found) {
    std::map<std::string, const Lane*> by_name;
    for (const Lane& lane : found) by_name.emplace(lane.name, &lane);
    static const std::vector<Entry> kNone;
    for (Open& lane : lanes_) {
      if (lane.bounded) continue;
      const auto at = by_name.find(lane.reader.name());
      auto status = lane.reader.Update(at == by_name.end() ? kNone : at->second->files);
      if (!status.ok()) return status;
    }
    return Status::OK();
  }

  // Lists the files again when it is time, on an I/O thread, and takes what was found.
  Status Watch() {
    if (look_.is_valid()) {
      if (!look_.is_finished()) return Status::OK();
      auto found = look_.MoveResult();
      look_ = {};
      looked_at_ = std::chrono::steady_clock::now();
      condition_.clear();
      if (found.ok()) return Update(*found);
      if (!IsRetryable(found.status())) return found.status();
      condition_ = MessageOf(found.status());  // the store is away; look again later
      return Status::OK();
    }
    const auto now = std::chrono::steady_clock::now();
    if (now - looked_at_ < std::chrono::milliseconds(context_.options.watch_every_ms)) return Status::OK();
    FZ_ASSIGN(look_, arrow::io::default_io_context().executor()->Submit(
                         [listing = listing_]() { return listing->Lanes(/*must_exist=*/false); }));
    look_.AddCallback([wakeup = context_.wakeup](const Result<std::vector<Lane>>&) { wakeup->call(); });
    return Status::OK();
  }

  std::string condition() const override {
    std::string text = condition_;
    for (const Open& lane : lanes_) {
      const std::string path = lane.reader.held();
      if (path.empty()) continue;
      text += (text.empty() ? "" : "; ") + path + ": the last line has no end yet";
      break;  // one is enough to look at
    }
    return text;
  }

  std::shared_ptr<const Listing> listing_;
  LaneContext context_;
  std::vector<Open> lanes_;
  size_t turn_ = 0;
  bool watching_ = false;  // some lane is unbounded
  arrow::Future<std::vector<Lane>> look_;
  std::chrono::steady_clock::time_point looked_at_ = std::chrono::steady_clock::now();
  std::string condition_;
};

class FileEnumerator : public Enumerator {
 public:
  explicit FileEnumerator(Listing listing) : listing_(std::move(listing)) {}

  // Notes those of which rows are left: a worker has to look for them even if nothing is there.
  Status known(const std::vector<PartitionPosition>& partitions) override {
    unfinished_.clear();
    for (const PartitionPosition& partition : partitions) {
      auto position = Position::Parse(partition.position);
      if (!position.ok()) return Prefixed(position.status(), partition.name);
      if (position->unfinished()) unfinished_.insert(partition.name);
    }
    return Status::OK();
  }

  Result<std::vector<Partition>> discover(bool bounded) override {
    FZ_ASSIGN(auto lanes, listing_.Lanes(bounded));
    const bool rows = listing_.options().format == Format::kParquet;
    std::map<std::string, Lane> found;
    for (const std::string& name : unfinished_) found[name].name = name;
    for (Lane& lane : lanes) found[lane.name] = std::move(lane);
    std::vector<Partition> partitions;
    for (const auto& [name, lane] : found) {
      Position start;
      for (const Entry& file : lane.files) start.left += file.size;
      partitions.push_back({name, start.ToJson(rows), bounded ? End::Of(lane) : ""});
    }
    return partitions;
  }

 private:
  Listing listing_;
  std::set<std::string> unfinished_;
};

}  // namespace

Result<std::unique_ptr<Source>> MakeSourceOfChunks(const nlohmann::json& options,
                                                   std::shared_ptr<arrow::Schema> schema,
                                                   arrow::MemoryPool* pool, int64_t chunk_bytes) {
  FZ_ASSIGN(auto parsed, ParseOptions(options));
  FZ_ASSIGN(auto listing, Listing::Make(std::move(parsed)));
  return std::make_unique<FileSource>(std::move(listing), std::move(schema), pool, chunk_bytes);
}

}  // namespace file

Result<std::unique_ptr<Source>> MakeFileSource(const nlohmann::json& options,
                                               std::shared_ptr<arrow::Schema> schema,
                                               arrow::MemoryPool* pool) {
  return file::MakeSourceOfChunks(options, std::move(schema), pool, limits::kChunkBytes);
}

Result<std::unique_ptr<Enumerator>> MakeFileEnumerator(const nlohmann::json& options) {
  FZ_ASSIGN(auto parsed, file::ParseOptions(options));
  FZ_ASSIGN(auto listing, file::Listing::Make(std::move(parsed)));
  return std::make_unique<file::FileEnumerator>(std::move(listing));
}

}  // namespace frazil
