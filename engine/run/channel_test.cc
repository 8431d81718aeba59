#include "run/channel.h"

#include <arrow/api.h>
#include <gtest/gtest.h>

namespace frazil {
namespace {

Batch Rows(int64_t count) {
  arrow::Int64Builder builder;
  for (int64_t i = 0; i < count; ++i) EXPECT_TRUE(builder.Append(i).ok());
  auto array = *builder.Finish();
  return Batch{arrow::RecordBatch::Make(arrow::schema({arrow::field("x", arrow::int64())}), count, {array}),
               {}};
}

TEST(Channel, GivesFramesInOrderWithNumbers) {
  Waker sender, receiver;
  Channel channel({7, 1, 0, 1}, 1 << 20, &sender, &receiver);
  channel.send(Rows(3));
  channel.send_barrier(5);
  channel.send_end();
  auto batch = channel.receive();
  ASSERT_TRUE(batch.has_value());
  EXPECT_EQ(batch->kind, FrameKind::kBatch);
  EXPECT_EQ(batch->batch.rows(), 3);
  EXPECT_EQ(batch->attempt, 7);
  auto barrier = channel.receive();
  EXPECT_EQ(barrier->kind, FrameKind::kBarrier);
  EXPECT_EQ(barrier->epoch, 5);
  EXPECT_EQ(barrier->sequence, 1);
  EXPECT_EQ(channel.receive()->kind, FrameKind::kEnd);
  EXPECT_FALSE(channel.receive().has_value());
}

TEST(Channel, CreditGoesWithBytesAndComesBack) {
  Waker sender, receiver;
  Channel channel({0, 0, 0, 0}, 64, &sender, &receiver);
  EXPECT_TRUE(channel.has_credit());
  channel.send(Rows(100));
  EXPECT_FALSE(channel.has_credit());
  channel.send_barrier(1);  // needs none
  EXPECT_GT(channel.bytes(), 64);
  (void)channel.receive();
  EXPECT_TRUE(channel.has_credit());
  EXPECT_EQ(channel.bytes(), 0);
}

}  // namespace
}  // namespace frazil
