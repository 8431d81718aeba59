#include "run/stage.h"

#include <arrow/api.h>
#include <arrow/ipc/writer.h>
#include <arrow/util/base64.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "run/splitter.h"
#include "run/token_rows.h"

namespace frazil {
namespace {

using nlohmann::json;
using Ids = std::vector<int64_t>;

constexpr int64_t kCredit = 64;  // bytes: less than ten rows

Batch Rows(const Ids& ids) {
  arrow::Int64Builder builder;
  EXPECT_TRUE(builder.AppendValues(ids).ok());
  return Batch{arrow::RecordBatch::Make(arrow::schema({arrow::field("id", arrow::int64())}),
                                        static_cast<int64_t>(ids.size()), {builder.Finish().ValueOrDie()}),
               {}};
}

Ids IdsOf(const arrow::RecordBatch& batch) {
  const auto& column = static_cast<const arrow::Int64Array&>(*batch.column(0));
  return {column.raw_values(), column.raw_values() + column.length()};
}

Ids Range(int64_t begin, int64_t end) {
  Ids ids;
  for (int64_t id = begin; id < end; ++id) ids.push_back(id);
  return ids;
}

Ids IdsOf(const arrow::Future<Token>& token) {
  const auto rows = TokenRows(token.result().ValueOrDie()).ValueOrDie();
  return rows == nullptr ? Ids{} : IdsOf(**rows->CombineChunksToBatch());
}

// source -> exchange -> function -> exchange -> memory: the function is stage 1, the sink stage 2.
Plan TwoExchanges() {
  const auto schema = arrow::util::base64_encode(
      arrow::ipc::SerializeSchema(*Rows({}).columns->schema()).ValueOrDie()->ToString());
  const json plan = {{"v", 1},
                     {"pipeline", "p"},
                     {"nodes",
                      {{{"id", "s"},
                        {"kind", "source"},
                        {"name", "s"},
                        {"connector", "generator"},
                        {"options", json::object()},
                        {"format", nullptr},
                        {"schema", schema},
                        {"on_bad_row", "fail"}},
                       {{"id", "x"}, {"kind", "exchange"}, {"input", {"s", "rows"}}, {"keys", {"id"}}},
                       {{"id", "f"},
                        {"kind", "map_batches"},
                        {"input", {"x", "rows"}},
                        {"function", "test:function"},
                        {"schema", schema}},
                       {{"id", "y"}, {"kind", "exchange"}, {"input", {"f", "rows"}}, {"keys", {"id"}}},
                       {{"id", "w"},
                        {"kind", "sink"},
                        {"name", "w"},
                        {"connector", "memory"},
                        {"input", {"y", "rows"}},
                        {"options", json::object()}}}}};
  return ParsePlan(plan.dump()).ValueOrDie();
}

// One stage of the plan alone, fed and emptied by the test.
class StageTest : public testing::Test {
 protected:
  static constexpr int kFunction = 2, kExchange = 3, kSink = 4;

  void Open(int number, int inputs) {
    context_.workers = inputs;
    context_.first_epoch = 1;
    context_.decode_pool = context_.operator_pool = context_.sink_pool = arrow::default_memory_pool();
    context_.functions = &functions_;
    context_.waker = &waker_;
    stage_ = Stage::Make(plan_, CutStages(plan_), number, context_).ValueOrDie();
    for (int i = 0; i < inputs; ++i) {
      in_.push_back(std::make_unique<Channel>(Channel::Address{0, 0, i, 0}, 1 << 20, &waker_, &waker_));
      stage_->receive_from(in_.back().get(), number == 1 ? kFunction : kSink, 0);
    }
    if (number == 1) stage_->node(kExchange)->feed(std::vector<Channel*>{&out_});
    stage_->finish_wiring();
  }

  // Puts a splitter in the function's place.
  Splitter* Split(int64_t rows) {
    auto splitter = std::make_unique<Splitter>(rows);
    Splitter* const kept = splitter.get();
    stage_->node(kFunction)->set(std::move(splitter));
    return kept;
  }

  bool Cut(EpochPart* part) { return stage_->cut(part).ValueOrDie(); }

  // Takes the frames that wait behind the stage: rows' ids, a barrier as minus its epoch, an end as -1000.
  Ids Drain() {
    Ids seen;
    while (auto frame = out_.receive()) {
      if (frame->kind == FrameKind::kBarrier) seen.push_back(-frame->epoch);
      if (frame->kind == FrameKind::kEnd) seen.push_back(-1000);
      if (frame->kind != FrameKind::kBatch) continue;
      const Ids more = IdsOf(*frame->batch.columns);
      seen.insert(seen.end(), more.begin(), more.end());
    }
    return seen;
  }

  const Plan plan_ = TwoExchanges();
  const FunctionTable functions_ = {{"test:function", [](const auto& batch) { return batch; }}};
  Waker waker_;
  WorkerContext context_;
  Channel out_{{0, 1, 0, 0}, kCredit, &waker_, &waker_};
  std::vector<std::unique_ptr<Channel>> in_;
  std::unique_ptr<Stage> stage_;
};

TEST_F(StageTest, ResumesAnOperatorThatStoppedBeforeTheEpochIsCut) {
  Open(1, 1);
  const Splitter* splitter = Split(3);
  in_[0]->send(Rows(Range(0, 100)));
  in_[0]->send_barrier(1);
  ASSERT_TRUE(stage_->receive(0).ok());
  EXPECT_TRUE(stage_->unfinished());
  EXPECT_FALSE(stage_->has_credit());
  ASSERT_TRUE(stage_->can_receive(0));
  ASSERT_TRUE(stage_->receive(0).ok());  // the barrier
  EpochPart part;
  Ids seen;
  int resumed = 0;
  while (stage_->unfinished()) {
    EXPECT_FALSE(Cut(&part)) << "rows of the epoch are still to come";
    EXPECT_TRUE(stage_->end_if_drained().ok());
    EXPECT_FALSE(stage_->ended());
    const Ids more = Drain();
    seen.insert(seen.end(), more.begin(), more.end());
    ASSERT_TRUE(stage_->has_credit());
    ASSERT_TRUE(stage_->resume().ok());
    ++resumed;
  }
  EXPECT_GT(resumed, 5);
  EXPECT_EQ(splitter->stops(), resumed);
  EXPECT_TRUE(Cut(&part));
  EXPECT_EQ(part.epoch, 1);
  EXPECT_FALSE(Cut(&part));
  const Ids rest = Drain();
  seen.insert(seen.end(), rest.begin(), rest.end());
  Ids expected = Range(0, 100);
  expected.push_back(-1);
  EXPECT_EQ(seen, expected);
}

TEST_F(StageTest, KeepsInputWaitingBehindAnOperatorThatStopped) {
  Open(1, 2);
  Split(3);
  in_[0]->send(Rows(Range(0, 40)));
  in_[1]->send(Rows(Range(40, 50)));
  in_[0]->send(Rows(Range(50, 90)));
  ASSERT_TRUE(stage_->receive(0).ok());
  ASSERT_TRUE(stage_->receive(1).ok());
  ASSERT_TRUE(stage_->receive(0).ok());
  Ids seen = Drain();
  EXPECT_LT(seen.size(), 40u);
  for (int resumed = 0; stage_->unfinished(); ++resumed) {
    ASSERT_LT(resumed, 100);
    ASSERT_TRUE(stage_->resume().ok());
    const Ids more = Drain();
    seen.insert(seen.end(), more.begin(), more.end());
  }
  EXPECT_EQ(seen, Range(0, 90));
  EXPECT_EQ(stage_->node(kFunction)->rows_in(), 90);
  EXPECT_EQ(stage_->node(kFunction)->rows_out(), 90);
}

TEST_F(StageTest, TakesNothingMoreOfAnInputThatHasDeliveredTheBarrier) {
  Open(2, 3);
  for (int i = 0; i < 3; ++i) {
    in_[static_cast<size_t>(i)]->send(Rows({10 * i}));
    in_[static_cast<size_t>(i)]->send_barrier(1);
    in_[static_cast<size_t>(i)]->send(Rows({10 * i + 1}));
    in_[static_cast<size_t>(i)]->send_barrier(2);
  }
  EpochPart first;
  for (const int input : {1, 0, 2}) {
    EXPECT_FALSE(Cut(&first));
    ASSERT_TRUE(stage_->receive(input).ok());
    EXPECT_TRUE(stage_->can_receive(input));
    ASSERT_TRUE(stage_->receive(input).ok());
    EXPECT_TRUE(stage_->aligning());
    EXPECT_FALSE(stage_->can_receive(input)) << "rows of the next epoch wait in it";
  }
  ASSERT_TRUE(Cut(&first));
  EXPECT_FALSE(stage_->aligning());
  EXPECT_EQ(first.epoch, 1);
  ASSERT_EQ(first.tokens.size(), 1u);
  EXPECT_EQ(IdsOf(first.tokens[0].token), (Ids{10, 0, 20}));

  EpochPart second;
  for (const int input : {2, 1, 0}) {
    ASSERT_TRUE(stage_->can_receive(input));
    ASSERT_TRUE(stage_->receive(input).ok());
    ASSERT_TRUE(stage_->receive(input).ok());
  }
  ASSERT_TRUE(Cut(&second));
  EXPECT_EQ(second.epoch, 2);
  EXPECT_EQ(IdsOf(second.tokens[0].token), (Ids{21, 11, 1}));
}

TEST_F(StageTest, AnInputThatHasEndedStillTakesPartInTheAlignment) {
  Open(2, 2);
  in_[0]->send(Rows({1}));
  in_[0]->send_end();
  in_[0]->send_barrier(1);
  in_[1]->send(Rows({2}));
  for (int frame = 0; frame < 3; ++frame) ASSERT_TRUE(stage_->receive(0).ok());
  EpochPart part;
  EXPECT_FALSE(Cut(&part)) << "the other input has not delivered its barrier";
  ASSERT_TRUE(stage_->receive(1).ok());
  in_[1]->send_end();
  in_[1]->send_barrier(1);
  ASSERT_TRUE(stage_->receive(1).ok());
  EXPECT_FALSE(Cut(&part));
  ASSERT_TRUE(stage_->end_if_drained().ok());
  EXPECT_FALSE(stage_->ended()) << "the epoch comes first";
  ASSERT_TRUE(stage_->receive(1).ok());
  ASSERT_TRUE(Cut(&part));
  EXPECT_EQ(IdsOf(part.tokens[0].token), (Ids{1, 2}));
  ASSERT_TRUE(stage_->end_if_drained().ok());
  EXPECT_TRUE(stage_->ended());

  // Epochs go on after the end, without rows.
  in_[0]->send_barrier(2);
  in_[1]->send_barrier(2);
  EpochPart empty;
  ASSERT_TRUE(stage_->receive(0).ok());
  ASSERT_TRUE(stage_->receive(1).ok());
  ASSERT_TRUE(Cut(&empty));
  EXPECT_EQ(empty.epoch, 2);
  EXPECT_EQ(IdsOf(empty.tokens[0].token), Ids{});
}

TEST_F(StageTest, PassesOnTheEndBehindTheLastRowAndBarriersAfterIt) {
  Open(1, 2);
  Split(3);
  in_[0]->send(Rows(Range(0, 40)));
  in_[0]->send_end();
  in_[1]->send_end();
  in_[0]->send_barrier(1);
  in_[1]->send_barrier(1);
  Ids seen;
  EpochPart part;
  for (int steps = 0; steps < 100 && !Cut(&part); ++steps) {
    if (stage_->unfinished()) {
      ASSERT_TRUE(stage_->resume().ok());
    } else if (stage_->can_receive(0)) {
      ASSERT_TRUE(stage_->receive(0).ok());
    } else if (stage_->can_receive(1)) {
      ASSERT_TRUE(stage_->receive(1).ok());
    }
    ASSERT_TRUE(stage_->end_if_drained().ok());
    const Ids more = Drain();
    seen.insert(seen.end(), more.begin(), more.end());
  }
  ASSERT_TRUE(stage_->end_if_drained().ok());
  const Ids rest = Drain();
  seen.insert(seen.end(), rest.begin(), rest.end());
  Ids expected = Range(0, 40);
  expected.insert(expected.end(), {-1, -1000});  // the barrier came before the other input's end was taken
  EXPECT_EQ(seen, expected);
}

}  // namespace
}  // namespace frazil
