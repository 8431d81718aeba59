#pragma once

#include <arrow/api.h>
#include <arrow/json/from_string.h>
#include <gtest/gtest.h>

#include <vector>

#include "aggregate/aggregate.h"

// Accumulators of groups, for tests.
namespace frazil {

inline std::shared_ptr<arrow::Array> Json(const std::shared_ptr<arrow::DataType>& type,
                                          std::string_view text) {
  return arrow::json::ArrayFromJSONString(type, text).ValueOrDie();
}

// Rows of accumulators of one aggregate, 8 bytes into each row, freed at the end.
class Groups {
 public:
  static constexpr int32_t kOffset = 8;

  Groups(const Aggregate& aggregate, size_t count)
      : aggregate_(aggregate),
        words_(static_cast<size_t>(aggregate.width()) / 8 + 1),
        memory_(words_ * count) {
    for (size_t i = 0; i < count; ++i) aggregate_.create(row(i) + kOffset);
  }
  ~Groups() {
    for (size_t i = 0; i < size(); ++i) aggregate_.destroy(row(i) + kOffset);
  }
  Groups(const Groups&) = delete;
  Groups& operator=(const Groups&) = delete;

  size_t size() const { return memory_.size() / words_; }
  std::byte* row(size_t group) { return reinterpret_cast<std::byte*>(&memory_[group * words_]); }

  // group_of: the group of each row; negative leaves the row out.
  Status add(const std::vector<int>& group_of, const arrow::ArrayVector& inputs,
             std::span<const OrderKey> order = {}) {
    return aggregate_.add(rows(group_of), kOffset, inputs, {order}, &effects);
  }
  Status retract(const std::vector<int>& group_of, const arrow::ArrayVector& inputs) {
    return aggregate_.retract(rows(group_of), kOffset, inputs, &effects);
  }
  Status merge(const std::vector<int>& group_of, const arrow::Array& saved) {
    return aggregate_.merge(rows(group_of), kOffset, saved, &effects);
  }
  Result<std::shared_ptr<arrow::Array>> save() {
    return aggregate_.save(all(), kOffset, arrow::default_memory_pool());
  }
  Result<std::shared_ptr<arrow::Array>> finish() {
    return aggregate_.finish(all(), kOffset, arrow::default_memory_pool(), &effects);
  }
  int64_t heap_bytes() {
    int64_t bytes = 0;
    for (size_t i = 0; i < size(); ++i) bytes += aggregate_.heap_bytes(row(i) + kOffset);
    return bytes;
  }

  AggregateEffects effects;

 private:
  std::vector<std::byte*> rows(const std::vector<int>& group_of) {
    std::vector<std::byte*> rows;
    for (int group : group_of) rows.push_back(group < 0 ? nullptr : row(static_cast<size_t>(group)));
    return rows;
  }
  std::vector<const std::byte*> all() {
    std::vector<const std::byte*> rows;
    for (size_t i = 0; i < size(); ++i) rows.push_back(row(i));
    return rows;
  }

  const Aggregate& aggregate_;
  const size_t words_;
  std::vector<uint64_t> memory_;
};

inline arrow::DataTypeVector TypesOf(const arrow::ArrayVector& arrays) {
  arrow::DataTypeVector types;
  for (const auto& array : arrays) types.push_back(array->type());
  return types;
}

inline std::unique_ptr<Aggregate> Make(std::string_view name, const arrow::DataTypeVector& types,
                                       const nlohmann::json& options = nlohmann::json::object(),
                                       bool changes = false) {
  auto made = MakeAggregate(name, types, options, changes);
  EXPECT_TRUE(made.ok()) << made.status().ToString();
  return std::move(made).ValueOrDie();
}

// The order keys of rows that came in order.
inline std::vector<OrderKey> InOrder(int64_t rows) {
  std::vector<OrderKey> order;
  for (int64_t i = 0; i < rows; ++i) order.push_back({i, 0, i});
  return order;
}

// The result over all rows as one group, computed in one call, and again with a row a call, saved and merged
// backwards.
inline std::shared_ptr<arrow::Array> ResultOf(const Aggregate& aggregate, const arrow::ArrayVector& inputs,
                                              int64_t rows) {
  const auto order = InOrder(rows);
  Groups whole(aggregate, 1), parts(aggregate, static_cast<size_t>(rows)), merged(aggregate, 1);
  EXPECT_TRUE(whole.add(std::vector<int>(static_cast<size_t>(rows), 0), inputs, order).ok());
  std::vector<int> backwards;
  for (int64_t i = rows; i-- > 0;) backwards.push_back(static_cast<int>(i));
  std::vector<int> apart;
  for (int i = 0; i < static_cast<int>(rows); ++i) apart.push_back(static_cast<int>(rows) - 1 - i);
  EXPECT_TRUE(parts.add(apart, inputs, order).ok());
  const auto saved = parts.save();
  EXPECT_TRUE(saved.ok()) << saved.status().ToString();
  EXPECT_TRUE((*saved)->ValidateFull().ok());
  const Status status = merged.merge(std::vector<int>(static_cast<size_t>(rows), 0), **saved);
  EXPECT_TRUE(status.ok()) << status.ToString();
  auto result = whole.finish();
  EXPECT_TRUE(result.ok()) << result.status().ToString();
  EXPECT_TRUE((*result)->ValidateFull().ok());
  EXPECT_TRUE((*result)->Equals(**merged.finish(), arrow::EqualOptions::Defaults().nans_equal(true)))
      << (*result)->ToString() << (*merged.finish())->ToString();
  EXPECT_TRUE((*result)->type()->Equals(aggregate.result_type()));
  EXPECT_EQ(whole.effects.heap_bytes, whole.heap_bytes());
  EXPECT_EQ(merged.effects.heap_bytes, merged.heap_bytes());
  return *result;
}

inline void ExpectResult(std::string_view name, const arrow::ArrayVector& inputs,
                         const nlohmann::json& options, std::string_view expected,
                         const std::shared_ptr<arrow::DataType>& type, int64_t rows = -1) {
  const auto aggregate = Make(name, TypesOf(inputs), options);
  const auto result = ResultOf(*aggregate, inputs, rows >= 0 ? rows : inputs[0]->length());
  EXPECT_TRUE(result->Equals(*Json(type, expected), arrow::EqualOptions::Defaults().nans_equal(true)))
      << name << ": expected " << expected << ", got " << result->ToString();
  EXPECT_TRUE(result->type()->Equals(type)) << result->type()->ToString();
}

}  // namespace frazil
