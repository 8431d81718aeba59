#include "connector/python/source.h"

#include <arrow/api.h>

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/limits.h"
#include "connector/python/raw_rows.h"
#include "connector/python/readers.h"

namespace frazil {
namespace {

constexpr const char* kUntilNow = R"({"v":1,"until":"now"})";
constexpr const char* kUntilEnd = R"({"v":1,"until":"end"})";

struct Position {
  int64_t row = 0;
  std::string at;
  std::string text() const { return nlohmann::json{{"v", 1}, {"row", row}, {"at", at}}.dump(); }
};

Result<Position> ParsePosition(const std::string& partition, const std::string& text) {
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  const auto has = [&](const char* key, auto is) { return json.contains(key) && (json[key].*is)(); };
  if (!json.is_object() || json.value("v", 0) != 1 || !has("row", &nlohmann::json::is_number_integer) ||
      !has("at", &nlohmann::json::is_string) || json["row"].get<int64_t>() < 0) {
    return Error(ErrorKind::kState, "opening partition \"" + partition + "\": " + text +
                                        " is no position of a source in Python");
  }
  return Position{json["row"].get<int64_t>(), json["at"].get<std::string>()};
}

class PythonSource : public Source {
 public:
  PythonSource(std::shared_ptr<PartitionReaders> readers, std::shared_ptr<arrow::Schema> schema,
               arrow::MemoryPool* pool)
      : readers_(std::move(readers)), schema_(std::move(schema)), pool_(pool) {}

  ~PythonSource() override {
    for (const Open& open : open_) open.queue->close();
  }

  Status assign(const std::vector<Assignment>& partitions, std::function<void()> waker) override {
    for (const Assignment& each : partitions) {
      FZ_ASSIGN(Position position, ParsePosition(each.name, each.position));
      auto queue = std::make_shared<ReadQueue>(waker);
      open_.push_back({each, std::move(position), queue});
      FZ_TRY(readers_->open(each.name, open_.back().position.at, each.end == kUntilNow, std::move(queue)));
    }
    return Status::OK();
  }

  Result<Poll> poll(const Budget& budget) override {
    Poll poll;
    for (size_t tries = 0; tries < open_.size(); ++tries) {
      Open& open = open_[turn_++ % open_.size()];
      if (budget.holds(open.assignment.ordinal)) continue;
      FZ_ASSIGN(auto read, open.queue->take());
      if (!read.has_value()) continue;
      const int64_t begin = open.position.row;
      open.position = {begin + read->columns->num_rows(), std::move(read->position)};
      poll.kind = Poll::Kind::kRows;
      poll.origin = {open.assignment.ordinal, begin, open.position.row};
      if (IsRaw(*read->columns)) {
        FZ_ASSIGN(poll.raw, RawOf(*read->columns, &poll.origin, pool_));
      } else {
        FZ_ASSIGN(poll.columns, columns_of(*read->columns, open.assignment.name));
      }
      return poll;
    }
    const bool ended = std::all_of(open_.begin(), open_.end(), [](const Open& open) {
      return !open.assignment.end.empty() && open.queue->ended();
    });
    poll.kind = ended ? Poll::Kind::kEnd : Poll::Kind::kIdle;
    return poll;
  }

  bool behind(int32_t ordinal) const override {
    return std::any_of(open_.begin(), open_.end(), [&](const Open& open) {
      return open.assignment.ordinal == ordinal && open.queue->behind();
    });
  }

  std::vector<PartitionPosition> positions() const override {
    std::vector<PartitionPosition> positions;
    positions.reserve(open_.size());
    for (const Open& open : open_) positions.push_back({open.assignment.name, open.position.text(), -1});
    return positions;
  }

  Status committed(const std::vector<PartitionPosition>& positions) override {
    for (const PartitionPosition& each : positions) {
      for (const Open& open : open_) {
        if (open.assignment.name != each.name) continue;
        FZ_ASSIGN(Position position, ParsePosition(each.name, each.position));
        open.queue->committed(std::move(position.at));
      }
    }
    return Status::OK();
  }

  std::string condition() const override {
    for (const Open& open : open_) {
      const std::string condition = open.queue->condition();
      if (!condition.empty()) return open.assignment.name + ": " + condition;
    }
    return {};
  }

 private:
  struct Open {
    Assignment assignment;
    Position position;
    std::shared_ptr<ReadQueue> queue;
  };

  // The plan may need fewer columns than were read.
  Result<std::shared_ptr<arrow::RecordBatch>> columns_of(const arrow::RecordBatch& read,
                                                         const std::string& partition) const {
    arrow::ArrayVector columns;
    for (const auto& field : schema_->fields()) {
      auto column = read.GetColumnByName(field->name());
      if (column == nullptr || !column->type()->Equals(field->type())) {
        return Error(ErrorKind::kInternal, "partition \"" + partition + "\": no column " + field->ToString());
      }
      columns.push_back(std::move(column));
    }
    return arrow::RecordBatch::Make(schema_, read.num_rows(), std::move(columns));
  }

  const std::shared_ptr<PartitionReaders> readers_;
  const std::shared_ptr<arrow::Schema> schema_;
  arrow::MemoryPool* const pool_;
  std::vector<Open> open_;
  size_t turn_ = 0;
};

class PythonEnumerator : public Enumerator {
 public:
  explicit PythonEnumerator(std::shared_ptr<PartitionReaders> readers) : readers_(std::move(readers)) {}

  Result<std::vector<Partition>> discover(bool bounded) override {
    FZ_ASSIGN(const auto listed, readers_->partitions());
    std::vector<Partition> partitions;
    std::set<std::string> names;
    for (const auto& each : listed) {
      if (!names.insert(each.name).second) {
        return Error(ErrorKind::kUser, "listing partitions: \"" + each.name + "\" is there twice");
      }
      const char* end = each.ends ? kUntilEnd : bounded ? kUntilNow : "";
      partitions.push_back({each.name, Position{0, each.start}.text(), end});
    }
    std::sort(partitions.begin(), partitions.end(),
              [](const Partition& a, const Partition& b) { return a.name < b.name; });
    return partitions;
  }

 private:
  const std::shared_ptr<PartitionReaders> readers_;
};

Result<std::shared_ptr<PartitionReaders>> ReadersOf(const nlohmann::json& options) {
  return FindReaders(options.value("handle", int64_t{0}));
}

}  // namespace

Result<std::unique_ptr<Source>> MakePythonSource(const nlohmann::json& options,
                                                 const std::shared_ptr<arrow::Schema>& schema,
                                                 arrow::MemoryPool* pool) {
  FZ_ASSIGN(auto readers, ReadersOf(options));
  return std::make_unique<PythonSource>(std::move(readers), schema, pool);
}

Result<std::unique_ptr<Enumerator>> MakePythonEnumerator(const nlohmann::json& options) {
  FZ_ASSIGN(auto readers, ReadersOf(options));
  return std::make_unique<PythonEnumerator>(std::move(readers));
}

}  // namespace frazil
