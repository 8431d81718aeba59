#include "operator/ordered/pattern.h"

#include <arrow/io/memory.h>
#include <arrow/ipc/writer.h>
#include <arrow/util/base64.h>
#include <gtest/gtest.h>

#include "operator/ordered/test_ordered.h"

namespace frazil {
namespace {

using namespace ordered_test;
using nlohmann::json;

json Lit(int64_t value) {
  const auto array = arrow::MakeArrayFromScalar(arrow::Int64Scalar(value), 1).ValueOrDie();
  const auto batch = arrow::RecordBatch::Make(arrow::schema({arrow::field("", arrow::int64())}), 1, {array});
  const auto out = arrow::io::BufferOutputStream::Create().ValueOrDie();
  const auto writer = arrow::ipc::MakeStreamWriter(out, batch->schema()).ValueOrDie();
  EXPECT_TRUE(writer->WriteRecordBatch(*batch).ok() && writer->Close().ok());
  return {{"lit", arrow::util::base64_encode(out->Finish().ValueOrDie()->ToString())}};
}

// That v is this modulo 8.
json Is(int64_t kind) {
  const json rest = {{"fn", "modulo"}, {"args", json::array({{{"col", "v"}}, Lit(8)})}};
  return {{"fn", "equal"}, {"args", json::array({rest, Lit(kind)})}};
}

struct Shape {
  std::vector<int64_t> kinds;                 // of the steps
  std::vector<std::vector<int64_t>> without;  // behind each
  int64_t within = 10;
  int64_t open_max = 1'000;
};

json Spec(const Shape& shape) {
  json steps = json::array();
  for (size_t j = 0; j < shape.kinds.size(); ++j) {
    json without = json::array();
    for (const int64_t kind : shape.without[j]) without.push_back(Is(kind));
    const auto name = std::string(1, static_cast<char>('a' + j));
    steps.push_back({{"name", name},
                     {"when", Is(shape.kinds[j])},
                     {"without", without},
                     {"columns", json::array({json::array({"v", name + "_v"})})}});
  }
  return {{"keys", {"k"}},
          {"time", {{"column", "at"}, {"minus_us", 0}}},
          {"within_us", shape.within},
          {"open_max", shape.open_max},
          {"steps", steps}};
}

std::unique_ptr<Operator> Make(const Shape& shape) {
  auto made = Pattern::Make(Spec(shape), *Input(), {});
  EXPECT_TRUE(made.ok()) << made.status().ToString();
  return std::move(made).ValueOrDie();
}

// Key, start, end, then v of each step.
using Found = std::vector<int64_t>;

std::vector<Found> FoundIn(const std::vector<Batch>& batches) {
  std::vector<Found> found;
  for (const Batch& batch : batches) {
    EXPECT_TRUE(batch.columns->ValidateFull().ok());
    for (int64_t i = 0; i < batch.rows(); ++i) {
      Found row;
      for (const auto& field : batch.columns->schema()->fields()) {
        const auto column = Int64s(*batch.columns, field->name());
        row.push_back(column->IsNull(i) ? -1 : column->Value(i));
      }
      found.push_back(std::move(row));
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

// Looks at what is behind each first row, one by one.
std::vector<Found> Model(const Shape& shape, const std::vector<Row>& rows) {
  std::vector<Found> found;
  const auto has = [](const std::vector<int64_t>& kinds, int64_t v) {
    return std::find(kinds.begin(), kinds.end(), v % 8) != kinds.end();
  };
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].v % 8 != shape.kinds[0]) continue;
    Found match = {rows[i].k, rows[i].at, -1, rows[i].v};
    size_t taken = 1;
    bool dead = false;
    const bool absence = !shape.without.back().empty();
    for (size_t j = i + 1; j < rows.size() && !dead; ++j) {
      if (rows[j].k != rows[i].k) continue;
      if (rows[j].at - rows[i].at > shape.within) break;
      if (taken < shape.kinds.size() && rows[j].v % 8 == shape.kinds[taken]) {
        match.push_back(rows[j].v);
        match[2] = rows[j].at;
        if (++taken == shape.kinds.size() && !absence) break;
      } else {
        dead = has(shape.without[taken - 1], rows[j].v);
      }
    }
    if (dead || taken < shape.kinds.size()) continue;
    if (absence) match[2] = rows[i].at + shape.within;
    found.push_back(std::move(match));
  }
  std::sort(found.begin(), found.end());
  return found;
}

TEST(Pattern, GivesRowsThatFollowOneAnother) {
  const auto op = Make({{0, 1}, {{2}, {}}});
  Collect out;
  // Of key 1: a, another row, b; then a, c, b; of key 2: a, and b when the time is over.
  Expect(op->process(BatchOf({{1, 0, 0}, {2, 0, 8}, {1, 1, 3}, {1, 2, 1}, {1, 3, 16}, {1, 4, 2}}), out),
         Progress::kDone);
  EXPECT_EQ(FoundIn(out.batches), (std::vector<Found>{{1, 0, 2, 0, 1}}));
  Expect(op->process(BatchOf({{1, 5, 9}, {2, 11, 17}}), out), Progress::kDone);
  EXPECT_EQ(FoundIn(out.batches).size(), 1U);
}

TEST(Pattern, TakesARowThatIsJustWithinTheTime) {
  const auto op = Make({{0, 1}, {{}, {}}});
  Collect out;
  Expect(op->process(BatchOf({{1, 0, 0}, {2, 0, 8}, {1, 10, 1}, {2, 11, 9}}), out), Progress::kDone);
  EXPECT_EQ(FoundIn(out.batches), (std::vector<Found>{{1, 0, 10, 0, 1}}));
}

TEST(Pattern, EveryFirstRowBeginsAMatch) {
  const auto op = Make({{0, 1}, {{}, {}}});
  Collect out;
  Expect(op->process(BatchOf({{1, 0, 0}, {1, 1, 8}, {1, 2, 1}, {1, 3, 9}}), out), Progress::kDone);
  EXPECT_EQ(FoundIn(out.batches), (std::vector<Found>{{1, 0, 2, 0, 1}, {1, 1, 2, 8, 1}}));
}

// It is known when the watermark has passed the time, not before.
TEST(Pattern, GivesAnAbsenceWhenItsTimeIsOver) {
  const auto op = Make({{0}, {{1}}});
  Collect out;
  Expect(op->process(BatchOf({{1, 0, 0}, {2, 0, 8}, {2, 10, 1}}), out), Progress::kDone);
  Expect(op->advance(0, 10, out), Progress::kDone);
  EXPECT_TRUE(out.batches.empty());
  Expect(op->advance(0, 11, out), Progress::kDone);
  EXPECT_EQ(FoundIn(out.batches), (std::vector<Found>{{1, 0, 10, 0}}));
  EXPECT_EQ(op->promise(), 11);
  EXPECT_TRUE(op->snapshot(true).ValueOrDie().empty());
}

TEST(Pattern, ForgetsMatchesWhenTheirTimeIsOver) {
  const auto op = Make({{0, 1}, {{}, {}}, 100});
  Collect out;
  for (int64_t at = 0; at < 20'000; at += 5) {
    Expect(op->process(BatchOf({{at, at, 8 * at}, {7, at, 8 * at + 1}, {7, at, 8 * at + 8}}), out),
           Progress::kDone);
    Expect(op->advance(0, at + 5, out), Progress::kDone);
    if (at % 100 == 0) {
      ASSERT_TRUE(op->snapshot(false).ok());
    }
  }
  EXPECT_LT(op->state_bytes(), 256 << 10);
  Expect(op->advance(0, 30'000, out), Progress::kDone);
  EXPECT_TRUE(op->snapshot(true).ValueOrDie().empty());
}

TEST(Pattern, SaysWhichKeyHasTooManyMatches) {
  Shape shape = {{0, 1}, {{}, {}}};
  shape.open_max = 2;
  const auto op = Make(shape);
  Collect out;
  Expect(op->process(BatchOf({{5, 0, 0}, {5, 1, 8}, {5, 2, 9}, {5, 3, 16}, {5, 4, 24}}), out),
         Progress::kDone);
  const auto done = op->process(BatchOf({{5, 5, 32}}), out);
  ASSERT_FALSE(done.ok());
  EXPECT_EQ(NameOf(done.status()), "DataError");
  EXPECT_NE(done.status().ToString().find("more than 2 open matches of k 5, at 1970"), std::string::npos)
      << done.status().ToString();
}

StateRows Saved(const Shape& shape, const std::vector<Row>& rows) {
  const auto op = Make(shape);
  Collect out;
  Expect(op->process(BatchOf(rows), out), Progress::kDone);
  return op->snapshot(true).ValueOrDie();
}

std::shared_ptr<arrow::RecordBatch> With(const std::shared_ptr<arrow::RecordBatch>& rows, int column,
                                         std::shared_ptr<arrow::Array> values) {
  return rows->SetColumn(column, rows->schema()->field(column), std::move(values)).ValueOrDie();
}

template <typename Builder, typename Value>
std::shared_ptr<arrow::Array> ListWith(const std::vector<Value>& values) {
  auto builder = std::make_shared<Builder>();
  arrow::ListBuilder lists(arrow::default_memory_pool(), builder);
  EXPECT_TRUE(lists.Append().ok() && builder->AppendValues(values).ok());
  return lists.Finish().ValueOrDie();
}

TEST(Pattern, RefusesStateThatCannotBeIts) {
  const Shape shape = {{0, 1, 2}, {{}, {}, {}}};
  EXPECT_EQ(KindOf(Make(shape)->restore(BatchOf({{1, 0, 0}}).columns)), ErrorKind::kState);
  // Two matches of key 1, of one and two steps.
  const StateRows saved = Saved(shape, {{1, 3, 0}, {1, 4, 1}, {1, 5, 8}});
  ASSERT_EQ(saved.size(), 1U);
  const auto& good = saved.front();
  EXPECT_TRUE(Make(shape)->restore(good).ok());
  const auto starts = [](std::vector<int64_t> of) { return ListWith<arrow::Int64Builder>(of); };
  const auto taken = [](std::vector<int32_t> of) { return ListWith<arrow::Int32Builder>(of); };
  const auto other = Saved(shape, {{1, 3, 0}}).front();
  const auto null_key = arrow::MakeArrayOfNull(arrow::binary(), 1).ValueOrDie();
  for (const auto& bad :
       {With(good, 1, null_key), With(good, 2, starts({5, 3})), With(good, 2, starts({3})),
        With(good, 2, arrow::MakeArrayOfNull(good->column(2)->type(), 1).ValueOrDie()),
        With(good, 3, taken({1, 2})), With(good, 3, taken({3, 0})), With(good, 3, taken({1, 1})),
        With(good, 3, taken({2})), With(good, 4, other->column(4))}) {
    EXPECT_EQ(KindOf(Make(shape)->restore(bad)), ErrorKind::kState) << bad->ToString();
  }
  Shape fewer = shape;
  fewer.open_max = 1;
  EXPECT_EQ(KindOf(Make(fewer)->restore(good)), ErrorKind::kState);
}

// A checkpoint says of a key that lost its matches that it has none.
TEST(Pattern, ChangesOfACheckpointTakeKeysAway) {
  const Shape shape = {{0, 1}, {{}, {}}};
  const auto make = [&] { return Make(shape); };
  auto op = Make(shape);
  Collect out;
  Expect(op->process(BatchOf({{1, 0, 0}, {2, 0, 8}}), out), Progress::kDone);
  std::vector<StateRows> chain = {op->snapshot(false).ValueOrDie()};
  Expect(op->process(BatchOf({{1, 1, 1}}), out), Progress::kDone);
  chain.push_back(op->snapshot(false).ValueOrDie());
  ASSERT_EQ(chain.back().size(), 1U);
  EXPECT_EQ(chain.back().front()->num_rows(), 1);
  EXPECT_TRUE(op->snapshot(false).ValueOrDie().empty());
  op = Restored(make, chain);
  out.batches.clear();
  Expect(op->process(BatchOf({{1, 2, 9}, {2, 2, 17}}), out), Progress::kDone);
  EXPECT_EQ(FoundIn(out.batches), (std::vector<Found>{{2, 0, 2, 8, 17}}));
}

// Any split, any watermarks, deaths at any time.
TEST(Pattern, DrawnRunsGiveWhatTheModelGives) {
  const std::vector<Shape> shapes = {
      {{0, 1}, {{}, {}}},
      {{0, 1}, {{2}, {}}},
      {{0, 1, 2}, {{3}, {4, 0}, {}}},
      {{0}, {{1}}},
      {{0, 1}, {{2}, {3}}},
      {{0, 0, 1}, {{}, {2}, {}}},
      {{0, 1, 0}, {{0}, {}, {1}}},
      {{0, 1, 1}, {{1}, {}, {}}},
  };
  for (uint32_t seed = 0; seed < 400; ++seed) {
    std::mt19937 rng(seed);
    Shape shape = shapes[seed % shapes.size()];
    shape.within = 1 + static_cast<int64_t>(rng() % 40);
    auto rows = DrawRows(&rng, 120, 2 + static_cast<int>(rng() % 4), 1 + static_cast<int64_t>(rng() % 6));
    // v orders rows of one time, so what a row is goes by its remainder.
    const uint32_t kinds = 3 + rng() % 4;
    for (size_t i = 0; i < rows.size(); ++i) rows[i].v = static_cast<int64_t>(8 * i + rng() % kinds);
    EXPECT_EQ(FoundIn(RunDrawn([&] { return Make(shape); }, rows, &rng, 3)), Model(shape, rows)) << seed;
  }
}

}  // namespace
}  // namespace frazil
