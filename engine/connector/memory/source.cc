#include "connector/memory/source.h"

#include <arrow/api.h>
#include <arrow/io/memory.h>
#include <arrow/ipc/reader.h>
#include <arrow/util/base64.h>

#include <algorithm>
#include <string>
#include <utility>

#include "base/limits.h"
#include "connector/memory/messages.h"

namespace frazil {
namespace {

std::string NameOf(size_t partition) { return "memory-" + std::to_string(partition); }
std::string PositionOf(int64_t row) { return nlohmann::json{{"v", 1}, {"row", row}}.dump(); }

Result<std::shared_ptr<arrow::RecordBatch>> ReadTable(const std::string& base64) {
  FZ_ASSIGN(std::string bytes, arrow::util::base64_decode(base64));
  auto input = std::make_shared<arrow::io::BufferReader>(arrow::Buffer::FromString(std::move(bytes)));
  FZ_ASSIGN(auto reader, arrow::ipc::RecordBatchStreamReader::Open(input));
  FZ_ASSIGN(auto table, reader->ToTable());
  return table->CombineChunksToBatch();
}

// Rows before which a partition is silent until a time of the clock (us): both ascend.
using Waits = std::vector<std::pair<int64_t, Timestamp>>;

class MemorySource : public Source {
 public:
  MemorySource(std::vector<std::shared_ptr<arrow::RecordBatch>> tables, std::vector<Waits> waits,
               int64_t batch_rows, bool messages)
      : tables_(std::move(tables)), waits_(std::move(waits)), batch_rows_(batch_rows), messages_(messages) {}

  Status assign(const std::vector<Assignment>& partitions, std::function<void()>) override {
    for (const Assignment& each : partitions) {
      for (size_t i = 0; i < tables_.size(); ++i) {
        if (NameOf(i) != each.name) continue;
        const auto row = nlohmann::json::parse(each.position).at("row").get<int64_t>();
        open_.push_back({each, tables_[i], i < waits_.size() ? waits_[i] : Waits{}, row});
      }
    }
    return Status::OK();
  }

  Result<Poll> poll(const Budget& budget) override {
    Poll poll;
    bool held = false;
    now_ = budget.now;
    for (size_t tries = 0; tries < open_.size(); ++tries) {
      Open& open = open_[turn_++ % open_.size()];
      const int64_t left = open.left(now_);
      held = held || open.opens_at(now_) != kWatermarkMax;
      if (left <= 0) continue;
      if (budget.holds(open.assignment.ordinal)) {
        held = true;
        continue;
      }
      const int64_t rows = std::min({left, batch_rows_, budget.rows});
      poll.kind = Poll::Kind::kRows;
      auto given = open.table->Slice(open.next, rows);
      if (messages_) {
        FZ_ASSIGN(poll.raw, MessagesOf(given, open.next, open.assignment.name, arrow::default_memory_pool()));
      } else {
        poll.columns = std::move(given);
      }
      poll.origin = {open.assignment.ordinal, open.next, open.next + rows};
      open.next += rows;
      return poll;
    }
    poll.kind = held ? Poll::Kind::kIdle : Poll::Kind::kEnd;
    return poll;
  }

  Timestamp opens_at() const override {
    Timestamp at = kWatermarkMax;
    for (const Open& open : open_) {
      if (open.left(now_) <= 0) at = std::min(at, open.opens_at(now_));
    }
    return at;
  }

  bool behind(int32_t ordinal) const override {
    return std::any_of(open_.begin(), open_.end(), [&](const Open& open) {
      return open.assignment.ordinal == ordinal && open.left(now_) > 0;
    });
  }

  std::vector<PartitionPosition> positions() const override {
    std::vector<PartitionPosition> positions;
    for (const Open& open : open_) {
      positions.push_back({open.assignment.name, PositionOf(open.next), open.table->num_rows() - open.next});
    }
    return positions;
  }

 private:
  struct Open {
    Assignment assignment;
    std::shared_ptr<arrow::RecordBatch> table;
    Waits waits;
    int64_t next = 0;
    // Rows that may be given at a time of the clock.
    int64_t left(Timestamp now) const {
      for (const auto& [row, at] : waits) {
        if (row >= next && at > now) return row - next;
      }
      return table->num_rows() - next;
    }
    // When there may be more than those; kWatermarkMax if that is all.
    Timestamp opens_at(Timestamp now) const {
      for (const auto& [row, at] : waits) {
        if (row >= next && at > now) return at;
      }
      return kWatermarkMax;
    }
  };
  const std::vector<std::shared_ptr<arrow::RecordBatch>> tables_;
  const std::vector<Waits> waits_;  // by partition; none behind its end
  const int64_t batch_rows_;
  const bool messages_;
  std::vector<Open> open_;
  size_t turn_ = 0;
  Timestamp now_ = kWatermarkMin;  // of the last poll
};

class MemoryEnumerator : public Enumerator {
 public:
  explicit MemoryEnumerator(std::vector<int64_t> rows) : rows_(std::move(rows)) {}
  Result<std::vector<Partition>> discover(bool) override {
    std::vector<Partition> partitions;
    for (size_t i = 0; i < rows_.size(); ++i)
      partitions.push_back({NameOf(i), PositionOf(0), PositionOf(rows_[i])});
    return partitions;
  }

 private:
  const std::vector<int64_t> rows_;
};

Result<std::vector<std::shared_ptr<arrow::RecordBatch>>> ReadTables(const nlohmann::json& options) {
  std::vector<std::shared_ptr<arrow::RecordBatch>> tables;
  for (const auto& each : options.at("partitions")) {
    FZ_ASSIGN(auto table, ReadTable(each.get<std::string>()));
    tables.push_back(std::move(table));
  }
  return tables;
}

}  // namespace

Result<std::unique_ptr<Source>> MakeMemorySource(const nlohmann::json& options,
                                                 const std::shared_ptr<arrow::Schema>& schema) {
  FZ_ASSIGN(auto tables, ReadTables(options));
  const bool messages = options.value("messages", false);
  auto waits = options.value("waits", std::vector<Waits>{});
  const int64_t batch_rows = options.value("batch_rows", limits::kBatchRows);
  if (messages) {
    return std::make_unique<MemorySource>(std::move(tables), std::move(waits), batch_rows, true);
  }
  for (auto& table : tables) {  // the plan may need fewer columns than there are
    arrow::ArrayVector columns;
    for (const auto& field : schema->fields()) {
      auto column = table->GetColumnByName(field->name());
      if (column == nullptr || !column->type()->Equals(field->type())) {
        return Error(ErrorKind::kConfig, "reading a table in memory: no column " + field->ToString());
      }
      columns.push_back(std::move(column));
    }
    table = arrow::RecordBatch::Make(schema, table->num_rows(), std::move(columns));
  }
  return std::make_unique<MemorySource>(std::move(tables), std::move(waits), batch_rows, false);
}

Result<std::unique_ptr<Enumerator>> MakeMemoryEnumerator(const nlohmann::json& options) {
  FZ_ASSIGN(auto tables, ReadTables(options));
  std::vector<int64_t> rows;
  for (const auto& table : tables) rows.push_back(table->num_rows());
  return std::make_unique<MemoryEnumerator>(std::move(rows));
}

}  // namespace frazil
