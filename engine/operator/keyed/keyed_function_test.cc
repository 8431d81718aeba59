#include "operator/keyed/keyed_function.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/schema_text.h"
#include "operator/ordered/test_ordered.h"

namespace frazil {
namespace {

using namespace ordered_test;
using nlohmann::json;

constexpr int64_t kPause = 10;  // us between a row and its timer

// What the function makes of the rows of a key: each row gives (k, at, total); a timer that is set by each
// row and was not moved on by another gives (k, time, -total) and forgets the total; the end gives
// (k, 0, 1000 + total).
struct Model {
  int64_t total = 0;
  std::set<int64_t> timers;
  bool timed = true;  // else no timer is set

  void row(const Row& row, std::vector<Row>* out) {
    fire(row.at, row.k, out);
    total += row.v;
    out->push_back({row.k, row.at, total});
    if (timed) timers = {row.at + kPause};
  }
  void fire(int64_t until, int64_t k, std::vector<Row>* out) {
    while (!timers.empty() && *timers.begin() < until) {
      out->push_back({k, *timers.begin(), -total});
      total = 0;
      timers.erase(timers.begin());
    }
  }
};

template <typename T>
std::shared_ptr<T> ListAt(const arrow::RecordBatch& batch, const std::string& name) {
  return std::static_pointer_cast<T>(
      static_cast<const arrow::ListArray&>(*batch.GetColumnByName(name)).value_slice(0));
}

std::shared_ptr<arrow::Array> OneList(const std::shared_ptr<arrow::Array>& values) {
  const std::vector<int32_t> offsets = {0, static_cast<int32_t>(values->length())};
  return std::make_shared<arrow::ListArray>(arrow::list(values->type()), 1,
                                            arrow::Buffer::FromVector(offsets), values);
}

std::shared_ptr<arrow::Schema> StateSchema() {
  return arrow::schema({arrow::field("total", arrow::int64())});
}

// The function as the engine calls it.
Result<std::shared_ptr<arrow::RecordBatch>> CallWith(const std::shared_ptr<arrow::RecordBatch>& asked,
                                                     bool timed) {
  EXPECT_TRUE(asked->ValidateFull().ok());
  const int8_t what = static_cast<const arrow::Int8Array&>(*asked->GetColumnByName("what")).Value(0);
  const int64_t until = Int64s(*asked, "until")->Value(0);
  const auto keys = ListAt<arrow::StructArray>(*asked, "keys");
  const auto states = ListAt<arrow::StructArray>(*asked, "states");
  const auto timers = ListAt<arrow::ListArray>(*asked, "timers");
  const auto offsets = ListAt<arrow::Int32Array>(*asked, "offsets");
  std::vector<Row> rows, given;
  if (what == KeyedFunction::kRows) {
    const auto read = ListAt<arrow::StructArray>(*asked, "rows");
    const Batch batch{arrow::RecordBatch::FromStructArray(read).ValueOrDie(), {}, nullptr};
    rows = RowsOf({batch});
    EXPECT_EQ(ListAt<arrow::Int64Array>(*asked, "times")->Value(0), rows.front().at);
  }
  arrow::Int64Builder totals, times;
  arrow::UInt8Builder outcomes;
  auto set = std::make_shared<arrow::Int64Builder>();
  arrow::ListBuilder lists(arrow::default_memory_pool(), set,
                           arrow::list(arrow::field("element", arrow::int64())));
  for (int64_t i = 0; i < keys->length(); ++i) {
    const auto& key = static_cast<const arrow::Int64Array&>(*keys->field(0));
    const auto& state = static_cast<const arrow::Int64Array&>(*states->field(0));
    const int64_t k = key.IsNull(i) ? -1 : key.Value(i);
    Model model{state.IsNull(i) ? 0 : state.Value(i), {}, timed};
    const auto mine = std::static_pointer_cast<arrow::Int64Array>(timers->value_slice(i));
    for (int64_t j = 0; j < mine->length(); ++j) model.timers.insert(mine->Value(j));
    if (what == KeyedFunction::kRows) {
      for (int32_t row = offsets->Value(i); row < offsets->Value(i + 1); ++row) {
        EXPECT_EQ(rows[static_cast<size_t>(row)].k, k);
        model.row(rows[static_cast<size_t>(row)], &given);
      }
    } else if (what == KeyedFunction::kTimers) {
      model.fire(until, k, &given);
    } else {
      given.push_back({k, 0, 1000 + model.total});
    }
    const bool forget = model.total == 0 && model.timers.empty();
    EXPECT_TRUE(outcomes.Append(forget ? KeyedFunction::kForget : KeyedFunction::kAssign).ok());
    EXPECT_TRUE(totals.Append(model.total).ok() && lists.Append().ok());
    for (const int64_t time : model.timers) EXPECT_TRUE(set->Append(time).ok());
  }
  const auto made = BatchOf(given).columns;
  const auto total = totals.Finish().ValueOrDie();
  const arrow::ArrayVector columns = {
      OneList(made->ToStructArray().ValueOrDie()),
      OneList(std::make_shared<arrow::StructArray>(arrow::struct_(StateSchema()->fields()), total->length(),
                                                   arrow::ArrayVector{total})),
      OneList(lists.Finish().ValueOrDie()), OneList(outcomes.Finish().ValueOrDie())};
  arrow::FieldVector fields;
  const char* names[] = {"rows", "states", "timers", "what"};
  for (size_t i = 0; i < columns.size(); ++i) fields.push_back(arrow::field(names[i], columns[i]->type()));
  return arrow::RecordBatch::Make(arrow::schema(fields), 1, columns);
}

Result<std::shared_ptr<arrow::RecordBatch>> Call(const std::shared_ptr<arrow::RecordBatch>& asked) {
  return CallWith(asked, /*timed=*/true);
}

std::unique_ptr<KeyedFunction> Make(bool ends = false, const BatchFunction& function = Call,
                                    const PartitionNames* partitions = nullptr) {
  const json spec = {{"keys", {"k"}},
                     {"function", "test:Totals"},
                     {"time", {{"column", "at"}, {"minus_us", 0}}},
                     {"states", SchemaText(*StateSchema()).ValueOrDie()},
                     {"schema", SchemaText(*Input()).ValueOrDie()},
                     {"ends", ends}};
  OperatorContext context;
  context.partitions = partitions;
  return KeyedFunction::Make(spec, *Input(), function, context).ValueOrDie();
}

TEST(KeyedFunction, KeepsStateAndFiresTimersBetweenRows) {
  const auto op = Make();
  Collect out;
  Expect(op->process(BatchOf({{1, 100, 5}, {2, 100, 7}, {1, 105, 6}, {1, 120, 8}}), out), Progress::kDone);
  EXPECT_EQ(RowsOf(out.batches),
            (std::vector<Row>{{1, 100, 5}, {1, 105, 11}, {1, 115, -11}, {1, 120, 8}, {2, 100, 7}}));
  out.batches.clear();
  Expect(op->advance(0, 110, out), Progress::kDone);
  EXPECT_TRUE(out.batches.empty());
  EXPECT_EQ(op->promise(), 110);
  Expect(op->advance(0, 111, out), Progress::kDone);
  EXPECT_EQ(RowsOf(out.batches), (std::vector<Row>{{2, 110, -7}}));
  out.batches.clear();
  Expect(op->advance(0, kWatermarkMax, out), Progress::kDone);
  EXPECT_EQ(RowsOf(out.batches), (std::vector<Row>{{1, 130, -8}}));
  EXPECT_TRUE(op->snapshot(true).ValueOrDie().empty());
}

TEST(KeyedFunction, TheEndIsCalledOnceForEveryKey) {
  const auto op = Make(/*ends=*/true, [](const auto& asked) { return CallWith(asked, /*timed=*/false); });
  Collect out(/*slow=*/true);
  std::vector<Row> rows, expected;
  for (int64_t k = 0; k < 10'000; ++k) {
    rows.push_back({k, 100, 1 + k % 2});
    expected.push_back({k, 0, 1001 + k % 2});
  }
  Finish(op.get(), op->process(BatchOf(rows), out), &out);
  Finish(op.get(), op->advance(0, 200, out), &out);
  out.batches.clear();
  Finish(op.get(), op->advance(0, kWatermarkMax, out), &out);
  EXPECT_GT(out.batches.size(), 2u);
  auto found = RowsOf(out.batches);
  std::sort(found.begin(), found.end());
  EXPECT_EQ(found, expected);
  EXPECT_EQ(op->promise(), kWatermarkMax);
}

// Any split, any watermarks, deaths at any time.
TEST(KeyedFunction, DrawnRunsGiveWhatTheModelGives) {
  for (uint32_t seed = 0; seed < 300; ++seed) {
    std::mt19937 rng(seed);
    const auto rows =
        DrawRows(&rng, 120, 2 + static_cast<int>(rng() % 6), 1 + static_cast<int64_t>(rng() % 12));
    std::map<int64_t, Model> models;
    std::vector<Row> expected;
    for (const Row& row : rows) models[row.k].row(row, &expected);
    for (auto& [k, model] : models) model.fire(kWatermarkMax, k, &expected);
    std::sort(expected.begin(), expected.end());
    auto found = RowsOf(RunDrawn([] { return Make(); }, rows, &rng, 3));
    std::sort(found.begin(), found.end());
    EXPECT_EQ(found, expected) << seed;
  }
}

TEST(KeyedFunction, RefusesStateOfAnotherShape) {
  EXPECT_EQ(KindOf(Make()->restore(BatchOf({{1, 0, 0}}).columns)), ErrorKind::kState);
  const auto op = Make();
  Collect out;
  Expect(op->process(BatchOf({{1, 0, 1}}), out), Progress::kDone);
  const auto rows = op->snapshot(true).ValueOrDie().front();
  EXPECT_TRUE(Make()->restore(rows).ok());
  arrow::BinaryBuilder states;
  EXPECT_TRUE(states.Append(std::string("\1\0\0\0", 4)).ok());  // one timer that is not there
  const auto damaged = rows->SetColumn(2, rows->schema()->field(2), states.Finish().ValueOrDie());
  EXPECT_EQ(KindOf(Make()->restore(damaged.ValueOrDie())), ErrorKind::kState);
}

TEST(KeyedFunction, ErrorsSayWhereTheRowWas) {
  PartitionNames names;
  names.add(3, -1, "source-1");
  names.add(3, 0, "orders-0");
  names.add(3, 1, "orders-1");
  const auto failing = [](const auto& asked) -> Result<std::shared_ptr<arrow::RecordBatch>> {
    std::string text = "boom {row:";
    for (const char c : ListAt<arrow::FixedSizeBinaryArray>(*asked, "marks")->GetString(0)) {
      constexpr const char* kDigits = "0123456789abcdef";
      text += {kDigits[static_cast<uint8_t>(c) >> 4], kDigits[c & 15]};
    }
    return NamedError("UdfError", text + "}");
  };
  const auto op = Make(false, failing, &names);
  Batch batch = BatchOf({{1, 0, 1}});
  SetMark(&batch, kOrderMark, nullptr);
  batch.origin = {1, 1042, 1043, 0, 3};
  arrow::Int64Builder positions;
  EXPECT_TRUE(positions.Append(1042).ok());
  SetMark(&batch, kPositionMark, positions.Finish().ValueOrDie());
  const auto mark = OrderMarkOf(batch, &names, arrow::default_memory_pool()).ValueOrDie();
  SetMark(&batch, kOrderMark, mark);
  Collect out;
  const auto done = op->process(batch, out);
  EXPECT_EQ(MessageOf(done.status()), "calling test:Totals: boom , read from orders-1@1042");
  EXPECT_EQ(NameOf(done.status()), "UdfError");
}

}  // namespace
}  // namespace frazil
