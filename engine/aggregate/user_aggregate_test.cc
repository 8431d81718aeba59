#include "aggregate/user_aggregate.h"

#include <arrow/api.h>
#include <arrow/json/from_string.h>
#include <gtest/gtest.h>

#include <optional>

#include "base/schema_text.h"

namespace frazil {
namespace {

using Batch = std::shared_ptr<arrow::RecordBatch>;
using Value = std::optional<int64_t>;

std::shared_ptr<arrow::Array> FromJson(const std::shared_ptr<arrow::DataType>& type,
                                       const std::string& json) {
  return arrow::json::ArrayFromJSONString(type, json).ValueOrDie();
}

std::shared_ptr<arrow::Array> ListAt(const arrow::RecordBatch& batch, const char* name) {
  const auto column = batch.GetColumnByName(name);
  return column == nullptr ? nullptr : static_cast<const arrow::ListArray&>(*column).value_slice(0);
}

int64_t FirstOf(const arrow::Array& structs, int64_t row) {
  return static_cast<const arrow::Int64Array&>(*static_cast<const arrow::StructArray&>(structs).field(0))
      .Value(row);
}

// Adds up, as a user's class would; null as long as there is no value.
Result<Batch> Sum(const Batch& asked) {
  const int8_t what = static_cast<const arrow::Int8Array&>(*asked->GetColumnByName("what")).Value(0);
  const auto states = ListAt(*asked, "states");
  const auto offsets = ListAt(*asked, "offsets");
  const auto added = what == kUserAdd ? ListAt(*asked, "rows") : ListAt(*asked, "others");
  arrow::Int64Builder sums;
  for (int64_t i = 0; i < states->length(); ++i) {
    const auto& state = *static_cast<const arrow::StructArray&>(*states).field(0);
    Value sum = state.IsNull(i) ? Value() : Value(FirstOf(*states, i));
    if (what != kUserFinish) {
      const auto& at = static_cast<const arrow::Int32Array&>(*offsets);
      for (int32_t row = at.Value(i); row < at.Value(i + 1); ++row) {
        if (static_cast<const arrow::StructArray&>(*added).field(0)->IsNull(row)) continue;
        sum = sum.value_or(0) + FirstOf(*added, row);
      }
    }
    FZ_TRY(sum.has_value() ? sums.Append(*sum) : sums.AppendNull());
  }
  std::shared_ptr<arrow::Array> made = sums.Finish().ValueOrDie();
  if (what != kUserFinish) {
    FZ_ASSIGN(made, arrow::StructArray::Make({made}, {arrow::field("state", arrow::int64())}));
  }
  const auto offsets_of_one =
      arrow::Buffer::FromVector(std::vector<int32_t>{0, static_cast<int32_t>(made->length())});
  const auto list = std::make_shared<arrow::ListArray>(arrow::list(made->type()), 1, offsets_of_one, made);
  const char* name = what == kUserFinish ? "results" : "states";
  return arrow::RecordBatch::Make(arrow::schema({arrow::field(name, list->type())}), 1, {list});
}

AggregatePtr Make(const std::shared_ptr<arrow::DataType>& state = arrow::int64()) {
  SetUserFunction("aggregate test:Sum", Sum);
  const auto text = [](const std::shared_ptr<arrow::DataType>& type) {
    return SchemaText(*arrow::schema({arrow::field("state", type)})).ValueOrDie();
  };
  const nlohmann::json options = {
      {"function", "aggregate test:Sum"}, {"state", text(state)}, {"result", text(arrow::int64())}};
  return MakeAggregate(kUserAggregate, {arrow::int64()}, options).ValueOrDie();
}

// Some accumulators of an aggregate, which end with it.
class Accumulators {
 public:
  Accumulators(const Aggregate& aggregate, size_t count) : aggregate_(aggregate), memory_(2 * count) {
    for (size_t i = 0; i < count; ++i) {
      all.push_back(reinterpret_cast<std::byte*>(&memory_[2 * i]));
      aggregate_.create(all.back());
    }
  }
  ~Accumulators() {
    for (std::byte* acc : all) aggregate_.destroy(acc);
  }
  std::vector<const std::byte*> read() const { return {all.begin(), all.end()}; }
  std::vector<std::byte*> all;

 private:
  const Aggregate& aggregate_;
  std::vector<uint64_t> memory_;
};

TEST(UserAggregate, AddsMergesAndFinishes) {
  const auto aggregate = Make();
  ASSERT_EQ(aggregate->width(), 16);
  Accumulators left(*aggregate, 3), right(*aggregate, 3);
  AggregateEffects effects;
  const auto& l = left.all;
  // A row that is left out, and an accumulator without rows.
  ASSERT_TRUE(aggregate
                  ->add(std::vector<std::byte*>{l[0], l[1], nullptr, l[0]}, 0,
                        {FromJson(arrow::int64(), "[1, 10, 100, 2]")}, {}, &effects)
                  .ok());
  const auto& r = right.all;
  ASSERT_TRUE(aggregate
                  ->add(std::vector<std::byte*>{r[2], r[0], r[1]}, 0,
                        {FromJson(arrow::int64(), "[5, 4, null]")}, {}, &effects)
                  .ok());
  const auto saved = aggregate->save(right.read(), 0, arrow::default_memory_pool()).ValueOrDie();
  ASSERT_TRUE(aggregate->merge(l, 0, *saved, &effects).ok());
  // The same accumulator twice.
  ASSERT_TRUE(aggregate->merge(std::vector<std::byte*>{l[0], l[0], l[0]}, 0, *saved, &effects).ok());
  const auto found = aggregate->finish(left.read(), 0, arrow::default_memory_pool(), &effects).ValueOrDie();
  EXPECT_TRUE(found->Equals(FromJson(arrow::int64(), "[16, 10, 5]"))) << found->ToString();
  int64_t bytes = 0;
  for (const auto& each : {left.read(), right.read()}) {
    for (const std::byte* acc : each) bytes += aggregate->heap_bytes(acc);
  }
  EXPECT_EQ(effects.heap_bytes, bytes);
}

TEST(UserAggregate, RefusesDamagedStateAndThatOfAnotherType) {
  const auto aggregate = Make();
  Accumulators one(*aggregate, 1), other(*aggregate, 1);
  AggregateEffects effects;
  ASSERT_TRUE(aggregate->add(one.all, 0, {FromJson(arrow::int64(), "[1]")}, {}, &effects).ok());
  const auto saved = aggregate->save(one.read(), 0, arrow::default_memory_pool()).ValueOrDie();
  const std::string bytes(static_cast<const arrow::BinaryArray&>(*saved).GetView(0));
  for (size_t size = 0; size < bytes.size(); ++size) {
    if (size == 5) continue;  // no state
    arrow::BinaryBuilder cut;
    ASSERT_TRUE(cut.Append(bytes.substr(0, size)).ok());
    const Status status = aggregate->merge(other.all, 0, *cut.Finish().ValueOrDie(), &effects);
    EXPECT_EQ(KindOf(status), ErrorKind::kState) << size;
  }
  const auto texts = Make(arrow::utf8());
  Accumulators third(*texts, 1);
  const Status status = texts->merge(third.all, 0, *saved, &effects);
  EXPECT_NE(status.message().find("of another type than string"), std::string::npos) << status;
}

TEST(UserAggregate, RefusesOptionsAndChanges) {
  EXPECT_FALSE(MakeAggregate(kUserAggregate, {arrow::int64()}, nlohmann::json::object()).ok());
  EXPECT_FALSE(MakeAggregate(kUserAggregate, {arrow::int64()}, {{"function", 3}}).ok());
  EXPECT_FALSE(MakeAggregate(kUserAggregate, {}, nlohmann::json::object()).ok());
  EXPECT_FALSE(MakeAggregate(kUserAggregate, {arrow::int64()}, nlohmann::json::object(), true).ok());
  DropUserFunction("aggregate nobody:Knows");
}

}  // namespace
}  // namespace frazil
