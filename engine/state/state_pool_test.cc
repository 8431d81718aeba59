#include "state/state_pool.h"

#include <arrow/api.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "state/held_rows.h"
#include "state/table.h"

namespace frazil {
namespace {

struct Spilling {
  explicit Spilling(int64_t memory_bytes, int64_t spill_bytes = 1 << 30)
      : space({std::filesystem::temp_directory_path().string(), spill_bytes, 1 << 20}),
        budget(memory_bytes),
        pool(&budget, arrow::system_memory_pool(), &space) {}
  SpillSpace space;
  MemoryBudget budget;
  StatePool pool;
};

TEST(StatePool, SpillsWhenHalfOfTheBudgetIsUsed) {
  Spilling with(1 << 20);
  uint8_t *first = nullptr, *second = nullptr, *small = nullptr;
  ASSERT_TRUE(with.pool.Allocate(400 << 10, &first).ok());
  EXPECT_EQ(with.pool.spilled_bytes(), 0);
  ASSERT_TRUE(with.pool.Allocate(200 << 10, &second).ok());
  EXPECT_EQ(with.pool.spilled_bytes(), 200 << 10);
  EXPECT_EQ(with.pool.bytes_allocated(), 400 << 10);
  with.pool.Free(first, 400 << 10);
  ASSERT_TRUE(with.pool.Allocate(StatePool::kSpillBytesMin - 1, &small).ok());
  EXPECT_EQ(with.budget.used(), StatePool::kSpillBytesMin - 1);
  with.pool.Free(second, 200 << 10);
  with.pool.Free(small, StatePool::kSpillBytesMin - 1);
  EXPECT_EQ(with.pool.spilled_bytes(), 0);
  EXPECT_EQ(with.budget.used(), 0);
}

// Sizes that are drawn, so that pieces move between memory and the spill space in both directions.
TEST(StatePool, ReallocateKeepsTheBytes) {
  Spilling with(256 << 10);
  std::mt19937_64 random(3);
  struct Piece {
    uint8_t* data = nullptr;
    int64_t size = 0;
    uint8_t fill = 0;
  };
  std::vector<Piece> pieces(30);
  bool spilled = false;
  for (int step = 0; step < 5000; ++step) {
    Piece& piece = pieces[random() % pieces.size()];
    const auto size = static_cast<int64_t>(1 + random() % (16 << 10));
    if (piece.data == nullptr) {
      ASSERT_TRUE(with.pool.Allocate(size, &piece.data).ok());
    } else {
      ASSERT_TRUE(with.pool.Reallocate(piece.size, size, &piece.data).ok());
      for (int64_t i = 0; i < std::min(size, piece.size); ++i) ASSERT_EQ(piece.data[i], piece.fill);
    }
    piece.size = size;
    piece.fill = static_cast<uint8_t>(random());
    std::memset(piece.data, piece.fill, static_cast<size_t>(size));
    if (random() % 4 == 0) {
      with.pool.Free(piece.data, piece.size);
      piece.data = nullptr;
    }
    spilled = spilled || with.pool.spilled_bytes() > 0;
  }
  for (Piece& piece : pieces) {
    if (piece.data != nullptr) with.pool.Free(piece.data, piece.size);
  }
  EXPECT_TRUE(spilled);
  EXPECT_EQ(with.pool.spilled_bytes(), 0);
  EXPECT_EQ(with.space.bytes(), 0);
  EXPECT_EQ(with.budget.used(), 0);
}

TEST(StatePool, UsesMemoryAndThenNamesBothLimits) {
  Spilling with(1 << 20, /*spill_bytes=*/64 << 10);
  std::vector<uint8_t*> pieces;
  arrow::Status status;
  for (uint8_t* piece = nullptr; (status = with.pool.Allocate(64 << 10, &piece)).ok();) {
    pieces.push_back(piece);
  }
  EXPECT_EQ(pieces.size(), 17u);
  EXPECT_NE(status.message().find("raise memory_limit="), std::string::npos) << status.ToString();
  EXPECT_NE(status.message().find("spill_limit= of 65536 bytes is reached"), std::string::npos);
  EXPECT_EQ(KindOf(status), ErrorKind::kUser);
  for (uint8_t* piece : pieces) with.pool.Free(piece, 64 << 10);
}

// A table whose rows are mostly on disk gives what one in memory gives.
TEST(StatePool, HoldsATable) {
  Spilling with(1 << 20);
  auto table = StateTable::Make({.payload_bytes = 8, .track_changes = true}, &with.pool).ValueOrDie();
  const KeyCodec codec = KeyCodec::Make({arrow::int64()}).ValueOrDie();
  constexpr int64_t kKeys = 100'000;
  for (int64_t round = 0; round < 2; ++round) {
    for (int64_t from = 0; from < kKeys; from += 1000) {
      arrow::Int64Builder builder;
      for (int64_t i = from; i < from + 1000; ++i) ASSERT_TRUE(builder.Append(i * 7919 % kKeys).ok());
      EncodedKeys keys(arrow::default_memory_pool());
      ASSERT_TRUE(codec.encode({builder.Finish().ValueOrDie()}, 1000, &keys).ok());
      std::vector<std::byte*> payloads(1000);
      std::vector<uint8_t> inserted(1000);
      ASSERT_TRUE(table->probe(keys, payloads, inserted).ok());
      for (size_t i = 0; i < payloads.size(); ++i) {
        ASSERT_EQ(inserted[i], round == 0);
        const int64_t expected = from + static_cast<int64_t>(i);
        int64_t kept = 0;
        std::memcpy(&kept, payloads[i], sizeof kept);
        if (round == 1) ASSERT_EQ(kept, expected);
        std::memcpy(payloads[i], &expected, sizeof expected);
      }
      with.space.trim();
    }
  }
  EXPECT_EQ(table->size(), kKeys);
  EXPECT_GT(with.pool.spilled_bytes(), 2 << 20);
  EXPECT_LE(with.budget.used(), 600 << 10);
  table.reset();
  EXPECT_EQ(with.pool.spilled_bytes(), 0);
}

// Rows that others allocated are copied where there is room for them.
TEST(StatePool, HeldRowsMoveToIt) {
  Spilling with(64 << 10);
  AccountedPool batches("operator", &with.budget, arrow::system_memory_pool());
  const auto schema = arrow::schema({arrow::field("n", arrow::int64(), false)});
  HeldRows held(schema, &with.pool);
  std::vector<HeldRow> rows;
  for (int64_t block = 0; block < 20; ++block) {
    arrow::Int64Builder builder(&batches);
    for (int64_t i = 0; i < 1000; ++i) ASSERT_TRUE(builder.Append(block * 1000 + i).ok());
    auto batch = arrow::RecordBatch::Make(schema, 1000, {builder.Finish().ValueOrDie()});
    const uint32_t number = held.add(std::move(batch)).ValueOrDie();
    for (uint32_t i = 0; i < 1000; ++i) rows.push_back({number, i});
  }
  EXPECT_LE(with.budget.used(), 48 << 10);
  EXPECT_GE(with.pool.spilled_bytes(), 100 << 10);
  const auto gathered = held.gather(rows).ValueOrDie();
  const auto& values = static_cast<const arrow::Int64Array&>(*gathered->column(0));
  for (int64_t i = 0; i < values.length(); ++i) ASSERT_EQ(values.Value(i), i);
}

}  // namespace
}  // namespace frazil
