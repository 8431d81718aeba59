#include "connector/memory/messages.h"

#include <arrow/builder.h>
#include <gtest/gtest.h>

#include <string>

namespace frazil {
namespace {

std::shared_ptr<arrow::RecordBatch> Table() {
  arrow::BinaryBuilder raw;
  arrow::Int64Builder offset;
  EXPECT_TRUE(raw.Append("{}").ok() && raw.AppendNull().ok() && raw.Append("").ok());
  EXPECT_TRUE(offset.AppendValues({7, 8, 9}).ok());
  auto schema =
      arrow::schema({arrow::field("raw", arrow::binary()), arrow::field("_offset", arrow::int64())});
  return arrow::RecordBatch::Make(schema, 3, {*raw.Finish(), *offset.Finish()});
}

TEST(MemoryMessages, ARowIsItsBytesItsPositionAndItsMetadata) {
  auto raw = MessagesOf(Table(), 40, "orders-0", arrow::default_memory_pool());
  ASSERT_TRUE(raw.ok()) << raw.status();
  ASSERT_EQ(raw->rows(), 3);
  EXPECT_EQ(raw->row(0), "{}");
  EXPECT_EQ(raw->length[1], RawBatch::kNullRow);
  EXPECT_EQ(raw->row(2), "");
  EXPECT_EQ(raw->position, (std::vector<int64_t>{40, 41, 42}));
  EXPECT_EQ(raw->place, "orders-0");
  EXPECT_EQ(raw->metadata->schema()->field_names(), (std::vector<std::string>{"_offset"}));
  EXPECT_GE(raw->data->size(), raw->offset[2] + kRawPadding);
}

TEST(MemoryMessages, ASliceStartsWhereItStarts) {
  auto raw = MessagesOf(Table()->Slice(2, 1), 2, "orders-0", arrow::default_memory_pool());
  ASSERT_TRUE(raw.ok()) << raw.status();
  EXPECT_EQ(raw->row(0), "");
  EXPECT_EQ(raw->position, (std::vector<int64_t>{2}));
}

TEST(MemoryMessages, ATableWithoutBytesIsRefused) {
  auto given = Table()->RemoveColumn(0).ValueOrDie();
  EXPECT_FALSE(MessagesOf(given, 0, "orders-0", arrow::default_memory_pool()).ok());
}

}  // namespace
}  // namespace frazil
