#include "operator/cached_udf.h"

#include <arrow/api.h>
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/limits.h"
#include "expr/expr.h"
#include "operator/changes/kinds.h"

namespace frazil {
namespace {

using nlohmann::json;

class Collect : public Output {
 public:
  Status push(Batch batch) override {
    batches.push_back(std::move(batch));
    return Status::OK();
  }
  bool full() const override { return false; }
  std::vector<Batch> batches;
};

std::shared_ptr<arrow::Array> Binaries(const std::vector<std::string>& values) {
  arrow::BinaryBuilder builder;
  EXPECT_TRUE(builder.AppendValues(values).ok());
  return builder.Finish().ValueOrDie();
}

// The function: doubles numbers, and keeps the entries that a test gives it.
struct Function {
  std::vector<std::map<std::string, std::string>> asked;
  std::vector<std::shared_ptr<arrow::RecordBatch>> given;
  std::vector<std::string> keys, values;

  Result<std::shared_ptr<arrow::RecordBatch>> operator()(const std::shared_ptr<arrow::RecordBatch>& batch) {
    std::map<std::string, std::string> what;
    for (const auto& [key, value] : batch->schema()->metadata()->sorted_pairs()) what[key] = value;
    asked.push_back(what);
    given.push_back(batch);
    if (what["what"] != "rows") {
      const auto key = arrow::field("key", arrow::binary(), false);
      const auto value = arrow::field("value", arrow::binary(), false);
      const auto entries = arrow::ArrayVector{Binaries(keys), Binaries(values)};
      return arrow::RecordBatch::Make(arrow::schema({key, value}), entries.front()->length(), entries);
    }
    const auto& numbers = static_cast<const arrow::Int64Array&>(*batch->column(0));
    arrow::Int64Builder twice;
    for (int64_t i = 0; i < numbers.length(); ++i) FZ_TRY(twice.Append(2 * numbers.Value(i)));
    FZ_ASSIGN(const auto column, twice.Finish());
    return arrow::RecordBatch::Make(arrow::schema({arrow::field("result", arrow::int64())}), numbers.length(),
                                    arrow::ArrayVector{column});
  }
};

std::shared_ptr<arrow::Array> Numbers(const std::vector<int64_t>& values) {
  arrow::Int64Builder builder;
  EXPECT_TRUE(builder.AppendValues(values).ok());
  return builder.Finish().ValueOrDie();
}

Batch Rows(const std::vector<int64_t>& values) {
  const auto schema = arrow::schema({arrow::field("n", arrow::int64(), false)});
  const auto count = static_cast<int64_t>(values.size());
  return Batch{arrow::RecordBatch::Make(schema, count, {Numbers(values)}), Origin{}, nullptr};
}

std::unique_ptr<CachedUdf> Made(Function* function, const arrow::Schema& input) {
  CallUdf::Spec spec;
  spec.reference = "embed:model";
  spec.function = [function](const auto& batch) { return (*function)(batch); };
  spec.field = arrow::field("twice", arrow::int64());
  spec.arguments.push_back(Bind(json{{"col", "n"}}, input).ValueOrDie());
  return std::make_unique<CachedUdf>(std::move(spec), "udf-1", arrow::default_memory_pool());
}

TEST(CachedUdf, AddsItsColumnAndSaysWhoAsks) {
  Function function;
  const Batch batch = Rows({3, 4});
  auto udf = Made(&function, *batch.columns->schema());
  auto other = Made(&function, *batch.columns->schema());
  Collect out;
  ASSERT_TRUE(udf->process(batch, out).ok() && other->process(batch, out).ok());
  EXPECT_TRUE(out.batches.front().columns->column(1)->Equals(*Numbers({6, 8})));
  EXPECT_EQ(function.asked[0]["what"], "rows");
  EXPECT_EQ(function.asked[0]["node"], "udf-1");
  EXPECT_NE(function.asked[0]["instance"], function.asked[1]["instance"]);
  EXPECT_TRUE(udf->stateful());
}

TEST(CachedUdf, GivesKindsOfChanges) {
  Function function;
  Batch batch = Rows({3, 4});
  batch.columns =
      batch.columns
          ->AddColumn(1, KindField(), arrow::MakeArrayFromScalar(arrow::UInt8Scalar(3), 2).ValueOrDie())
          .ValueOrDie();
  auto udf = Made(&function, *batch.columns->schema());
  Collect out;
  ASSERT_TRUE(udf->process(batch, out).ok());
  EXPECT_EQ(function.given[0]->schema()->field(1)->name(), "kind");
  EXPECT_EQ(out.batches.front().columns->num_columns(), 3);
}

TEST(CachedUdf, WhatWasSavedIsForEveryWorker) {
  Function function;
  const Batch batch = Rows({1});
  auto udf = Made(&function, *batch.columns->schema());
  EXPECT_TRUE(udf->snapshot(false).ValueOrDie().empty());
  EXPECT_EQ(function.asked.back()["what"], "save");
  EXPECT_EQ(function.asked.back()["full"], "0");
  function.keys = {"a", "b", "c"};
  function.values = {"1", std::string(2 * limits::kBatchBytes, 'x'), "3"};
  const StateRows rows = udf->snapshot(true).ValueOrDie();
  EXPECT_EQ(function.asked.back()["full"], "1");
  EXPECT_EQ(rows.size(), 3U);  // a slice is not much more than a batch
  auto restored = Made(&function, *batch.columns->schema());
  for (const auto& each : rows) {
    EXPECT_EQ(each->column(0)->null_count(), each->num_rows());
    ASSERT_TRUE(restored->restore(each).ok());
  }
  EXPECT_EQ(function.asked.back()["what"], "restore");
  const auto& keys = static_cast<const arrow::BinaryArray&>(*function.given.back()->column(0));
  EXPECT_EQ(keys.GetString(0), "c");
}

TEST(CachedUdf, RowsOfAnotherShapeAreRefused) {
  Function function;
  const Batch batch = Rows({1});
  auto udf = Made(&function, *batch.columns->schema());
  const auto status = udf->restore(batch.columns);
  EXPECT_EQ(KindOf(status), ErrorKind::kState);
  EXPECT_TRUE(function.asked.empty());
}

}  // namespace
}  // namespace frazil
