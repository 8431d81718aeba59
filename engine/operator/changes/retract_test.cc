// GroupAggregate over rows that change: whatever is taken back, what it gives last is of the rows that are
// left.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "operator/changes/group_aggregate.h"
#include "operator/changes/kinds.h"
#include "operator/ordered/test_ordered.h"

namespace frazil {
namespace {

using namespace ordered_test;
using nlohmann::json;

json Spec() {
  return {{"keys", {"k"}},
          {"time", nullptr},
          {"aggregates",
           {{{"name", "n"}, {"fn", "count"}, {"args", json::array()}, {"filter", nullptr}},
            {{"name", "total"}, {"fn", "sum"}, {"args", {{{"col", "v"}}}}, {"filter", nullptr}}}},
          {"window_end", nullptr},
          {"lateness_us", 0},
          {"early_us", nullptr}};
}

std::shared_ptr<arrow::Schema> Changing() { return Input()->AddField(3, KindField()).ValueOrDie(); }

std::unique_ptr<Operator> Bare() { return GroupAggregate::Make(Spec(), *Changing(), {}).ValueOrDie(); }

int64_t Coded(RowKind kind, int64_t value) { return 4 * value + static_cast<int64_t>(kind); }

// Takes rows whose `v` says their kind beside their value, so that they go where other rows go. 100 is null.
class Decoded : public Operator {
 public:
  Decoded() : inner_(Bare()) {}
  Result<Progress> process(Batch batch, Output& out) override {
    const auto coded = Int64s(*batch.columns, "v");
    arrow::UInt8Builder kinds;
    arrow::Int64Builder values;
    for (int64_t i = 0; i < batch.rows(); ++i) {
      FZ_TRY(kinds.Append(static_cast<uint8_t>(coded->Value(i) & 3)));
      const int64_t value = coded->Value(i) >> 2;
      FZ_TRY(value == 100 ? values.AppendNull() : values.Append(value));
    }
    Batch changes = batch;
    changes.columns = arrow::RecordBatch::Make(Changing(), batch.rows(),
                                               {batch.columns->column(0), batch.columns->column(1),
                                                values.Finish().ValueOrDie(), kinds.Finish().ValueOrDie()});
    return inner_->process(std::move(changes), out);
  }
  Result<Progress> advance(int port, Timestamp to, Output& out) override {
    return inner_->advance(port, to, out);
  }
  Result<Progress> resume(Output& out) override { return inner_->resume(out); }
  Timestamp promise() const override { return inner_->promise(); }
  Status freeze(bool full) override { return inner_->freeze(full); }
  Result<bool> save(int64_t rows_max, StateRows* rows) override { return inner_->save(rows_max, rows); }
  Status restore(const std::shared_ptr<arrow::RecordBatch>& rows) override { return inner_->restore(rows); }
  int64_t state_bytes() const override { return inner_->state_bytes(); }

 private:
  std::unique_ptr<Operator> inner_;
};

Row Of(int64_t k, RowKind kind, int64_t value) { return {k, 0, Coded(kind, value)}; }

// The rows that are left by key, each step checked; deletes are counted.
std::map<int64_t, std::string> Fold(const std::vector<Batch>& batches, int* deletes = nullptr) {
  std::map<int64_t, std::string> rows;
  for (const Batch& batch : batches) {
    EXPECT_TRUE(batch.columns->ValidateFull().ok());
    const auto kinds = KindsOf(batch).ValueOrDie();
    const auto k = Int64s(*batch.columns, "k");
    for (int64_t i = 0; i < batch.rows(); ++i) {
      const int64_t key = k->IsNull(i) ? -1 : k->Value(i);
      const std::string text = batch.columns->column(1)->GetScalar(i).ValueOrDie()->ToString() + " " +
                               batch.columns->column(2)->GetScalar(i).ValueOrDie()->ToString();
      const auto kind = static_cast<RowKind>(kinds->Value(i));
      EXPECT_EQ(rows.contains(key), kind != RowKind::kInsert) << key;
      if (kind == RowKind::kUpdateBefore || kind == RowKind::kDelete) EXPECT_EQ(rows[key], text);
      if (kind == RowKind::kUpdateBefore) {
        EXPECT_EQ(kinds->Value(i + 1), static_cast<uint8_t>(RowKind::kUpdateAfter));
        EXPECT_EQ(k->IsNull(i + 1) ? -1 : k->Value(i + 1), key);
      }
      if (kind == RowKind::kDelete) {
        rows.erase(key);
        if (deletes != nullptr) ++*deletes;
      } else {
        rows[key] = text;
      }
    }
  }
  return rows;
}

constexpr auto kInsert = RowKind::kInsert, kBefore = RowKind::kUpdateBefore, kAfter = RowKind::kUpdateAfter,
               kDelete = RowKind::kDelete;

std::vector<int64_t> KindsIn(const Batch& batch) {
  const auto kinds = KindsOf(batch).ValueOrDie();
  return {kinds->raw_values(), kinds->raw_values() + kinds->length()};
}

TEST(Retract, AnUpdateWithinAGroupIsOnePair) {
  Decoded op;
  Collect out;
  Expect(op.process(BatchOf({Of(1, kInsert, 5), Of(1, kInsert, 6)}), out), Progress::kDone);
  Expect(op.process(BatchOf({Of(1, kBefore, 5), Of(1, kAfter, 9)}), out), Progress::kDone);
  ASSERT_EQ(out.batches.size(), 2U);
  EXPECT_EQ(KindsIn(out.batches[1]), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(Fold(out.batches), (std::map<int64_t, std::string>{{1, "2 15"}}));
}

TEST(Retract, AnUpdateThatMovesARowChangesBothGroups) {
  Decoded op;
  Collect out;
  Expect(op.process(BatchOf({Of(1, kInsert, 5), Of(1, kInsert, 6)}), out), Progress::kDone);
  Expect(op.process(BatchOf({Of(1, kBefore, 5), Of(2, kAfter, 5)}), out), Progress::kDone);
  EXPECT_EQ(KindsIn(out.batches[1]), (std::vector<int64_t>{1, 2, 0}));
  Expect(op.process(BatchOf({Of(2, kBefore, 5), Of(-1, kAfter, 5)}), out), Progress::kDone);
  EXPECT_EQ(KindsIn(out.batches[2]), (std::vector<int64_t>{3, 0}));
  EXPECT_EQ(Fold(out.batches), (std::map<int64_t, std::string>{{1, "1 6"}, {-1, "1 5"}}));
}

TEST(Retract, ASumOfNullsIsNullAgain) {
  Decoded op;
  Collect out;
  Expect(op.process(BatchOf({Of(1, kInsert, 100), Of(1, kInsert, 5)}), out), Progress::kDone);
  Expect(op.process(BatchOf({Of(1, kDelete, 5)}), out), Progress::kDone);
  EXPECT_EQ(Fold(out.batches), (std::map<int64_t, std::string>{{1, "1 null"}}));
}

TEST(Retract, WhatComesAndGoesInOneBatchIsNotGiven) {
  Decoded op;
  Collect out;
  Expect(op.process(BatchOf({Of(1, kInsert, 5), Of(1, kDelete, 5)}), out), Progress::kDone);
  EXPECT_TRUE(out.batches.empty());
  EXPECT_TRUE(op.snapshot(true).ValueOrDie().empty());
}

TEST(Retract, WhatIsNotThereIsAnErrorWithTheKey) {
  Decoded op;
  Collect out;
  Expect(op.process(BatchOf({Of(1, kInsert, 5)}), out), Progress::kDone);
  const auto gone = op.process(BatchOf({Of(7, kDelete, 5)}), out);
  EXPECT_EQ(NameOf(gone.status()), "DataError");
  EXPECT_NE(MessageOf(gone.status()).find("k=7"), std::string::npos) << gone.status();
  Decoded other;
  Expect(other.process(BatchOf({Of(1, kInsert, 100)}), out), Progress::kDone);
  const auto value = other.process(BatchOf({Of(1, kBefore, 3), Of(1, kAfter, 100)}), out);
  EXPECT_EQ(NameOf(value.status()), "DataError");
  EXPECT_NE(MessageOf(value.status()).find("k=1"), std::string::npos) << value.status();
}

// A group that has died is in no later state, and its memory is used again.
TEST(Retract, GroupsThatDiedAreNotRestored) {
  Decoded op;
  Collect out;
  std::vector<StateRows> chain;
  const int64_t before = op.state_bytes();
  for (int64_t i = 0; i < 2'000; ++i) {
    Expect(op.process(BatchOf({Of(i, kInsert, i % 50), Of(i + 1, kInsert, 1)}), out), Progress::kDone);
    if (i % 3 == 0) chain.push_back(op.snapshot(false).ValueOrDie());
    Expect(op.process(BatchOf({Of(i, kDelete, i % 50), Of(i + 1, kDelete, 1)}), out), Progress::kDone);
    if (i % 2 == 0) chain.push_back(op.snapshot(false).ValueOrDie());
    if (i % 500 == 8) {
      const auto again = Restored([] { return std::make_unique<Decoded>(); }, chain);
      EXPECT_TRUE(again->snapshot(true).ValueOrDie().empty());
    }
  }
  EXPECT_LT(op.state_bytes(), before + (256 << 10));
  EXPECT_TRUE(op.snapshot(true).ValueOrDie().empty());
  EXPECT_TRUE(Fold(out.batches).empty());
}

TEST(Retract, RefusesStateThatIsDamaged) {
  Decoded op;
  Collect out;
  Expect(op.process(BatchOf({Of(1, kInsert, 5)}), out), Progress::kDone);
  const auto good = op.snapshot(true).ValueOrDie().front();
  EXPECT_TRUE(Bare()->restore(good).ok());
  const auto with = [&](const std::string& name, const std::shared_ptr<arrow::Array>& column) {
    const int place = good->schema()->GetFieldIndex(name);
    return good->SetColumn(place, good->schema()->field(place), column).ValueOrDie();
  };
  const auto number = [](auto scalar) { return arrow::MakeArrayFromScalar(scalar, 1).ValueOrDie(); };
  for (const auto& [name, column] : std::vector<std::pair<std::string, std::shared_ptr<arrow::Array>>>{
           {"rows", number(arrow::Int64Scalar(0))},
           {"rows", number(arrow::Int64Scalar(-4))},
           {"rows", arrow::MakeArrayOfNull(arrow::int64(), 1).ValueOrDie()},
           {"end", number(arrow::Int64Scalar(4))},
           {"a0", arrow::MakeArrayOfNull(good->schema()->GetFieldByName("a0")->type(), 1).ValueOrDie()},
           {"what", number(arrow::Int8Scalar(3))}}) {
    EXPECT_EQ(KindOf(Bare()->restore(with(name, column))), ErrorKind::kState) << name;
  }
  EXPECT_TRUE(Bare()->restore(with("what", number(arrow::Int8Scalar(2)))).ok());
}

// Rows that come, change, move and go; state that is saved meanwhile, some rows at a time; deaths.
TEST(Retract, DrawnRunsEndAsTheModel) {
  int deletes = 0;
  for (uint32_t seed = 0; seed < 300; ++seed) {
    std::mt19937 rng(seed);
    const auto keys = static_cast<int64_t>(2 + rng() % 6);
    const size_t most = 1 + rng() % 12;
    std::vector<Row> rows;
    std::multiset<std::pair<int64_t, int64_t>> left;
    const auto draw = [&] {
      const int64_t value = rng() % 4 == 0 ? 100 : static_cast<int64_t>(rng() % 20);
      return std::pair{static_cast<int64_t>(rng()) % keys - 1, value};
    };
    for (int64_t at = 0; at < 150; ++at) {
      const bool goes = !left.empty() && (left.size() >= most || rng() % 3 == 0);
      auto old = left.begin();
      if (!left.empty()) std::advance(old, rng() % left.size());
      if (goes) {
        rows.push_back({old->first, at, Coded(kDelete, old->second)});
        left.erase(old);
        continue;
      }
      const auto made = draw();
      if (!left.empty() && rng() % 2 == 0) {
        rows.push_back({old->first, at, Coded(kBefore, old->second)});
        rows.push_back({made.first, at, Coded(kAfter, made.second)});
        left.erase(old);
      } else {
        rows.push_back({made.first, at, Coded(kInsert, made.second)});
      }
      left.insert(made);
    }
    std::map<int64_t, std::string> model;
    for (int64_t key = -1; key < keys; ++key) {
      int64_t count = 0, total = 0, values = 0;
      for (const auto& [k, value] : left) {
        if (k != key) continue;
        ++count;
        if (value == 100) continue;
        total += value;
        ++values;
      }
      if (count > 0) model[key] = std::to_string(count) + " " + (values > 0 ? std::to_string(total) : "null");
    }
    const auto given = RunDrawn([] { return std::make_unique<Decoded>(); }, rows, &rng, 4);
    ASSERT_EQ(Fold(given, &deletes), model) << seed;
  }
  EXPECT_GT(deletes, 1'000);
}

}  // namespace
}  // namespace frazil
