#include "connector/iceberg/conform.h"

#include <arrow/api.h>
#include <arrow/compute/cast.h>
#include <arrow/util/key_value_metadata.h>
#include <gtest/gtest.h>

#include <limits>
#include <vector>

namespace frazil::iceberg {
namespace {

using arrow::TimeUnit;

// A struct, a list and a map, each with a time in it.
std::shared_ptr<arrow::Schema> Times(TimeUnit::type unit) {
  const auto time = arrow::timestamp(unit);
  return arrow::schema({arrow::field("s", arrow::struct_({arrow::field("at", time)})),
                        arrow::field("l", arrow::list(arrow::field("element", time))),
                        arrow::field("m", arrow::map(arrow::utf8(), time))});
}

std::shared_ptr<arrow::RecordBatch> Rows(const std::vector<int64_t>& times, TimeUnit::type unit) {
  const auto schema = Times(unit);
  auto builder = arrow::RecordBatchBuilder::Make(schema, arrow::default_memory_pool()).ValueOrDie();
  auto* structs = builder->GetFieldAs<arrow::StructBuilder>(0);
  auto* lists = builder->GetFieldAs<arrow::ListBuilder>(1);
  auto* maps = builder->GetFieldAs<arrow::MapBuilder>(2);
  for (const int64_t time : times) {
    EXPECT_TRUE(structs->Append().ok());
    EXPECT_TRUE(static_cast<arrow::TimestampBuilder*>(structs->field_builder(0))->Append(time).ok());
    EXPECT_TRUE(lists->Append().ok());
    EXPECT_TRUE(static_cast<arrow::TimestampBuilder*>(lists->value_builder())->Append(time).ok());
    EXPECT_TRUE(maps->Append().ok());
    EXPECT_TRUE(static_cast<arrow::StringBuilder*>(maps->key_builder())->Append("k").ok());
    EXPECT_TRUE(static_cast<arrow::TimestampBuilder*>(maps->item_builder())->Append(time).ok());
  }
  return builder->Flush().ValueOrDie();
}

TEST(Conformer, WhatIsWrongWithOtherRowsIsNoErrorOfASlice) {
  constexpr int64_t kTooLate = std::numeric_limits<int64_t>::max() / 2;  // as microseconds
  const auto rows = Rows({kTooLate, 1, 2, kTooLate}, TimeUnit::SECOND);
  Conformer conformer(StorageSchema(*Times(TimeUnit::MICRO)).ValueOrDie(), arrow::default_memory_pool());
  EXPECT_FALSE(conformer.Conform(rows).ok());
  EXPECT_FALSE(conformer.Conform(rows->Slice(2)).ok());
  const auto found = conformer.Conform(rows->Slice(1, 2));
  ASSERT_TRUE(found.ok()) << found.status();
  const auto expected = Rows({1'000'000, 2'000'000}, TimeUnit::MICRO);
  ASSERT_TRUE((*found)->ValidateFull().ok());
  for (int i = 0; i < expected->num_columns(); ++i) {
    EXPECT_TRUE((*found)->column(i)->Equals(expected->column(i))) << (*found)->column(i)->ToString();
  }
}

TEST(Conformer, ListsOfAnotherKindHaveNoErrorsOfOtherRowsEither) {
  constexpr int64_t kTooLate = std::numeric_limits<int64_t>::max() / 2;
  const auto rows = Rows({1, 2, kTooLate}, TimeUnit::SECOND);
  const auto element = rows->column(1)->type()->field(0);
  Conformer conformer(StorageSchema(*Times(TimeUnit::MICRO)).ValueOrDie(), arrow::default_memory_pool());
  const auto expected = Rows({1'000'000, 2'000'000}, TimeUnit::MICRO);
  for (const auto& type : {arrow::large_list(element), arrow::fixed_size_list(element, 1)}) {
    const auto cast = arrow::compute::Cast(rows->column(1), type).ValueOrDie().make_array();
    const auto given = rows->SetColumn(1, arrow::field("l", type), cast).ValueOrDie();
    EXPECT_FALSE(conformer.Conform(given).ok());
    const auto found = conformer.Conform(given->Slice(0, 2));
    ASSERT_TRUE(found.ok()) << type->ToString() << ": " << found.status();
    EXPECT_TRUE((*found)->column(1)->Equals(expected->column(1)));
  }
}

}  // namespace
}  // namespace frazil::iceberg
