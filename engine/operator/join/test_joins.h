#pragma once

// For tests of joins: two inputs in a drawn interleaving, and workers that a join is spread over, which are
// ended and restored.
#include <arrow/api.h>
#include <arrow/compute/api.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include "operator/operator.h"
#include "operator/time/order_mark.h"
#include "state/key.h"

namespace frazil::test_joins {

inline const auto kTime = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
inline const auto kInput =
    arrow::schema({arrow::field("key", arrow::int64()), arrow::field("at", kTime, false),
                   arrow::field("id", arrow::int64())});

struct Row {
  std::optional<int64_t> key;
  Timestamp at = 0;
  int64_t id = 0;
};
// Ids of a left and a right row; -1 where there is none.
using Pair = std::pair<int64_t, int64_t>;

struct Given {
  Pair pair;
  Timestamp time = 0;
};

// Rows with an order mark, by id.
inline Batch Rows(const std::vector<Row>& rows) {
  arrow::Int64Builder keys, ids;
  arrow::TimestampBuilder times(kTime, arrow::default_memory_pool());
  for (const Row& row : rows) {
    EXPECT_TRUE((row.key ? keys.Append(*row.key) : keys.AppendNull()).ok());
    EXPECT_TRUE(times.Append(row.at).ok());
    EXPECT_TRUE(ids.Append(row.id).ok());
  }
  arrow::FixedSizeBinaryBuilder order(arrow::fixed_size_binary(kOrderBytes));
  for (const Row& row : rows) {
    uint8_t mark[kOrderBytes] = {};
    mark[kOrderBytes - 2] = static_cast<uint8_t>(row.id >> 8);
    mark[kOrderBytes - 1] = static_cast<uint8_t>(row.id);
    EXPECT_TRUE(order.Append(mark).ok());
  }
  Batch batch{arrow::RecordBatch::Make(
                  kInput, static_cast<int64_t>(rows.size()),
                  {keys.Finish().ValueOrDie(), times.Finish().ValueOrDie(), ids.Finish().ValueOrDie()}),
              {},
              nullptr};
  SetMark(&batch, kOrderMark, order.Finish().ValueOrDie());
  return batch;
}

// Takes rows, and is full at random.
class Collect : public Output {
 public:
  explicit Collect(std::mt19937* random = nullptr) : random_(random) {}
  Status push(Batch batch) override {
    largest = std::max(largest, batch.rows());
    const auto ids = [&](int column, int64_t row) {
      const auto& array = static_cast<const arrow::Int64Array&>(*batch.columns->column(column));
      return array.IsNull(row) ? -1 : array.Value(row);
    };
    const auto& times = static_cast<const arrow::TimestampArray&>(*batch.columns->column(3));
    for (int64_t i = 0; i < batch.rows(); ++i) given.push_back({{ids(0, i), ids(1, i)}, times.Value(i)});
    return batch.columns->Validate();
  }
  bool full() const override { return random_ != nullptr && (*random_)() % 3 == 0; }
  std::vector<Given> given;
  int64_t largest = 0;

 private:
  std::mt19937* random_;
};

inline void Finish(Operator& join, Result<Progress> progress, Collect& out) {
  ASSERT_TRUE(progress.ok()) << progress.status();
  while (*progress == Progress::kMore) {
    progress = join.resume(out);
    ASSERT_TRUE(progress.ok()) << progress.status();
  }
}

inline std::vector<Pair> Sorted(const std::vector<Given>& given) {
  std::vector<Pair> pairs;
  for (const Given& each : given) pairs.push_back(each.pair);
  std::sort(pairs.begin(), pairs.end());
  return pairs;
}

// Something that reaches a join: rows of a side, or its watermark.
struct Event {
  int side = 0;
  std::vector<Row> rows;
  Timestamp watermark = kWatermarkMin;
};

// Two inputs whose times rise by and by, none behind its watermark, in a drawn interleaving.
struct Input {
  std::vector<Row> rows[2];
  std::vector<Event> events;
};

inline Input Draw(std::mt19937& random, int keys, int rows, int disorder) {
  std::vector<Event> sides[2];
  Input input;
  for (int side = 0; side < 2; ++side) {
    Timestamp now = static_cast<Timestamp>(random() % 50), watermark = kWatermarkMin;
    while (static_cast<int>(input.rows[side].size()) < rows) {
      Event event{side, {}, kWatermarkMin};
      for (unsigned n = random() % 4; n-- > 0;) {
        Row row{static_cast<int64_t>(random() % static_cast<unsigned>(keys)),
                now - static_cast<Timestamp>(random() % static_cast<unsigned>(disorder + 1)),
                static_cast<int64_t>(input.rows[side].size())};
        if (random() % 12 == 0) row.key.reset();
        now += static_cast<Timestamp>(random() % 4);
        if (row.at < watermark) continue;  // the gate has refused it
        event.rows.push_back(row);
        input.rows[side].push_back(row);
      }
      if (!event.rows.empty()) sides[side].push_back(event);
      if (random() % 2 == 0) {
        watermark = std::max(watermark, now - disorder);
        sides[side].push_back({side, {}, watermark});
      }
    }
    sides[side].push_back({side, {}, kWatermarkMax});
  }
  const unsigned share = 1 + random() % 9;  // of ten: how much faster one of them is read
  for (size_t left = 0, right = 0; left < sides[0].size() || right < sides[1].size();) {
    const bool take = right == sides[1].size() || (left < sides[0].size() && random() % 10 < share);
    input.events.push_back(take ? sides[0][left++] : sides[1][right++]);
  }
  return input;
}

// Workers that a join is spread over, with what their checkpoint has.
class Workers {
 public:
  Workers(std::function<std::unique_ptr<Operator>()> make, std::mt19937* random)
      : make_(std::move(make)), random_(random) {
    start(1 + (*random)() % 3);
  }

  void start(unsigned count) {
    joins_.clear();
    for (unsigned worker = 0; worker < count; ++worker) {
      joins_.push_back(make_());
      for (const auto& batch : files_) {
        ASSERT_TRUE(joins_.back()->restore(rows_of(batch, worker, count)).ok());
      }
    }
    out_.given = kept_;
    whole_ = true;
    std::copy_n(kept_watermarks_, 2, watermarks_);
    for (int side = 0; side < 2; ++side)
      take({side, {}, kept_watermarks_[side]});  // it follows from frontiers
  }

  void take(const Event& event) {
    watermarks_[event.side] = std::max(watermarks_[event.side], event.watermark);
    for (size_t worker = 0; worker < joins_.size(); ++worker) {
      Operator& join = *joins_[worker];
      if (event.rows.empty()) {
        const Timestamp before = join.promise();
        Finish(join, join.advance(event.side, event.watermark, out_), out_);
        EXPECT_GE(join.promise(), before);
        continue;
      }
      std::vector<Row> mine;
      for (const Row& row : event.rows) {
        arrow::Int64Builder key;
        ASSERT_TRUE((row.key ? key.Append(*row.key) : key.AppendNull()).ok());
        const auto hash = HashKeys({key.Finish().ValueOrDie()}, 1).ValueOrDie().front();
        if (WorkerOf(GroupOf(hash), static_cast<int>(joins_.size())) == static_cast<int>(worker)) {
          mine.push_back(row);
        }
      }
      if (mine.empty()) continue;
      const Timestamp promise = join.promise();
      const size_t before = out_.given.size();
      Finish(join, join.process(event.side, Rows(mine), out_), out_);
      for (size_t i = before; i < out_.given.size(); ++i) EXPECT_GE(out_.given[i].time, promise);
    }
  }

  void checkpoint() {
    if (whole_) files_.clear();
    for (const auto& join : joins_) {
      auto rows = join->snapshot(whole_);
      ASSERT_TRUE(rows.ok()) << rows.status();
      for (const auto& batch : *rows) ASSERT_TRUE(batch->ValidateFull().ok());
      files_.insert(files_.end(), rows->begin(), rows->end());
    }
    whole_ = false;
    kept_ = out_.given;
    std::copy_n(watermarks_, 2, kept_watermarks_);
  }

  const std::vector<Given>& given() const { return out_.given; }

 private:
  // The rows of a state file that a worker gets.
  static std::shared_ptr<arrow::RecordBatch> rows_of(const std::shared_ptr<arrow::RecordBatch>& batch,
                                                     unsigned worker, unsigned count) {
    const auto& hashes = static_cast<const arrow::UInt64Array&>(*batch->column(0));
    arrow::BooleanBuilder mine;
    for (int64_t i = 0; i < batch->num_rows(); ++i) {
      const bool everybody = hashes.IsNull(i);
      EXPECT_TRUE(mine.Append(everybody || WorkerOf(GroupOf(hashes.Value(i)), static_cast<int>(count)) ==
                                               static_cast<int>(worker))
                      .ok());
    }
    return arrow::compute::Filter(batch, mine.Finish().ValueOrDie()).ValueOrDie().record_batch();
  }

  const std::function<std::unique_ptr<Operator>()> make_;
  std::mt19937* const random_;
  std::vector<std::unique_ptr<Operator>> joins_;
  std::vector<std::shared_ptr<arrow::RecordBatch>> files_;
  std::vector<Given> kept_;  // given before the checkpoint
  Timestamp watermarks_[2] = {kWatermarkMin, kWatermarkMin};
  Timestamp kept_watermarks_[2] = {kWatermarkMin, kWatermarkMin};
  Collect out_{random_};
  bool whole_ = true;
};

// Takes all of an input, with checkpoints and crashes where they fall.
inline std::vector<Given> RunThrough(const Input& input, Workers& workers, std::mt19937& random) {
  size_t kept = 0;
  int crashes = 3;
  for (size_t next = 0; next < input.events.size(); ++next) {
    workers.take(input.events[next]);
    if (random() % 5 == 0) {
      workers.checkpoint();
      kept = next + 1;
    }
    if (crashes > 0 && random() % 20 == 0) {
      --crashes;
      workers.start(1 + random() % 4);
      next = kept - 1;  // wraps around to nothing
    }
  }
  return workers.given();
}

}  // namespace frazil::test_joins
