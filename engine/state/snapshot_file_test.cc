#include "state/snapshot_file.h"

#include <arrow/api.h>
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "base/memory.h"

namespace frazil {
namespace {

arrow::MemoryPool* Pool() { return arrow::default_memory_pool(); }

std::shared_ptr<arrow::Schema> StateSchema() {
  return arrow::schema({arrow::field("hash", arrow::uint64()), arrow::field("user", arrow::utf8()),
                        arrow::field("window", arrow::timestamp(arrow::TimeUnit::MICRO, "UTC")),
                        arrow::field("count", arrow::fixed_size_binary(8)),
                        arrow::field("seen", arrow::list(arrow::int32()))});
}

uint64_t HashInGroup(int group) { return static_cast<uint64_t>(group) << 54 | 12345; }

// One row for each group; -1 is a row without a hash.
std::shared_ptr<arrow::RecordBatch> Rows(const std::vector<int>& groups) {
  auto builder = *arrow::RecordBatchBuilder::Make(StateSchema(), Pool());
  auto* hash = builder->GetFieldAs<arrow::UInt64Builder>(0);
  auto* seen = builder->GetFieldAs<arrow::ListBuilder>(4);
  auto* value = static_cast<arrow::Int32Builder*>(seen->value_builder());
  for (const int group : groups) {
    EXPECT_TRUE((group < 0 ? hash->AppendNull() : hash->Append(HashInGroup(group))).ok());
    EXPECT_TRUE(builder->GetFieldAs<arrow::StringBuilder>(1)->Append("user-" + std::to_string(group)).ok());
    EXPECT_TRUE(builder->GetFieldAs<arrow::TimestampBuilder>(2)->Append(group * int64_t{60'000'000}).ok());
    EXPECT_TRUE(builder->GetFieldAs<arrow::FixedSizeBinaryBuilder>(3)->Append("12345678").ok());
    EXPECT_TRUE(seen->Append().ok());
    EXPECT_TRUE(value->Append(group).ok());
  }
  return *builder->Flush();
}

const StateFileHeader kHeader{"window_aggregate:orders", 3, 42, false};

WrittenStateFile Written(const arrow::RecordBatchVector& batches) {
  auto written = WriteStateFile(kHeader, StateSchema(), batches, Pool());
  EXPECT_TRUE(written.ok()) << written.status();
  return *written;
}

Result<StateFile> Read(const std::string& bytes, int first = 0, int last = kKeyGroups - 1) {
  return ReadStateFile("state/7.fzs", arrow::Buffer::FromString(bytes), "", first, last, Pool());
}

std::string MessageOfReading(const std::string& bytes) {
  const auto status = Read(bytes).status();
  EXPECT_EQ(KindOf(status), ErrorKind::kState) << status;
  const std::string message = MessageOf(status);
  EXPECT_EQ(message.find("reading state file state/7.fzs: "), 0u) << message;
  return message;
}

TEST(StateFile, WhatIsWrittenIsRead) {
  const arrow::RecordBatchVector batches = {Rows({5, 900, -1}), Rows({}), Rows({77})->Slice(0, 1)};
  const auto written = Written(batches);
  EXPECT_EQ(written.digest.size(), 32u);
  EXPECT_EQ(written.bytes->ToString(), Written(batches).bytes->ToString());
  auto read = ReadStateFile("a", written.bytes, written.digest, 0, kKeyGroups - 1, Pool());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->header.operator_id, "window_aggregate:orders");
  EXPECT_EQ(read->header.worker, 3);
  EXPECT_EQ(read->header.epoch, 42);
  EXPECT_FALSE(read->header.full);
  EXPECT_EQ(read->header.rows, 4);
  EXPECT_EQ(read->header.first_group, 5);
  EXPECT_EQ(read->header.last_group, 900);
  EXPECT_TRUE(read->schema->Equals(*StateSchema()));
  ASSERT_EQ(read->batches.size(), 2u);
  EXPECT_TRUE(read->batches[0]->Equals(*batches[0]));
  EXPECT_TRUE(read->batches[1]->Equals(*batches[2]));
}

// A file that version 1 wrote. It must be read for ever.
TEST(StateFile, VersionOneIsRead) {
  constexpr std::string_view kFile =
      "465a53544154450a0100000068000000c0020000000000007b2231223a2277696e646f7773222c223130223a3730302c223222"
      "3a312c2233223a31322c2234223a2266756c6c222c2235223a312c2236223a312c2237223a313032342c2238223a322c223922"
      "3a3730307d202020202020202020202020202020202020202020ffffffffa80000001000000000000a000c000600050008000a"
      "000000000104000c00000008000800000004000800000004000000020000004400000004000000d4ffffff0000010510000000"
      "1c00000004000000000000000400000075736572000000000400040004000000100014000800060007000c0000001000100000"
      "0000000102100000001c000000040000000000000004000000686173680000060008000400060000004000000000000000ffff"
      "ffffe000000014000000000000000c0018000600050008000c000c000000000304001c0000009000000000000000000000000c"
      "001e001000040008000c000c000000800000002400000018000000020000000000000000000000000006000800070006000000"
      "000000010500000000000000000000001200000000000000180000000000000021000000000000004000000000000000120000"
      "000000000058000000000000001d00000000000000780000000000000014000000000000000000000002000000020000000000"
      "0000010000000000000002000000000000000100000000000000010000000000000028b52ffd20010900000100000000000010"
      "0000000000000028b52ffd201081000000000000000000af000000000000000000000000000000010000000000000028b52ffd"
      "2001090000010000000000000c0000000000000028b52ffd200c61000000000000030000000300000000000003000000000000"
      "0028b52ffd200319000061646100000000ffffffff0000000073c1f977c7fe0305159ba4e0ce057862";
  std::string bytes;
  for (size_t i = 0; i < kFile.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(std::string(kFile.substr(i, 2)), nullptr, 16));
  }
  const auto read = ReadStateFile("old", arrow::Buffer::FromString(bytes), "73c1f977c7fe0305159ba4e0ce057862",
                                  0, kKeyGroups - 1, Pool());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->header.operator_id, "windows");
  EXPECT_EQ(read->header.worker, 1);
  EXPECT_EQ(read->header.epoch, 12);
  EXPECT_TRUE(read->header.full);
  EXPECT_EQ(read->header.first_group, 700);
  ASSERT_EQ(read->batches.size(), 1u);
  EXPECT_EQ(static_cast<const arrow::UInt64Array&>(*read->batches[0]->column(0)).Value(0),
            uint64_t{700} << 54);
  EXPECT_TRUE(read->batches[0]->column(0)->IsNull(1));
  EXPECT_EQ(static_cast<const arrow::StringArray&>(*read->batches[0]->column(1)).GetString(0), "ada");
}

TEST(StateFile, OnlyTheGroupsAskedFor) {
  const std::string bytes = Written({Rows({5, 900, -1, 6}), Rows({7}), Rows({900})}).bytes->ToString();
  const auto users = [&](int first, int last) {
    std::vector<std::string> names;
    const auto read = Read(bytes, first, last);
    EXPECT_TRUE(read.ok()) << read.status();
    for (const auto& batch : read->batches) {
      EXPECT_TRUE(batch->ValidateFull().ok());
      for (int64_t i = 0; i < batch->num_rows(); ++i) {
        names.push_back(static_cast<const arrow::StringArray&>(*batch->column(1)).GetString(i));
      }
    }
    return names;
  };
  EXPECT_EQ(users(0, 1023).size(), 6u);
  EXPECT_EQ(users(6, 899), (std::vector<std::string>{"user--1", "user-6", "user-7"}));
  EXPECT_EQ(users(900, 900), (std::vector<std::string>{"user-900", "user--1", "user-900"}));
  EXPECT_EQ(users(1, 0), std::vector<std::string>{"user--1"});
}

TEST(StateFile, NoRows) {
  const auto read = Read(Written({}).bytes->ToString());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_TRUE(read->batches.empty());
  EXPECT_EQ(read->header.first_group, -1);
}

TEST(StateFile, ErrorsSayWhatIsWrong) {
  const std::string good = Written({Rows({5, 900})}).bytes->ToString();
  const auto with = [&](size_t at, const std::string& bytes, bool seal) {
    std::string changed = good;
    changed.replace(at, bytes.size(), bytes);
    if (seal) SealStateFile(&changed);
    return MessageOfReading(changed);
  };
  EXPECT_NE(MessageOfReading("").find("0 bytes"), std::string::npos);
  EXPECT_NE(with(0, "PAR1", true).find("does not begin"), std::string::npos);
  EXPECT_NE(with(8, "\2", true).find("version 2, and this Frazil reads up to 1"), std::string::npos);
  EXPECT_NE(with(8, std::string(1, '\0'), true).find("version is 0"), std::string::npos);
  EXPECT_NE(with(12, "\xff\xff", true).find("does not fit"), std::string::npos);
  EXPECT_NE(with(good.size() - 100, "~", false).find("checksum"), std::string::npos);
  EXPECT_NE(with(24, "[", true).find("no JSON"), std::string::npos);
  EXPECT_NE(MessageOfReading(good.substr(0, good.size() - 1)).find("should have"), std::string::npos);
  std::string longer = good + "1234567890123456";
  SealStateFile(&longer);
  EXPECT_NE(MessageOfReading(longer).find("follow its rows"), std::string::npos);
  const auto header = [&](const std::string& from, const std::string& to) {
    return with(good.find(from), to, true);
  };
  EXPECT_NE(header("\"5\":1", "\"5\":2").find("encoding of keys is 2"), std::string::npos);
  EXPECT_NE(header("\"6\":1", "\"6\":3").find("hash of keys is 3"), std::string::npos);
  EXPECT_NE(header("\"8\":2", "\"8\":3").find("2 rows"), std::string::npos);
  EXPECT_NE(header("\"9\":5", "\"9\":4").find("groups 5 to 900"), std::string::npos);
  EXPECT_NE(header("\"2\":3", "\"2\":x").find("no JSON"), std::string::npos);
  EXPECT_NE(header("delta", "dolta").find("dolta"), std::string::npos);
  const auto other =
      ReadStateFile("b", arrow::Buffer::FromString(good), std::string(32, '0'), 0, 1023, Pool());
  EXPECT_NE(MessageOf(other.status()).find("the checkpoint says 0000"), std::string::npos);
}

// Every single byte may be wrong, and the file may end anywhere.
TEST(StateFile, EveryDamageIsRefused) {
  const std::string good = Written({Rows({5, 900, -1}), Rows({77})}).bytes->ToString();
  for (size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    bad[at] ^= static_cast<char>(1u << at % 8);
    ASSERT_FALSE(Read(bad).ok()) << at;
    ASSERT_EQ(KindOf(Read(bad).status()), ErrorKind::kState) << at;
    ASSERT_FALSE(Read(good.substr(0, at)).ok()) << at;
  }
}

// With the checksum put right again what is behind it is on its own: errors and no crash, or whole batches.
TEST(StateFile, DamageBehindTheChecksum) {
  const std::string good = Written({Rows({5, 900, -1}), Rows({77})}).bytes->ToString();
  std::mt19937 random(5);
  int refused = 0;
  for (int round = 0; round < 10'000; ++round) {
    MemoryBudget budget(64 << 20);
    AccountedPool pool("state", &budget, arrow::default_memory_pool());
    std::string bad = good;
    for (unsigned n = 0; n < 1 + random() % 4; ++n) {
      bad[24 + random() % (bad.size() - 40)] = static_cast<char>(random());
    }
    if (random() % 8 == 0) bad.erase(24 + random() % (bad.size() - 40), 1 + random() % 16);
    SealStateFile(&bad);
    const auto read = ReadStateFile("x", arrow::Buffer::FromString(bad), "", 6, 899, &pool);
    refused += !read.ok();
    if (!read.ok()) continue;
    for (const auto& batch : read->batches) ASSERT_TRUE(batch->ValidateFull().ok());
  }
  EXPECT_GT(refused, 1'000);
}

TEST(StateFile, DefectsOfTheWriterAreFound) {
  const auto kind = [](const std::shared_ptr<arrow::Schema>& schema,
                       const arrow::RecordBatchVector& batches) {
    return KindOf(WriteStateFile(kHeader, schema, batches, Pool()).status());
  };
  EXPECT_EQ(kind(arrow::schema({arrow::field("user", arrow::utf8())}), {}), ErrorKind::kInternal);
  EXPECT_EQ(kind(arrow::schema({arrow::field("hash", arrow::uint64())}), {Rows({1})}), ErrorKind::kInternal);
  StateFileHeader long_name = kHeader;
  long_name.operator_id.resize(5000, 'x');
  EXPECT_EQ(KindOf(WriteStateFile(long_name, StateSchema(), {}, Pool()).status()), ErrorKind::kUser);
}

TEST(StateFile, LackOfMemoryIsNoDamage) {
  const auto written = Written({Rows(std::vector<int>(20'000, 7))});
  MemoryBudget budget(10'000);
  AccountedPool pool("state", &budget, arrow::default_memory_pool());
  const auto status = ReadStateFile("x", written.bytes, "", 0, 1023, &pool).status();
  EXPECT_EQ(KindOf(status), ErrorKind::kUser) << status;
  EXPECT_EQ(budget.used(), 0);
}

}  // namespace
}  // namespace frazil
