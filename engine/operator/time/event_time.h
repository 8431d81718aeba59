#pragma once

#include <arrow/memory_pool.h>
#include <arrow/type.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "format/raw_batch.h"
#include "operator/operator.h"

namespace frazil {

// A timestamp column as microseconds since 1970 (nanoseconds are rounded down), without a copy if it has that
// unit. Nulls stay null. An error names a value that is out of range.
Result<std::shared_ptr<arrow::Int64Array>> MicrosOf(const std::shared_ptr<arrow::Array>& column,
                                                    arrow::MemoryPool* pool);

// The furthest event time from 1970, about 146,000 years (us): the bounds of windows, which are of ten years
// at most or a thousand units of a calendar, can be computed from any time up to it without overflow.
constexpr Timestamp kEventTimeMax = Timestamp{1} << 62;

// Gives the rows of one source their event time. It keeps the frontier F of every partition this worker
// reads, the largest event time so far; a row stands at the row watermark F - D of the rows before it in its
// partition (D: out_of_order), whatever the batches are. Rows behind theirs (out of bound) carry it in the
// mark kRowWatermarkMark. The promise is the least F - D of all partitions; a partition without a row holds
// it.
//
// A partition that has no row to read and has given none for `idle_after` rests, if the plan says so: it
// takes part in the promise as if its frontier were that of the others, so that it does not hold them up, and
// begins again behind them. Its frontier is raised for good, which is all there is to it.
//
// A plan may say that the source is read only when others have been read to their end ("after", event_time
// nodes of these). Until it is released such a node promises what it is told of them (raise_floor): of the
// workers that read it later, some may read nothing of the others.
//
// A row without a time, with one beyond kEventTimeMax or before -kEventTimeMax, or further ahead of the time
// its record was stored than max_ahead, is rejected as a bad row of its source, and moves nothing.
class EventTime : public Operator {
 public:
  using Reject = std::function<Status(const std::vector<RejectedRow>&)>;

  // Reads {"column","out_of_order_us","max_ahead_us"?,"idle_after_us"?,"after"?}.
  static Result<std::unique_ptr<EventTime>> Make(const nlohmann::json& spec, const arrow::Schema& input,
                                                 arrow::MemoryPool* pool, Reject reject);

  Result<Progress> process(Batch batch, Output& out) override;
  Timestamp promise() const override;

  // A partition this worker is going to read. Its frontier is the one a checkpoint has; of one that is new in
  // a running job it is what the promise was, so that its rows cannot contradict what is closed already.
  void add_partition(int ordinal, const std::string& name, Timestamp frontier);
  bool has_partition(int ordinal) const { return partitions_.contains(ordinal); }
  // The frontier with which a partition that is found now begins.
  Timestamp joining_frontier() const;
  // Ordinals, rising, of the partitions that are to wait for others: those further ahead than out_of_order,
  // or two chunks, of the least frontier of a partition that has rows to be read (`behind`). So the rows kept
  // until the slowest has come along do not grow with a backlog. The slowest is never among them. `others` is
  // the least frontier of sources that are read in step with this one in this worker; that of other workers
  // is known by note_elsewhere().
  std::vector<int32_t> too_far_ahead(const std::function<bool(int)>& behind,
                                     Timestamp others = kWatermarkMax) const;
  // The least frontier of the partitions that have rows to be read; kWatermarkMax if none has.
  Timestamp least_frontier(const std::function<bool(int)>& behind) const;
  // Notes that for other threads to ask; when rows have been read, or there were none.
  void note_least(const std::function<bool(int)>& behind) { noted_ = least_frontier(behind); }
  Timestamp noted_least() const { return noted_; }
  // The least frontier of partitions that have rows to be read in other workers, as of some time ago;
  // kWatermarkMax if none has. Told several times a second: partitions here may be as far ahead of it as
  // what it advances in four such times, so that the telling does not slow those that keep up.
  void note_elsewhere(Timestamp least);
  // Looks which partitions rest by now: a steady clock, us. `others` is the least promise of all partitions
  // of the pipeline that do not rest: those that do are brought up to it. True if that raised one.
  bool rest(int64_t now, Timestamp others, const std::function<bool(int)>& behind);
  // The least promise of the partitions that do not rest; kWatermarkMax if there are none. Any thread.
  Timestamp moving() const;
  // How far any of the partitions has come, less out_of_order; kWatermarkMin if none has a row. Any thread.
  Timestamp furthest() const;
  // Names of those that rest. Any thread.
  std::vector<std::string> resting() const;

  // This worker reads no partition, and never will, because others do: it holds nobody up.
  void stand_aside() { aside_ = true; }
  // No row will come in this run, nor in a later one unless event time begins anew.
  void close() { closed_ = true; }
  // The source has been read to its end for ever: nothing is to be known of it any more.
  void end() { closed_ = ended_ = true; }
  bool ended() const { return ended_; }  // any thread
  // How far those have come that it waits for: `to` only grows. True if that raises the promise.
  bool raise_floor(Timestamp to);
  // They have been read to their end: its own partitions count from now on.
  void release() { waits_ = false; }
  bool waits() const { return waits_; }  // any thread
  // The promise to those that wait for this one: it does not end with a run. Any thread.
  Timestamp floor() const;

  // Frontiers by name of partition, of those that have one.
  std::map<std::string, Timestamp> frontiers() const;
  // The same of all partitions, kWatermarkMin for those without a row; any thread.
  std::map<std::string, Timestamp> all_frontiers() const;

 private:
  struct PartitionTime {
    std::string name;
    std::atomic<Timestamp> frontier{kWatermarkMin};  // written by the worker's thread
    std::atomic<bool> rests{false};                  // the same
    bool touched = true;                             // since rest() looked
    int64_t quiet_since = 0;                         // us, of the clock of rest()
  };

  EventTime(std::string column, int64_t out_of_order, int64_t max_ahead, int64_t idle_after,
            arrow::MemoryPool* pool, Reject reject)
      : column_(std::move(column)),
        out_of_order_(out_of_order),
        max_ahead_(max_ahead),
        idle_after_(idle_after),
        pool_(pool),
        reject_(std::move(reject)) {}
  Timestamp least() const;
  int64_t ahead() const { return std::max(out_of_order_, 2 * chunk_span_); }
  Result<Batch> without_bad(Batch batch, std::shared_ptr<arrow::Int64Array>* times,
                            const PartitionTime& partition) const;
  Timestamp bound(Timestamp frontier) const;

  const std::string column_;
  const int64_t out_of_order_;  // us
  const int64_t max_ahead_;     // us; negative: no limit
  const int64_t idle_after_;    // us; negative: never
  arrow::MemoryPool* const pool_;
  const Reject reject_;
  mutable std::mutex partitions_mutex_;      // other threads look at partitions_, and the worker adds some
  std::map<int, PartitionTime> partitions_;  // by ordinal
  int64_t chunk_span_ = 0;                   // us of event time in a chunk, a running mean
  Timestamp elsewhere_ = kWatermarkMax;      // see note_elsewhere
  int64_t elsewhere_span_ = 0;               // us by which that advances between two times it is told, a mean
  std::atomic<Timestamp> noted_{kWatermarkMax};
  // Written by the worker's thread.
  std::atomic<bool> aside_{false}, closed_{false}, ended_{false}, waits_{false};
  std::atomic<Timestamp> floor_{kWatermarkMin};
};

}  // namespace frazil
