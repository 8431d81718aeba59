#include "operator/time/event_time.h"

#include <arrow/api.h>

#include <algorithm>
#include <utility>

#include "base/calendar.h"
#include "base/check.h"
#include "operator/filter.h"

namespace frazil {
namespace {

// Event time that a chunk counts for at most when partitions are aligned (us): 30 days.
constexpr int64_t kChunkSpan = int64_t{30} * 24 * 3600 * 1'000'000;

bool InRange(Timestamp time) { return time >= -kEventTimeMax && time <= kEventTimeMax; }

std::string TimeText(Timestamp us) { return IsoTimestamp(us, arrow::TimeUnit::MICRO, true); }

}  // namespace

Result<std::shared_ptr<arrow::Int64Array>> MicrosOf(const std::shared_ptr<arrow::Array>& column,
                                                    arrow::MemoryPool* pool) {
  FZ_CHECK(column->type_id() == arrow::Type::TIMESTAMP);
  const auto unit = static_cast<const arrow::TimestampType&>(*column->type()).unit();
  FZ_ASSIGN(const auto values, column->View(arrow::int64()));
  auto typed = std::static_pointer_cast<arrow::Int64Array>(values);
  if (unit == arrow::TimeUnit::MICRO) return typed;
  arrow::Int64Builder builder(pool);
  FZ_TRY(builder.Reserve(typed->length()));
  const int64_t scale = unit == arrow::TimeUnit::SECOND ? 1'000'000 : 1'000;
  for (int64_t i = 0; i < typed->length(); ++i) {
    if (typed->IsNull(i)) {
      builder.UnsafeAppendNull();
      continue;
    }
    int64_t micros = 0;
    if (unit == arrow::TimeUnit::NANO) {
      micros = FloorDivide(typed->Value(i), 1'000);
    } else if (__builtin_mul_overflow(typed->Value(i), scale, &micros)) {
      return Error(ErrorKind::kUser, "a time of " + std::to_string(typed->Value(i)) + " (" +
                                         column->type()->ToString() + ") is out of range");
    }
    builder.UnsafeAppend(micros);
  }
  std::shared_ptr<arrow::Int64Array> micros;
  FZ_TRY(builder.Finish(&micros));
  return micros;
}

Result<std::unique_ptr<EventTime>> EventTime::Make(const nlohmann::json& spec, const arrow::Schema& input,
                                                   arrow::MemoryPool* pool, Reject reject) {
  auto column = spec.at("column").get<std::string>();
  const auto field = input.GetFieldByName(column);
  if (field == nullptr || field->type()->id() != arrow::Type::TIMESTAMP) {
    return Error(ErrorKind::kConfig,
                 "reading the plan: event_time of column " + column + ", which is no timestamp of its input");
  }
  const auto out_of_order = spec.at("out_of_order_us").get<int64_t>();
  const auto optional = [&spec](const char* name) {
    return spec.contains(name) && !spec[name].is_null() ? spec[name].get<int64_t>() : -1;
  };
  if (out_of_order < 0) return Error(ErrorKind::kConfig, "reading the plan: out_of_order_us is negative");
  std::unique_ptr<EventTime> made(new EventTime(std::move(column), out_of_order, optional("max_ahead_us"),
                                                optional("idle_after_us"), pool, std::move(reject)));
  made->waits_ = spec.contains("after");
  return made;
}

// Without overflow at the ends.
Timestamp EventTime::bound(Timestamp frontier) const {
  return frontier < kWatermarkMin + out_of_order_ ? kWatermarkMin : frontier - out_of_order_;
}

void EventTime::add_partition(int ordinal, const std::string& name, Timestamp frontier) {
  std::lock_guard lock(partitions_mutex_);
  PartitionTime& partition = partitions_[ordinal];
  partition.name = name;
  partition.frontier = std::max(partition.frontier.load(), frontier);
}

Timestamp EventTime::joining_frontier() const {
  const Timestamp now = promise();
  return partitions_.empty() || now == kWatermarkMin ? kWatermarkMin : now + out_of_order_;
}

std::map<std::string, Timestamp> EventTime::frontiers() const {
  std::map<std::string, Timestamp> known;
  for (const auto& [ordinal, partition] : partitions_) {
    if (partition.frontier != kWatermarkMin) known[partition.name] = partition.frontier;
  }
  return known;
}

std::map<std::string, Timestamp> EventTime::all_frontiers() const {
  std::lock_guard lock(partitions_mutex_);
  std::map<std::string, Timestamp> known;
  for (const auto& [ordinal, partition] : partitions_) known[partition.name] = partition.frontier;
  return known;
}

Timestamp EventTime::least_frontier(const std::function<bool(int)>& behind) const {
  Timestamp least = kWatermarkMax;
  for (const auto& [ordinal, partition] : partitions_) {
    if (partition.frontier < least && behind(ordinal)) least = partition.frontier;
  }
  return least;
}

std::vector<int32_t> EventTime::too_far_ahead(const std::function<bool(int)>& behind,
                                              Timestamp others) const {
  std::vector<int32_t> held;
  if (partitions_.size() < 2 && others == kWatermarkMax && elsewhere_ == kWatermarkMax) return held;
  const auto limit = [](Timestamp least, int64_t more) {
    return least > kWatermarkMax - more ? kWatermarkMax : least + more;
  };
  const Timestamp here = limit(std::min(least_frontier(behind), others), ahead());
  const Timestamp most = std::min(here, limit(elsewhere_, std::max(ahead(), 4 * elsewhere_span_)));
  for (const auto& [ordinal, partition] : partitions_) {
    if (partition.frontier > most) held.push_back(ordinal);
  }
  return held;
}

// A partition that leaves because it has caught up makes the least frontier jump: such a step counts little.
void EventTime::note_elsewhere(Timestamp least) {
  if (elsewhere_ != kWatermarkMin && least != kWatermarkMax && least > elsewhere_) {
    const int64_t most = 4 * std::max(ahead(), elsewhere_span_);
    elsewhere_span_ = (3 * elsewhere_span_ + std::min({least - elsewhere_, most, kChunkSpan})) / 4;
  }
  elsewhere_ = least;
}

bool EventTime::rest(int64_t now, Timestamp others, const std::function<bool(int)>& behind) {
  if (idle_after_ < 0 || closed_) return false;
  bool raised = false;
  for (auto& [ordinal, partition] : partitions_) {
    if (partition.touched || behind(ordinal)) {
      partition.touched = false;
      partition.rests = false;
      partition.quiet_since = now;
    }
    if (now - partition.quiet_since < idle_after_) continue;
    partition.rests = true;
    if (others == kWatermarkMin || others > kWatermarkMax - out_of_order_) continue;
    if (others + out_of_order_ <= partition.frontier) continue;
    partition.frontier = others + out_of_order_;
    raised = true;
  }
  return raised;
}

Timestamp EventTime::moving() const {
  std::lock_guard lock(partitions_mutex_);
  Timestamp least = kWatermarkMax;
  for (const auto& [ordinal, partition] : partitions_) {
    if (!partition.rests) least = std::min(least, bound(partition.frontier));
  }
  return least;
}

Timestamp EventTime::furthest() const {
  std::lock_guard lock(partitions_mutex_);
  Timestamp most = kWatermarkMin;
  for (const auto& [ordinal, partition] : partitions_) most = std::max(most, bound(partition.frontier));
  return most;
}

std::vector<std::string> EventTime::resting() const {
  std::lock_guard lock(partitions_mutex_);
  std::vector<std::string> names;
  for (const auto& [ordinal, partition] : partitions_) {
    if (partition.rests) names.push_back(partition.name);
  }
  return names;
}

Timestamp EventTime::promise() const {
  if (closed_) return kWatermarkMax;
  return waits_ ? floor_.load() : least();
}

bool EventTime::raise_floor(Timestamp to) {
  if (!waits_ || to <= floor_) return false;
  floor_ = to;
  return true;
}

Timestamp EventTime::floor() const {
  if (ended_) return kWatermarkMax;
  if (waits_) return floor_;
  std::lock_guard lock(partitions_mutex_);
  return least();
}

// What its own partitions promise.
Timestamp EventTime::least() const {
  if (partitions_.empty()) return aside_ ? kWatermarkMax : kWatermarkMin;
  Timestamp least = kWatermarkMax;
  for (const auto& [ordinal, partition] : partitions_) least = std::min(least, partition.frontier.load());
  return bound(least);
}

// Takes out rows without a usable time and has them rejected.
Result<Batch> EventTime::without_bad(Batch batch, std::shared_ptr<arrow::Int64Array>* times,
                                     const PartitionTime& partition) const {
  std::shared_ptr<arrow::Int64Array> stored;
  if (max_ahead_ >= 0) {
    stored = std::static_pointer_cast<arrow::Int64Array>(MarkOf(batch, kRecordTimeMark));
  }
  const int64_t* at = (*times)->raw_values();
  const bool in_range = std::all_of(at, at + (*times)->length(), InRange);
  if ((*times)->null_count() == 0 && stored == nullptr && in_range) return batch;
  const auto positions = std::static_pointer_cast<arrow::Int64Array>(MarkOf(batch, kPositionMark));
  std::vector<RejectedRow> rejected;
  arrow::BooleanBuilder good(pool_);
  FZ_TRY(good.Reserve(batch.rows()));
  for (int64_t i = 0; i < batch.rows(); ++i) {
    std::string reason;
    if ((*times)->IsNull(i)) {
      reason = "a row without an event time has no place in the stream";
    } else if (!InRange((*times)->Value(i))) {
      reason = "event time " + std::to_string((*times)->Value(i)) +
               " us after 1970 is out of range: at most 146,000 years from 1970";
    } else if (stored != nullptr && !stored->IsNull(i) && (*times)->Value(i) > stored->Value(i) &&
               (*times)->Value(i) - stored->Value(i) > max_ahead_) {
      reason = "event time " + TimeText((*times)->Value(i)) +
               " is further ahead of the time the record was stored, " + TimeText(stored->Value(i)) +
               ", than max_ahead allows";
    }
    good.UnsafeAppend(reason.empty());
    if (reason.empty()) continue;
    // Rows that a function made have no position of their own: that of the batch they are from.
    const int64_t position =
        positions == nullptr ? batch.origin.position_begin : positions->Value(i) - batch.origin.position_base;
    rejected.push_back({partition.name, position, std::move(reason), column_, "", 0});
  }
  if (rejected.empty()) return batch;
  FZ_TRY(reject_(rejected));
  std::shared_ptr<arrow::BooleanArray> mask;
  FZ_TRY(good.Finish(&mask));
  FZ_ASSIGN(batch, KeepRows(batch, mask, pool_));
  if (batch.rows() == 0) return batch;
  FZ_ASSIGN(*times, MicrosOf(batch.columns->GetColumnByName(column_), pool_));
  return batch;
}

Result<Progress> EventTime::process(Batch batch, Output& out) {
  const auto found = partitions_.find(batch.origin.partition);
  FZ_CHECK(found != partitions_.end());
  PartitionTime& partition = found->second;
  partition.touched = true;
  partition.rests = false;
  auto converted = MicrosOf(batch.columns->GetColumnByName(column_), pool_);
  if (!converted.ok()) return Prefixed(converted.status(), "event time of " + partition.name);
  std::shared_ptr<arrow::Int64Array> times = std::move(*converted);
  FZ_ASSIGN(batch, without_bad(std::move(batch), &times, partition));
  if (batch.rows() == 0) return Progress::kDone;

  const int64_t* at = times->raw_values();
  const int64_t rows = times->length();
  Timestamp frontier = partition.frontier;
  int64_t behind = 0;
  for (int64_t i = 0; i < rows; ++i) {
    behind += at[i] < bound(frontier) ? 1 : 0;
    frontier = std::max(frontier, at[i]);
  }
  if (behind > 0) {
    arrow::Int64Builder marks(pool_);
    FZ_TRY(marks.Reserve(rows));
    Timestamp before = partition.frontier;
    for (int64_t i = 0; i < rows; ++i) {
      if (at[i] < bound(before)) {
        marks.UnsafeAppend(bound(before));
      } else {
        marks.UnsafeAppendNull();
      }
      before = std::max(before, at[i]);
    }
    FZ_ASSIGN(auto array, marks.Finish());
    SetMark(&batch, kRowWatermarkMark, std::move(array));
  }
  int64_t span = 0;
  if (partition.frontier != kWatermarkMin &&
      !__builtin_sub_overflow(frontier, partition.frontier.load(), &span)) {
    chunk_span_ = (7 * chunk_span_ + std::min(span, kChunkSpan)) / 8;
  }
  partition.frontier = frontier;
  FZ_TRY(out.push(std::move(batch)));
  return Progress::kDone;
}

}  // namespace frazil
