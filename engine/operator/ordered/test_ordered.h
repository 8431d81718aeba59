#pragma once

#include <arrow/api.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "operator/operator.h"
#include "operator/time/order_mark.h"

// How operators on rows in order are tested: rows go through in batches and with watermarks that are drawn,
// and the operator dies at times and is restored from what it has given to checkpoints.
namespace frazil::ordered_test {

const auto kTime = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
inline std::shared_ptr<arrow::Schema> Input() {
  return arrow::schema({arrow::field("k", arrow::int64()), arrow::field("at", kTime, false),
                        arrow::field("v", arrow::int64())});
}

struct Row {
  int64_t k, at, v;
  auto operator<=>(const Row&) const = default;
};

// Full after every batch, if `slow`.
class Collect : public Output {
 public:
  explicit Collect(bool slow = false) : slow_(slow) {}
  Status push(Batch batch) override {
    full_ = slow_;
    batches.push_back(std::move(batch));
    return Status::OK();
  }
  bool full() const override { return full_; }
  void drain() { full_ = false; }
  std::vector<Batch> batches;

 private:
  const bool slow_;
  bool full_ = false;
};

// Rows with marks that put those of one time in the order of v.
inline Batch BatchOf(const std::vector<Row>& rows) {
  arrow::Int64Builder keys, values;
  arrow::TimestampBuilder times(kTime, arrow::default_memory_pool());
  arrow::FixedSizeBinaryBuilder marks(arrow::fixed_size_binary(kOrderBytes));
  for (const Row& row : rows) {
    std::string mark(kOrderBytes, '\0');
    for (size_t i = 0; i < 8; ++i) {
      mark[15 - i] = static_cast<char>(static_cast<uint64_t>(row.v) >> (8 * i) & 0xff);
    }
    EXPECT_TRUE((row.k < 0 ? keys.AppendNull() : keys.Append(row.k)).ok() && times.Append(row.at).ok() &&
                values.Append(row.v).ok() && marks.Append(mark).ok());
  }
  Batch batch{arrow::RecordBatch::Make(
                  Input(), static_cast<int64_t>(rows.size()),
                  {keys.Finish().ValueOrDie(), times.Finish().ValueOrDie(), values.Finish().ValueOrDie()}),
              {},
              nullptr};
  SetMark(&batch, kOrderMark, marks.Finish().ValueOrDie());
  return batch;
}

inline std::shared_ptr<arrow::Int64Array> Int64s(const arrow::RecordBatch& rows, const std::string& name) {
  const auto column = rows.GetColumnByName(name);
  EXPECT_NE(column, nullptr) << name;
  return std::static_pointer_cast<arrow::Int64Array>(column->View(arrow::int64()).ValueOrDie());
}

inline std::vector<Row> RowsOf(const std::vector<Batch>& batches) {
  std::vector<Row> rows;
  for (const Batch& batch : batches) {
    EXPECT_TRUE(batch.columns->ValidateFull().ok());
    const auto k = Int64s(*batch.columns, "k"), at = Int64s(*batch.columns, "at"),
               v = Int64s(*batch.columns, "v");
    for (int64_t i = 0; i < batch.rows(); ++i) {
      rows.push_back({k->IsNull(i) ? -1 : k->Value(i), at->Value(i), v->Value(i)});
    }
  }
  return rows;
}

inline void Expect(const Result<Progress>& done, Progress progress) {
  ASSERT_TRUE(done.ok()) << done.status().ToString();
  ASSERT_EQ(*done, progress);
}

// To the end of what a call began, though the output is full after every batch.
inline void Finish(Operator* op, Result<Progress> done, Collect* out) {
  while (done.ok() && *done == Progress::kMore) {
    out->drain();
    done = op->resume(*out);
  }
  ASSERT_TRUE(done.ok()) << done.status().ToString();
}

inline std::unique_ptr<Operator> Restored(const std::function<std::unique_ptr<Operator>()>& make,
                                          const std::vector<StateRows>& chain) {
  auto op = make();
  for (const StateRows& rows : chain) {
    for (const auto& batch : rows) {
      EXPECT_TRUE(batch->ValidateFull().ok());
      const Status status = op->restore(batch);
      EXPECT_TRUE(status.ok()) << status.ToString();
    }
  }
  return op;
}

// Times and values are ordered as behind a Reorder.
inline std::vector<Row> DrawRows(std::mt19937* rng, int count, int keys, int64_t apart) {
  std::vector<Row> rows;
  int64_t at = 1000;
  for (int i = 0; i < count; ++i) {
    at += static_cast<int64_t>((*rng)() % static_cast<uint64_t>(apart));
    rows.push_back({static_cast<int64_t>((*rng)() % static_cast<uint64_t>(keys)) - 1, at, i});
  }
  return rows;
}

// State that is being saved, and where the rows and the results stood when it was fixed.
struct Cut {
  bool full = false;
  size_t at = 0, batches = 0;
  StateRows rows;
};

// Gives all rows and then the end of time; dies `deaths` times. What comes out after the last whole
// checkpoint before a death is forgotten, as it is in a table. State is saved some rows at a time, while rows
// go on.
inline std::vector<Batch> RunDrawn(const std::function<std::unique_ptr<Operator>()>& make,
                                   const std::vector<Row>& rows, std::mt19937* rng, int deaths) {
  auto op = make();
  std::vector<StateRows> chain;
  Collect out(/*slow=*/true);
  Cut kept, saving;
  bool frozen = false;
  size_t at = 0;
  while (at < rows.size()) {
    if (frozen && (*rng)() % 2 == 0) {
      const auto done = op->save(static_cast<int64_t>((*rng)() % 5), &saving.rows);
      EXPECT_TRUE(done.ok()) << done.status();
      frozen = !*done;
      if (*done) {
        if (saving.full) chain.clear();
        chain.push_back(saving.rows);
        kept = std::exchange(saving, {});
      }
    }
    const size_t to = std::min(rows.size(), at + 1 + (*rng)() % 7);
    Finish(op.get(),
           op->process(BatchOf({rows.begin() + static_cast<std::ptrdiff_t>(at),
                                rows.begin() + static_cast<std::ptrdiff_t>(to)}),
                       out),
           &out);
    out.drain();
    at = to;
    if (at == rows.size() || rows[at].at == rows[at - 1].at) continue;
    if ((*rng)() % 3 == 0) continue;
    const int64_t gap = rows[at].at - rows[at - 1].at;
    const Timestamp watermark = rows[at].at - static_cast<int64_t>((*rng)() % static_cast<uint64_t>(gap));
    Finish(op.get(), op->advance(0, watermark, out), &out);
    out.drain();
    EXPECT_LE(op->promise(), watermark);
    if (!frozen && (*rng)() % 4 == 0) {
      saving = {(*rng)() % 4 == 0, at, out.batches.size(), {}};
      EXPECT_TRUE(op->freeze(saving.full).ok());
      frozen = true;
    } else if (deaths > 0 && (*rng)() % 6 == 0) {
      --deaths;
      frozen = false;
      op = Restored(make, chain);
      out.batches.resize(kept.batches);
      at = kept.at;
    }
  }
  Finish(op.get(), op->advance(0, kWatermarkMax, out), &out);
  return out.batches;
}

}  // namespace frazil::ordered_test
