#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "connector/source.h"
#include "format/decoder.h"
#include "format/schema_board.h"
#include "plan/plan.h"
#include "run/epoch_part.h"

namespace frazil {

// What happens to a row that cannot be decoded.
enum class OnBadRow { kFail, kDrop, kDivert };

// A source together with its decoder, in one worker: polls, decodes, adds the metadata columns, and keeps the
// account of every row. Called by the worker's thread; counts may be read by any.
class SourceTask {
 public:
  struct Step {
    Poll::Kind kind = Poll::Kind::kIdle;
    Batch rows;
    Batch rejected;
  };

  // Reads the particulars from the plan's node. `waker` may be called from any thread.
  static Result<std::unique_ptr<SourceTask>> Make(const PlanNode& node, arrow::MemoryPool* pool, bool bounded,
                                                  std::function<void()> waker,
                                                  SchemaBoard* schemas = nullptr);

  // Not for use; see Make.
  SourceTask() = default;

  Status assign(const std::vector<Assignment>& partitions);
  Result<Step> poll(const Budget& budget);
  // Rows carry their position from now on, and the time they were stored where the connector knows it.
  void note_positions() { notes_positions_ = true; }
  // Takes back rows of one partition that were given as good, by the source's policy for bad rows: an error,
  // or the batch for its `rejected` stream (no rows if they are dropped).
  Result<Batch> reject(const std::vector<RejectedRow>& rows);
  // Whoever the plan says is to be read first has been: until then poll() gives nothing.
  void release(const std::set<std::string>& ended);
  bool waits() const { return !after_.empty(); }
  // True if there was no row left at the last poll(), nor will be in this run; any thread.
  bool ended() const { return ended_; }
  Timestamp opens_at() const {
    return assigned_ && after_.empty() && !held_.has_value() ? source_->opens_at() : kWatermarkMax;
  }
  bool behind(int32_t ordinal) const {
    return source_->behind(ordinal) || (held_.has_value() && held_->origin.partition == ordinal);
  }
  Status committed(const std::vector<PartitionPosition>& positions) { return source_->committed(positions); }

  // Says which epoch the rows that follow belong to, as of a sink: rejected rows name it.
  void begin(Epoch epoch) {
    epoch_ = epoch;
    example_.clear();
  }
  EpochPart::SourceState state() const { return {positions(), counts(), by_partition_, example_}; }
  RowCounts counts() const {
    return {read_.load(), good_.load(), rejected_.load(), dropped_.load(), bytes_.load()};
  }
  // What the source said of itself when it last had no rows; any thread.
  std::string condition() const;
  const std::string& id() const { return id_; }
  bool assigned() const { return assigned_; }

 private:
  Result<Batch> assemble(const std::shared_ptr<arrow::RecordBatch>& decoded,
                         std::shared_ptr<arrow::RecordBatch> metadata,
                         const std::vector<int32_t>& kept) const;
  Status refuse(const RejectedRow& row) const;
  static std::string Described(const RejectedRow& row);
  void note_example(const RejectedRow& row);
  Result<Batch> rejected_batch(const std::vector<RejectedRow>& rows, const std::vector<const char*>& kinds);
  Status mark(const Poll& poll, const std::vector<int32_t>& kept, Batch* rows) const;
  Result<Step> decode(Poll poll);
  Result<Step> decode_held();
  std::vector<PartitionPosition> positions() const;
  void note_condition(std::string condition);

  std::string id_;
  std::string name_;
  std::shared_ptr<arrow::Schema> schema_;
  std::unique_ptr<Source> source_;
  std::unique_ptr<Decoder> decoder_;  // null for sources that give columns
  // Rows that wait for what the decoder has asked for, and the positions before them: they count as not read.
  std::optional<Poll> held_;
  std::vector<PartitionPosition> before_held_;
  OnBadRow on_bad_row_ = OnBadRow::kFail;
  arrow::MemoryPool* pool_ = nullptr;
  std::function<void()> waker_;
  bool bounded_ = false;
  std::set<std::string> after_;  // sources that are to be read to their end first
  std::atomic<bool> ended_{false};
  bool notes_positions_ = false;
  Epoch epoch_ = 0;
  std::string pipeline_, log_;                     // whose epochs these are
  std::map<int32_t, std::string> names_;           // of partitions, by ordinal
  std::map<std::string, RowCounts> by_partition_;  // from the start of the job
  std::string example_;
  bool assigned_ = false;
  mutable std::mutex condition_mutex_;
  std::string condition_;
  std::atomic<int64_t> read_{0}, good_{0}, rejected_{0}, dropped_{0}, bytes_{0};
};

}  // namespace frazil
