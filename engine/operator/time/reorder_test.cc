// Gate and Reorder: what is late, and the order of the rest, in any interleaving and over restarts.
#include "operator/time/reorder.h"

#include <arrow/api.h>
#include <arrow/compute/api.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <random>
#include <string>
#include <utility>

#include "operator/time/event_time.h"
#include "operator/time/gate.h"
#include "operator/time/order_mark.h"
#include "state/key.h"

namespace frazil {
namespace {

const auto kTime = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
const auto kInput = arrow::schema({arrow::field("key", arrow::utf8()), arrow::field("at", kTime, false),
                                   arrow::field("id", arrow::int64())});
const nlohmann::json kSpec = {{"keys", {"key"}}, {"time", {{"column", "at"}, {"minus_us", 0}}}};
constexpr int64_t kOutOfOrder = 20'000;  // us

struct Row {
  std::string key;
  int64_t at = 0;
  int64_t id = 0;
};

class Collect : public Output {
 public:
  explicit Collect(std::mt19937_64* random = nullptr) : random_(random) {}
  Status push(Batch batch) override {
    EXPECT_TRUE(batch.columns->ValidateFull().ok());
    batches.push_back(std::move(batch));
    return Status::OK();
  }
  bool full() const override { return random_ != nullptr && (*random_)() % 3 == 0; }
  std::vector<Batch> take() { return std::exchange(batches, {}); }
  std::vector<Batch> batches;

 private:
  std::mt19937_64* random_;
};

Batch Rows(const std::vector<Row>& rows, int partition, int64_t first_position) {
  arrow::StringBuilder keys;
  arrow::Int64Builder times, ids, positions;
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_TRUE(keys.Append(rows[i].key).ok());
    EXPECT_TRUE(times.Append(rows[i].at).ok());
    EXPECT_TRUE(ids.Append(rows[i].id).ok());
    EXPECT_TRUE(positions.Append(first_position + static_cast<int64_t>(i)).ok());
  }
  Batch batch{arrow::RecordBatch::Make(
                  kInput, static_cast<int64_t>(rows.size()),
                  {keys.Finish().ValueOrDie(), times.Finish().ValueOrDie()->View(kTime).ValueOrDie(),
                   ids.Finish().ValueOrDie()}),
              Origin{.partition = partition, .source = 0}, nullptr};
  SetMark(&batch, kPositionMark, positions.Finish().ValueOrDie());
  return batch;
}

std::vector<int64_t> Ids(const std::vector<Batch>& batches) {
  std::vector<int64_t> ids;
  for (const Batch& batch : batches) {
    const auto& column = static_cast<const arrow::Int64Array&>(*batch.columns->GetColumnByName("id"));
    ids.insert(ids.end(), column.raw_values(), column.raw_values() + column.length());
  }
  return ids;
}

std::unique_ptr<Reorder> MakeReorder() { return Reorder::Make(kSpec, kInput, {}).ValueOrDie(); }

void Finish(Operator* op, Progress progress, Output& out) {
  while (progress == Progress::kMore) progress = op->resume(out).ValueOrDie();
}

// Rows of some partitions, drawn: out of order by more than is allowed now and then, and many of one time.
std::vector<std::vector<Row>> Partitions(std::mt19937_64* random) {
  std::vector<std::vector<Row>> partitions(1 + (*random)() % 3);
  int64_t id = 0;
  for (auto& rows : partitions) {
    int64_t now = 0;
    for (int i = 0; i < 200; ++i) {
      now += static_cast<int64_t>((*random)() % 5) * 1000;
      const auto behind = static_cast<int64_t>((*random)() % ((*random)() % 8 == 0 ? 60 : 15)) * 1000;
      rows.push_back({"k" + std::to_string((*random)() % 5), now - behind, id++});
    }
  }
  return partitions;
}

// What is late, and the rest in order, by the definition.
std::pair<std::vector<int64_t>, std::vector<int64_t>> Expected(
    const std::vector<std::vector<Row>>& partitions, const PartitionNames& names) {
  std::vector<int64_t> late;
  std::vector<std::tuple<int64_t, uint64_t, size_t, int64_t>> rest;
  for (size_t p = 0; p < partitions.size(); ++p) {
    int64_t frontier = kWatermarkMin + kOutOfOrder;
    for (size_t i = 0; i < partitions[p].size(); ++i) {
      const Row& row = partitions[p][i];
      if (row.at < frontier - kOutOfOrder) {
        late.push_back(row.id);
      } else {
        const Origin origin{.partition = static_cast<int32_t>(p), .source = 0};
        rest.emplace_back(row.at, PartitionHash(origin, &names), i, row.id);
      }
      frontier = std::max(frontier, row.at);
    }
  }
  std::sort(rest.begin(), rest.end());
  std::vector<int64_t> ids;
  for (const auto& each : rest) ids.push_back(std::get<3>(each));
  std::sort(late.begin(), late.end());
  return {late, ids};
}

// Event time and gate of each partition, and the queues to the workers behind the exchange.
class Senders {
 public:
  Senders(const std::vector<std::vector<Row>>& partitions, std::mt19937_64* random)
      : partitions_(partitions), at_(partitions.size()), random_(random) {
    for (size_t p = 0; p < partitions.size(); ++p) names.add(0, static_cast<int>(p), "p" + std::to_string(p));
    time_ = EventTime::Make({{"column", "at"}, {"out_of_order_us", kOutOfOrder}}, *kInput,
                            arrow::default_memory_pool(), [](const auto&) { return Status::OK(); })
                .ValueOrDie();
    for (size_t p = 0; p < partitions.size(); ++p) {
      time_->add_partition(static_cast<int>(p), "p" + std::to_string(p), kWatermarkMin);
    }
    gate_ = Gate::Make(kSpec, *kInput, {.partitions = &names}).ValueOrDie();
    gate_->set_aside(&late);
  }

  bool done() const {
    for (size_t p = 0; p < partitions_.size(); ++p) {
      if (at_[p] < partitions_[p].size()) return false;
    }
    return true;
  }
  // Reads some rows of some partition; gives what the gate let through, and the watermark then.
  std::pair<std::vector<Batch>, Timestamp> read() {
    size_t p = (*random_)() % partitions_.size();
    while (at_[p] == partitions_[p].size()) p = (p + 1) % partitions_.size();
    const size_t to = std::min(partitions_[p].size(), at_[p] + 1 + (*random_)() % 20);
    const std::vector<Row> rows(partitions_[p].begin() + static_cast<int64_t>(at_[p]),
                                partitions_[p].begin() + static_cast<int64_t>(to));
    Collect timed, passed;
    EXPECT_TRUE(time_->process(Rows(rows, static_cast<int>(p), static_cast<int64_t>(at_[p])), timed).ok());
    at_[p] = to;
    for (Batch& batch : timed.take()) EXPECT_TRUE(gate_->process(std::move(batch), passed).ok());
    return {passed.take(), time_->promise()};
  }

  PartitionNames names;
  Collect late;

 private:
  const std::vector<std::vector<Row>>& partitions_;
  std::vector<size_t> at_;
  std::mt19937_64* random_;
  std::unique_ptr<EventTime> time_;
  std::unique_ptr<Gate> gate_;
};

TEST(Reorder, GivesRowsInOneOrderHoweverTheyCome) {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    std::mt19937_64 random(seed);
    const auto partitions = Partitions(&random);
    for (int round = 0; round < 3; ++round) {
      Senders senders(partitions, &random);
      const auto [late, rest] = Expected(partitions, senders.names);
      auto reorder = MakeReorder();
      Collect out(&random);
      while (!senders.done()) {
        auto [batches, watermark] = senders.read();
        for (Batch& batch : batches) ASSERT_TRUE(reorder->process(std::move(batch), out).ok());
        if (random() % 3 == 0) Finish(reorder.get(), reorder->advance(0, watermark, out).ValueOrDie(), out);
      }
      Finish(reorder.get(), reorder->advance(0, kWatermarkMax, out).ValueOrDie(), out);
      ASSERT_EQ(Ids(out.batches), rest) << "seed " << seed;
      auto refused = Ids(senders.late.batches);
      std::sort(refused.begin(), refused.end());
      ASSERT_EQ(refused, late) << "seed " << seed;
      ASSERT_EQ(reorder->state_bytes(), 0);
    }
  }
}

Batch Part(const Batch& batch, int worker, int workers) {
  const auto hashes = HashKeys({batch.columns->column(0)}, batch.rows()).ValueOrDie();
  arrow::Int64Builder rows;
  for (size_t i = 0; i < hashes.size(); ++i) {
    if (WorkerOf(GroupOf(hashes[i]), workers) == worker)
      EXPECT_TRUE(rows.Append(static_cast<int64_t>(i)).ok());
  }
  const auto which = rows.Finish().ValueOrDie();
  Batch part{arrow::compute::Take(batch.columns, which).ValueOrDie().record_batch(), {}, nullptr};
  SetMark(&part, kOrderMark,
          arrow::compute::Take(MarkOf(batch, kOrderMark), which).ValueOrDie().make_array());
  return part;
}

// Gives a worker its rows of the files of one worker.
void Restore(Reorder* reorder, const StateRows& chain, int worker, int workers) {
  const auto [first, last] = GroupsOf(worker, workers);
  for (const auto& rows : chain) {
    const auto& hashes = static_cast<const arrow::UInt64Array&>(*rows->column(0));
    arrow::Int64Builder which;
    for (int64_t i = 0; i < rows->num_rows(); ++i) {
      const int group = hashes.IsNull(i) ? first : GroupOf(hashes.Value(i));
      if (group >= first && group <= last) ASSERT_TRUE(which.Append(i).ok());
    }
    const auto numbers = which.Finish().ValueOrDie();
    if (numbers->length() == 0) continue;
    ASSERT_TRUE(reorder->restore(arrow::compute::Take(rows, numbers).ValueOrDie().record_batch()).ok());
  }
}

// Cut off and restored with another number of workers, each key's rows still come once, in order.
TEST(Reorder, GoesOnFromDeltasWithAnyNumberOfWorkers) {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    std::mt19937_64 random(seed);
    const auto partitions = Partitions(&random);
    Senders senders(partitions, &random);
    const auto expected = Expected(partitions, senders.names).second;
    std::map<std::string, std::vector<int64_t>> by_key, found;
    std::map<int64_t, std::string> key_of;
    for (const auto& rows : partitions) {
      for (const Row& row : rows) key_of[row.id] = row.key;
    }
    for (const int64_t id : expected) by_key[key_of[id]].push_back(id);

    std::vector<std::unique_ptr<Reorder>> workers;
    std::vector<StateRows> chains;
    const auto start = [&](size_t count) {
      workers.clear();
      for (size_t w = 0; w < count; ++w) {
        workers.push_back(MakeReorder());
        for (const StateRows& chain : chains)
          Restore(workers.back().get(), chain, static_cast<int>(w), static_cast<int>(count));
      }
    };
    start(1 + random() % 3);
    bool full = true;
    Timestamp watermark = kWatermarkMin;
    while (!senders.done()) {
      auto [batches, to] = senders.read();
      const auto count = static_cast<int>(workers.size());
      const bool advances = random() % 3 == 0;
      if (advances) watermark = to;
      for (int w = 0; w < count; ++w) {
        Collect out(&random);
        Reorder* worker = workers[static_cast<size_t>(w)].get();
        for (const Batch& batch : batches) {
          Batch part = Part(batch, w, count);
          if (part.rows() > 0) ASSERT_TRUE(worker->process(std::move(part), out).ok());
        }
        if (advances) Finish(worker, worker->advance(0, watermark, out).ValueOrDie(), out);
        for (const int64_t id : Ids(out.batches)) found[key_of[id]].push_back(id);
      }
      if (random() % 8 == 0) {
        if (full) chains.assign(workers.size(), {});
        for (size_t w = 0; w < workers.size(); ++w) {
          for (auto& rows : workers[w]->snapshot(full).ValueOrDie()) chains[w].push_back(std::move(rows));
        }
        full = false;
        if (random() % 2 == 0) {
          start(1 + random() % 3);
          full = true;
        }
      }
    }
    for (auto& worker : workers) {
      Collect out;
      Finish(worker.get(), worker->advance(0, kWatermarkMax, out).ValueOrDie(), out);
      for (const int64_t id : Ids(out.batches)) found[key_of[id]].push_back(id);
    }
    ASSERT_EQ(found, by_key) << "seed " << seed;
  }
}

// More of them than are given at once: none comes again, and those that waited do.
TEST(Reorder, ForgetsAllThatWasGivenBefore) {
  constexpr int64_t kRows = 3 * limits::kBatchRows;
  Collect out;
  auto before = MakeReorder();
  std::vector<StateRows> saved;
  for (int64_t first = 0; first < kRows; first += limits::kBatchRows) {
    std::vector<Row> rows;
    for (int64_t i = first; i < first + limits::kBatchRows; ++i) rows.push_back({"k", i * 1000, i});
    Batch batch = Rows(rows, 0, first);
    SetMark(&batch, kOrderMark, OrderMarkOf(batch, nullptr, arrow::default_memory_pool()).ValueOrDie());
    Finish(before.get(), before->process(batch, out).ValueOrDie(), out);
  }
  saved.push_back(before->snapshot(true).ValueOrDie());
  Finish(before.get(), before->advance(0, (kRows - 2) * 1000, out).ValueOrDie(), out);
  EXPECT_EQ(Ids(out.take()).size(), static_cast<size_t>(kRows - 2));
  saved.push_back(before->snapshot(false).ValueOrDie());
  auto after = MakeReorder();
  for (const StateRows& file : saved) {
    for (const auto& rows : file) ASSERT_TRUE(after->restore(rows).ok());
  }
  Finish(after.get(), after->advance(0, kWatermarkMax, out).ValueOrDie(), out);
  EXPECT_EQ(Ids(out.take()), (std::vector<int64_t>{kRows - 2, kRows - 1}));
}

TEST(Reorder, RefusesDamagedState) {
  auto reorder = MakeReorder();
  Collect out;
  Batch rows = Rows({{"a", 5, 1}}, 0, 0);
  SetMark(&rows, kOrderMark, OrderMarkOf(rows, nullptr, arrow::default_memory_pool()).ValueOrDie());
  ASSERT_TRUE(reorder->process(rows, out).ok());
  const StateRows saved = reorder->snapshot(true).ValueOrDie();
  ASSERT_EQ(saved.size(), 2u);
  const auto broken = [&](int column) {
    auto columns = saved[0]->columns();
    columns[static_cast<size_t>(column)] =
        arrow::MakeArrayOfNull(columns[static_cast<size_t>(column)]->type(), 1).ValueOrDie();
    return MakeReorder()->restore(arrow::RecordBatch::Make(saved[0]->schema(), 1, columns));
  };
  EXPECT_TRUE(MakeReorder()->restore(saved[0]).ok());
  for (const int column : {2, 3}) {
    EXPECT_NE(broken(column).ToString().find("damaged"), std::string::npos) << column;
  }
  const auto other = arrow::RecordBatch::Make(kInput, rows.rows(), rows.columns->columns());
  EXPECT_NE(MakeReorder()->restore(other).ToString().find("other columns"), std::string::npos);
}

TEST(OrderMark, IsOfNamesAndNotOfTheirNumbers) {
  PartitionNames before, after;
  before.add(0, -1, "orders");
  before.add(0, 0, "p");
  after.add(0, -1, "users");
  after.add(0, 0, "p");
  after.add(4, -1, "orders");  // the program has other steps now
  after.add(4, 1, "p");
  const auto hash = [](int source, int partition, const PartitionNames& names) {
    Origin origin;
    origin.source = source;
    origin.partition = partition;
    return PartitionHash(origin, &names);
  };
  EXPECT_EQ(hash(0, 0, before), hash(4, 1, after));
  EXPECT_NE(hash(0, 0, before), hash(0, 0, after));
}

TEST(OrderMark, TellsComputedRowsApartByTheirColumns) {
  Batch rows = Rows({{"a", 5, 1}, {"a", 5, 2}, {"a", 5, 1}, {"b", 5, 1}}, -1, 0);
  const auto marks = OrderMarkOf(rows, nullptr, arrow::default_memory_pool()).ValueOrDie();
  EXPECT_EQ(marks->GetView(0), marks->GetView(2));
  EXPECT_NE(marks->GetView(0), marks->GetView(1));
  EXPECT_NE(marks->GetView(0), marks->GetView(3));
  const Batch slice{rows.columns->Slice(1), {}, nullptr};
  const auto again = OrderMarkOf(slice, nullptr, arrow::default_memory_pool()).ValueOrDie();
  EXPECT_EQ(again->GetView(0), marks->GetView(1));
}

}  // namespace
}  // namespace frazil
