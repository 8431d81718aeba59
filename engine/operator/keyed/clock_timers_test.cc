#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/schema_text.h"
#include "operator/keyed/keyed_function.h"
#include "operator/ordered/test_ordered.h"

namespace frazil {
namespace {

using namespace ordered_test;
using nlohmann::json;

constexpr int64_t kPause = 10;  // us between a row and its timer

// What the function makes of a key: rows are added up; the first since a timer sets the next one, which gives
// (k, time, total). The end gives (k, 0, total).
struct Model {
  int64_t total = 0;
  std::set<int64_t> timers;

  void fire(int64_t clock, int64_t k, std::vector<Row>* out) {
    while (!timers.empty() && *timers.begin() <= clock) {
      out->push_back({k, *timers.begin(), total});
      total = 0;
      timers.erase(timers.begin());
    }
  }
  void row(int64_t v, int64_t clock, int64_t k, std::vector<Row>* out) {
    fire(clock, k, out);
    total += v;
    if (timers.empty()) timers.insert(clock + kPause);
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

std::shared_ptr<arrow::Array> TimersOf(const std::vector<std::set<int64_t>>& timers) {
  auto set = std::make_shared<arrow::Int64Builder>();
  arrow::ListBuilder lists(arrow::default_memory_pool(), set,
                           arrow::list(arrow::field("element", arrow::int64())));
  for (const auto& each : timers) {
    EXPECT_TRUE(lists.Append().ok());
    for (const int64_t time : each) EXPECT_TRUE(set->Append(time).ok());
  }
  return lists.Finish().ValueOrDie();
}

std::shared_ptr<arrow::RecordBatch> Answer(const std::vector<Row>& given, const std::vector<Model>& models) {
  arrow::Int64Builder totals;
  arrow::UInt8Builder outcomes;
  std::vector<std::set<int64_t>> timers;
  for (const Model& model : models) {
    const bool forget = model.total == 0 && model.timers.empty();
    EXPECT_TRUE(outcomes.Append(forget ? KeyedFunction::kForget : KeyedFunction::kAssign).ok());
    EXPECT_TRUE(totals.Append(model.total).ok());
    timers.push_back(model.timers);
  }
  const auto total = totals.Finish().ValueOrDie();
  const auto states = std::make_shared<arrow::StructArray>(arrow::struct_(StateSchema()->fields()),
                                                           total->length(), arrow::ArrayVector{total});
  const std::vector<std::pair<const char*, std::shared_ptr<arrow::Array>>> parts = {
      {"rows", BatchOf(given).columns->ToStructArray().ValueOrDie()},
      {"states", states},
      {"timers", TimersOf(std::vector<std::set<int64_t>>(models.size()))},
      {"clock_timers", TimersOf(timers)},
      {"what", outcomes.Finish().ValueOrDie()}};
  arrow::FieldVector fields;
  arrow::ArrayVector columns;
  for (const auto& [name, values] : parts) {
    columns.push_back(OneList(values));
    fields.push_back(arrow::field(name, columns.back()->type()));
  }
  return arrow::RecordBatch::Make(arrow::schema(fields), 1, columns);
}

// The function as the engine calls it.
Result<std::shared_ptr<arrow::RecordBatch>> Call(const std::shared_ptr<arrow::RecordBatch>& asked) {
  EXPECT_TRUE(asked->ValidateFull().ok());
  const int8_t what = static_cast<const arrow::Int8Array&>(*asked->GetColumnByName("what")).Value(0);
  const bool over = Int64s(*asked, "over")->Value(0) == 1;
  const int64_t clock = over ? kWatermarkMax : Int64s(*asked, "clock")->Value(0);
  const auto keys = ListAt<arrow::StructArray>(*asked, "keys");
  const auto states = ListAt<arrow::StructArray>(*asked, "states");
  const auto timers = ListAt<arrow::ListArray>(*asked, "clock_timers");
  const auto offsets = ListAt<arrow::Int32Array>(*asked, "offsets");
  std::vector<Row> rows, given;
  if (what == KeyedFunction::kRows) {
    const auto read = ListAt<arrow::StructArray>(*asked, "rows");
    rows = RowsOf({Batch{arrow::RecordBatch::FromStructArray(read).ValueOrDie(), {}, nullptr}});
  }
  std::vector<Model> models;
  for (int64_t i = 0; i < keys->length(); ++i) {
    const auto& key = static_cast<const arrow::Int64Array&>(*keys->field(0));
    const auto& state = static_cast<const arrow::Int64Array&>(*states->field(0));
    const int64_t k = key.IsNull(i) ? -1 : key.Value(i);
    Model& model = models.emplace_back(Model{state.IsNull(i) ? 0 : state.Value(i), {}});
    const auto mine = std::static_pointer_cast<arrow::Int64Array>(timers->value_slice(i));
    for (int64_t j = 0; j < mine->length(); ++j) model.timers.insert(mine->Value(j));
    if (what == KeyedFunction::kRows) {
      for (int32_t row = offsets->Value(i); row < offsets->Value(i + 1); ++row) {
        model.row(rows[static_cast<size_t>(row)].v, clock, k, &given);
      }
    } else if (what == KeyedFunction::kClock) {
      EXPECT_LE(*model.timers.begin(), clock);
      model.fire(clock, k, &given);
    } else {
      EXPECT_TRUE(model.timers.empty());
      given.push_back({k, 0, model.total});
    }
  }
  return Answer(given, models);
}

std::unique_ptr<KeyedFunction> Make(const Clock* clock, bool timed = false,
                                    const BatchFunction& function = Call) {
  const json time = {{"column", "at"}, {"minus_us", 0}};
  const json spec = {{"keys", {"k"}},
                     {"function", "test:Together"},
                     {"time", timed ? time : json(nullptr)},
                     {"states", SchemaText(*StateSchema()).ValueOrDie()},
                     {"schema", SchemaText(*Input()).ValueOrDie()},
                     {"ends", false},
                     {"clock", true}};
  OperatorContext context;
  context.clock = clock;
  return KeyedFunction::Make(spec, *Input(), function, context).ValueOrDie();
}

TEST(ClockTimers, AreFiredWhenTheClockHasComeToThem) {
  ManualClock clock(1000);
  const auto op = Make(&clock);
  EXPECT_TRUE(op->ticks());
  EXPECT_EQ(op->next_tick(), kWatermarkMax);
  Collect out;
  Expect(op->process(BatchOf({{1, 5, 5}, {2, 5, 7}, {1, 5, 6}}), out), Progress::kDone);
  clock.set(1003);
  Expect(op->process(BatchOf({{3, 5, 8}, {2, 5, 1}}), out), Progress::kDone);
  EXPECT_EQ(op->next_tick(), 1000 + kPause);
  Expect(op->tick(1009, out), Progress::kDone);
  EXPECT_TRUE(out.batches.empty());
  Expect(op->tick(1010, out), Progress::kDone);
  EXPECT_EQ(RowsOf(out.batches), (std::vector<Row>{{1, 1010, 11}, {2, 1010, 8}}));  // by time, then key
  EXPECT_EQ(op->next_tick(), 1013);
  out.batches.clear();
  Expect(op->tick(5000, out), Progress::kDone);
  EXPECT_EQ(RowsOf(out.batches), (std::vector<Row>{{3, 1013, 8}}));
  EXPECT_TRUE(op->snapshot(true).ValueOrDie().empty());
}

TEST(ClockTimers, ThoseThatAreDueComeBeforeLaterRowsOfTheKey) {
  ManualClock clock(1000);
  const auto op = Make(&clock);
  Collect out;
  Expect(op->process(BatchOf({{1, 5, 5}, {2, 5, 6}}), out), Progress::kDone);
  clock.set(1010);
  Expect(op->process(BatchOf({{1, 5, 7}}), out), Progress::kDone);  // no tick in between
  EXPECT_EQ(RowsOf(out.batches), (std::vector<Row>{{1, 1010, 5}}));
  EXPECT_EQ(op->next_tick(), 1010);
  out.batches.clear();
  Expect(op->tick(2000, out), Progress::kDone);
  EXPECT_EQ(RowsOf(out.batches), (std::vector<Row>{{2, 1010, 6}, {1, 1020, 7}}));
}

TEST(ClockTimers, AreSavedAndFiredLater) {
  ManualClock clock(1000);
  const auto op = Make(&clock);
  Collect out;
  Expect(op->process(BatchOf({{1, 5, 5}, {-1, 5, 6}}), out), Progress::kDone);
  const StateRows saved = op->snapshot(true).ValueOrDie();
  const auto restored = Restored([&] { return Make(&clock); }, {saved});
  EXPECT_EQ(restored->next_tick(), 1010);
  Expect(restored->tick(9'000'000, out), Progress::kDone);
  EXPECT_EQ(RowsOf(out.batches), (std::vector<Row>{{-1, 1010, 6}, {1, 1010, 5}}));
  EXPECT_EQ(restored->next_tick(), kWatermarkMax);
  // A state that is cut off is refused.
  arrow::BinaryBuilder states;
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(states.Append(std::string("\0\0\0\0\2\0\0\0", 8)).ok());
  const auto rows = saved.front();
  const auto damaged = rows->SetColumn(2, rows->schema()->field(2), states.Finish().ValueOrDie());
  EXPECT_EQ(KindOf(Make(&clock)->restore(damaged.ValueOrDie())), ErrorKind::kState);
}

TEST(ClockTimers, ManyKeysAreSeveralCallsAndStopWhenTheOutputIsFull) {
  ManualClock clock(0);
  const auto op = Make(&clock);
  Collect out(/*slow=*/true);
  std::vector<Row> rows, expected;
  for (int64_t k = 0; k < 10'000; ++k) {
    rows.push_back({k, 5, k + 1});
    expected.push_back({k, kPause, k + 1});
  }
  Finish(op.get(), op->process(BatchOf(rows), out), &out);
  Finish(op.get(), op->tick(kPause, out), &out);
  EXPECT_GT(out.batches.size(), 2u);
  auto found = RowsOf(out.batches);
  std::sort(found.begin(), found.end());
  EXPECT_EQ(found, expected);
}

// One that sets the next at once is called once a tick, and does not hold up what else there is.
TEST(ClockTimers, ACallFiresNoneThatItHasSet) {
  ManualClock clock(1000);
  int calls = 0;
  const auto op = Make(&clock, false, [&](const auto& asked) {
    ++calls;
    const int64_t now = Int64s(*asked, "clock")->Value(0);
    return Answer({{1, 5, calls}}, {Model{1, {now + 1}}});
  });
  Collect out;
  Expect(op->process(BatchOf({{1, 5, 5}}), out), Progress::kDone);
  for (int tick = 2; tick < 6; ++tick) {
    Expect(op->tick(1000 + tick, out), Progress::kDone);
    EXPECT_EQ(calls, tick);
  }
}

TEST(ClockTimers, AllAreFiredAtTheEndOfTime) {
  ManualClock clock(1000);
  const auto op = Make(&clock, /*timed=*/true);
  Collect out;
  Expect(op->process(BatchOf({{1, 100, 5}, {2, 100, 7}}), out), Progress::kDone);
  Expect(op->advance(0, 500, out), Progress::kDone);
  EXPECT_TRUE(out.batches.empty());
  Expect(op->advance(0, kWatermarkMax, out), Progress::kDone);
  EXPECT_EQ(RowsOf(out.batches), (std::vector<Row>{{1, 1010, 5}, {2, 1010, 7}}));
  EXPECT_EQ(op->promise(), kWatermarkMax);
  EXPECT_EQ(op->next_tick(), kWatermarkMax);
}

// Rows come at drawn times; whether somebody has looked at the clock in between cannot be seen.
TEST(ClockTimers, DrawnTicksGiveWhatTheModelGives) {
  for (uint32_t seed = 0; seed < 200; ++seed) {
    std::mt19937 rng(seed);
    ManualClock clock(1000);
    const auto op = Make(&clock);
    Collect out(/*slow=*/true);
    std::map<int64_t, Model> models;
    std::vector<Row> expected;
    for (int64_t i = 0; i < 60; ++i) {
      std::vector<Row> rows;
      for (uint32_t n = rng() % 4; n > 0; --n) rows.push_back({static_cast<int64_t>(rng() % 3), 5, i + 1});
      for (const Row& row : rows) models[row.k].row(row.v, clock.now(), row.k, &expected);
      if (!rows.empty()) Finish(op.get(), op->process(BatchOf(rows), out), &out);
      out.drain();
      clock.set(clock.now() + static_cast<int64_t>(rng() % 7));
      if (rng() % 2 == 0) Finish(op.get(), op->tick(clock.now(), out), &out);
      out.drain();
    }
    Finish(op.get(), op->tick(kWatermarkMax - 1, out), &out);
    for (auto& [k, model] : models) model.fire(kWatermarkMax, k, &expected);
    auto found = RowsOf(out.batches);
    std::sort(found.begin(), found.end());
    std::sort(expected.begin(), expected.end());
    EXPECT_EQ(found, expected) << seed;
  }
}

// A run of one operator over rows whose values are different bits: so a sum tells which are in it. The clock
// goes on while it is dead.
class Dying {
 public:
  explicit Dying(uint32_t seed) : rng_(seed) {}

  std::vector<Row> run(const std::vector<Row>& rows) {
    size_t at = 0;
    for (int deaths = 4; at < rows.size();) {
      clock_.set(clock_.now() + static_cast<int64_t>(rng_() % 9));
      if (rng_() % 2 == 0) Finish(op_.get(), op_->tick(clock_.now(), out_), &out_);
      save(at);
      if (deaths > 0 && rng_() % 8 == 0) {
        --deaths;
        at = die();
        continue;
      }
      const size_t to = std::min(rows.size(), at + 1 + rng_() % 3);
      const std::vector<Row> some(rows.begin() + static_cast<std::ptrdiff_t>(at),
                                  rows.begin() + static_cast<std::ptrdiff_t>(to));
      Finish(op_.get(), op_->process(BatchOf(some), out_), &out_);
      out_.drain();
      at = to;
    }
    Finish(op_.get(), op_->tick(clock_.now() + kPause, out_), &out_);
    EXPECT_EQ(op_->next_tick(), kWatermarkMax);
    return RowsOf(out_.batches);
  }

 private:
  // A checkpoint begins or goes on, some rows of state at a time.
  void save(size_t at) {
    if (!frozen_ && rng_() % 3 == 0) {
      saving_ = {rng_() % 4 == 0, at, out_.batches.size(), {}};
      EXPECT_TRUE(op_->freeze(saving_.full).ok());
      frozen_ = true;
    } else if (frozen_) {
      frozen_ = !op_->save(static_cast<int64_t>(rng_() % 3), &saving_.rows).ValueOrDie();
      if (frozen_) return;
      if (saving_.full) chain_.clear();
      chain_.push_back(saving_.rows);
      kept_ = std::exchange(saving_, {});
    }
  }

  // What came out behind the last checkpoint is forgotten, and its rows come again; gives from where on.
  size_t die() {
    frozen_ = false;
    op_ = Restored([this] { return Make(&clock_); }, chain_);
    out_.batches.resize(kept_.batches);
    clock_.set(clock_.now() + static_cast<int64_t>(rng_() % 40));
    return kept_.at;
  }

  std::mt19937 rng_;
  ManualClock clock_{1000};
  std::unique_ptr<Operator> op_ = Make(&clock_);
  Collect out_{/*slow=*/true};
  std::vector<StateRows> chain_;
  Cut kept_, saving_;
  bool frozen_ = false;
};

TEST(ClockTimers, DeathsLoseNoRowAndDoubleNone) {
  for (uint32_t seed = 0; seed < 300; ++seed) {
    std::vector<Row> rows;
    std::map<int64_t, int64_t> expected, found;
    for (int64_t i = 0; i < 60; ++i) {
      rows.push_back({i * 7 % 4 - 1, 5, int64_t{1} << i});
      expected[rows.back().k] += rows.back().v;
    }
    std::map<int64_t, int64_t> last;
    for (const Row& row : Dying(seed).run(rows)) {
      EXPECT_LT(last[row.k], row.at) << seed;  // those of a key come in their order
      last[row.k] = row.at;
      EXPECT_EQ(found[row.k] & row.v, 0) << seed;
      found[row.k] += row.v;
    }
    EXPECT_EQ(found, expected) << seed;
  }
}

}  // namespace
}  // namespace frazil
