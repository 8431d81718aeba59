#include "operator/join/lookup.h"

#include <arrow/api.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/limits.h"
#include "base/schema_text.h"

namespace frazil {
namespace {

using nlohmann::json;

class Collect : public Output {
 public:
  Status push(Batch batch) override {
    EXPECT_TRUE(batch.columns->Validate().ok());
    batches.push_back(std::move(batch));
    return Status::OK();
  }
  bool full() const override { return always_full; }
  std::vector<Batch> batches;
  bool always_full = false;
};

std::shared_ptr<arrow::Array> Ints(const std::vector<int64_t>& values) {
  arrow::Int64Builder builder;
  for (const int64_t value : values)
    EXPECT_TRUE((value < 0 ? builder.AppendNull() : builder.Append(value)).ok());
  return builder.Finish().ValueOrDie();
}

const arrow::FieldVector kTable = {arrow::field("id", arrow::int64()),
                                   arrow::field("n", arrow::int64(), false)};
const arrow::FieldVector kInput = {arrow::field("key", arrow::int64()), arrow::field("x", arrow::int64()),
                                   arrow::field("__fz_tag", arrow::int64())};

std::shared_ptr<const Dimension> Table(const std::vector<int64_t>& keys, const std::vector<int64_t>& n) {
  const auto batch = arrow::RecordBatch::Make(arrow::schema(kTable), static_cast<int64_t>(keys.size()),
                                              {Ints(keys), Ints(n)});
  const Dimension::Spec spec{"t", {"id"}, {"n"}, false, int64_t{256} << 20};
  return Dimension::Make(spec, batch->schema(), {batch}).ValueOrDie();
}

std::unique_ptr<LookupJoin> Join(const std::string& how) {
  const bool keeps = how == "semi" || how == "anti";
  const json node = {{"how", how},
                     {"keys", {"key"}},
                     {"dimension_keys", {"id"}},
                     {"take", keeps ? json::array() : json::array({json::array({"n", "n_b"})})},
                     {"duplicates", "all"},
                     {"schema", SchemaText(*arrow::schema(kTable)).ValueOrDie()},
                     {"dimension", {{"name", "t"}, {"max_bytes", 1 << 28}}}};
  return LookupJoin::Make(node, *arrow::schema(kInput), OperatorContext{}).ValueOrDie();
}

// Rows with these keys, numbered, with a mark and a place.
Batch Rows(const std::vector<int64_t>& keys) {
  std::vector<int64_t> numbers;
  for (size_t i = 0; i < keys.size(); ++i) numbers.push_back(static_cast<int64_t>(i));
  const auto rows = static_cast<int64_t>(keys.size());
  Batch batch{
      arrow::RecordBatch::Make(arrow::schema(kInput), rows, {Ints(keys), Ints(numbers), Ints(numbers)}),
      Origin{2, 100, 100 + rows}, nullptr};
  SetMark(&batch, kPositionMark, Ints(numbers));
  return batch;
}

int64_t At(const std::shared_ptr<arrow::Array>& column, int64_t row) {
  return column->IsNull(row) ? -1 : static_cast<const arrow::Int64Array&>(*column).Value(row);
}

// "x:n" of each row; looks whether marks and hidden columns went with the row.
std::string Text(const std::vector<Batch>& batches) {
  std::string text;
  for (const Batch& batch : batches) {
    EXPECT_EQ(batch.origin.partition, 2);
    const auto n = batch.columns->GetColumnByName("n_b");
    for (int64_t i = 0; i < batch.rows(); ++i) {
      const int64_t x = At(batch.columns->GetColumnByName("x"), i);
      EXPECT_EQ(At(MarkOf(batch, kPositionMark), i), x);
      EXPECT_EQ(At(batch.columns->GetColumnByName("__fz_tag"), i), x);
      text += std::to_string(x);
      if (n != nullptr) text.append(":").append(std::to_string(At(n, i)));
      text += " ";
    }
  }
  return text;
}

std::string Joined(const std::string& how, const std::vector<int64_t>& keys) {
  const auto join = Join(how);
  join->use(Table({1, 2, 1, -1, 3}, {10, 20, 11, 99, 30}));
  Collect out;
  EXPECT_EQ(join->process(Rows(keys), out).ValueOrDie(), Progress::kDone);
  return Text(out.batches);
}

TEST(Lookup, JoinsAsItSays) {
  const std::vector<int64_t> keys = {3, 1, 7, -1, 1};
  EXPECT_EQ(Joined("inner", keys), "0:30 1:10 1:11 4:10 4:11 ");
  EXPECT_EQ(Joined("left", keys), "0:30 1:10 1:11 2:-1 3:-1 4:10 4:11 ");
  EXPECT_EQ(Joined("semi", keys), "0 1 4 ");
  EXPECT_EQ(Joined("anti", keys), "2 3 ");
  EXPECT_EQ(Joined("inner", {7, -1}), "");
  EXPECT_EQ(Joined("left", {-1}), "0:-1 ");
}

TEST(Lookup, SchemaHasTheTablesColumnsBeforeHiddenOnes) {
  for (const char* how : {"inner", "left"}) {
    const auto join = Join(how);
    join->use(Table({1}, {10}));
    Collect out;
    ASSERT_TRUE(join->process(Rows({1}), out).ok());
    const auto& schema = *out.batches.at(0).columns->schema();
    EXPECT_EQ(schema.field_names(), (std::vector<std::string>{"key", "x", "n_b", "__fz_tag"}));
    EXPECT_EQ(schema.field(2)->nullable(), how == std::string("left"));
  }
}

TEST(Lookup, RowsWithOnePartnerEachAreNotCopied) {
  const auto join = Join("inner");
  join->use(Table({1, 2}, {10, 20}));
  const Batch rows = Rows({2, 1, 1});
  Collect out;
  ASSERT_TRUE(join->process(rows, out).ok());
  EXPECT_EQ(Text(out.batches), "0:20 1:10 2:10 ");
  EXPECT_EQ(out.batches[0].columns->column(1)->data()->buffers[1],
            rows.columns->column(1)->data()->buffers[1]);
}

TEST(Lookup, TheTableChangesBetweenBatches) {
  const auto join = Join("left");
  Collect out;
  EXPECT_FALSE(join->process(Rows({1}), out).ok());  // there is none yet
  join->use(Table({1}, {10}));
  ASSERT_TRUE(join->process(Rows({1}), out).ok());
  join->use(Table({2}, {20}));
  ASSERT_TRUE(join->process(Rows({1, 2}), out).ok());
  EXPECT_EQ(Text(out.batches), "0:10 0:-1 1:20 ");
}

TEST(Lookup, GoesOnWhereItStoppedForAFullOutput) {
  constexpr int64_t kPartners = 3 * limits::kBatchRows / 2 + 1;
  const auto join = Join("left");
  std::vector<int64_t> numbers;
  for (int64_t i = 0; i < kPartners; ++i) numbers.push_back(i);
  join->use(Table(std::vector<int64_t>(kPartners, 1), numbers));
  Collect out;
  out.always_full = true;
  auto progress = join->process(Rows({1, 2, 1}), out).ValueOrDie();
  for (int steps = 0; progress == Progress::kMore; ++steps) {
    ASSERT_LT(steps, 100);
    progress = join->resume(out).ValueOrDie();
  }
  EXPECT_EQ(join->resume(out).ValueOrDie(), Progress::kDone);
  std::string expected;
  for (const char* x : {"0:", "1:", "2:"}) {
    if (x[0] == '1') {
      expected += "1:-1 ";
      continue;
    }
    for (int64_t i = 0; i < kPartners; ++i) expected += x + std::to_string(i) + " ";
  }
  EXPECT_EQ(Text(out.batches), expected);
  EXPECT_GE(out.batches.size(), 4U);
  for (const Batch& batch : out.batches) EXPECT_LE(batch.rows(), limits::kBatchRows);
}

TEST(Lookup, LargeRowsMakeSmallBatches) {
  const auto schema = arrow::schema({arrow::field("id", arrow::int64()), arrow::field("n", arrow::utf8())});
  arrow::StringBuilder texts;
  ASSERT_TRUE(texts.Append(std::string(1 << 20, 'a')).ok());
  const auto batch = arrow::RecordBatch::Make(schema, 1, {Ints({1}), texts.Finish().ValueOrDie()});
  const json node = {{"how", "inner"},
                     {"keys", {"key"}},
                     {"dimension_keys", {"id"}},
                     {"take", json::array({json::array({"n", "n_b"})})},
                     {"duplicates", "fail"},
                     {"schema", SchemaText(*schema).ValueOrDie()},
                     {"dimension", {{"name", "t"}, {"max_bytes", 1 << 28}}}};
  auto join = LookupJoin::Make(node, *arrow::schema(kInput), OperatorContext{}).ValueOrDie();
  join->use(Dimension::Make({"t", {"id"}, {"n"}, true, 1 << 28}, schema, {batch}).ValueOrDie());
  Collect out;
  ASSERT_TRUE(join->process(Rows(std::vector<int64_t>(40, 1)), out).ok());
  int64_t rows = 0;
  for (const Batch& each : out.batches) {
    EXPECT_LE(BatchBytes(each), 3 * limits::kBatchBytes);
    rows += each.rows();
  }
  EXPECT_EQ(rows, 40);
}

std::vector<std::string> OrderMarks(const std::vector<Batch>& batches) {
  std::vector<std::string> marks;
  for (const Batch& batch : batches) {
    const auto mark = std::static_pointer_cast<arrow::FixedSizeBinaryArray>(MarkOf(batch, kOrderMark));
    if (mark == nullptr) return {};
    for (int64_t i = 0; i < mark->length(); ++i) marks.emplace_back(mark->GetView(i));
  }
  return marks;
}

TEST(Lookup, RowsThatCameOfOneAreToldApart) {
  const auto join = Join("left");
  join->use(Table({1, 2, 1, 1}, {10, 20, 11, 12}));
  Collect out;
  ASSERT_TRUE(join->process(Rows({1, 7, 1, 2}), out).ok());
  auto marks = OrderMarks(out.batches);
  ASSERT_EQ(marks.size(), 8U);
  EXPECT_TRUE(std::is_sorted(marks.begin(), marks.end()));  // by position, then by partner
  EXPECT_EQ(std::set<std::string>(marks.begin(), marks.end()).size(), marks.size());
  // Behind a second join they are told apart too, and depend on nothing else than the rows.
  Collect twice, slices;
  const auto second = Join("left");
  second->use(Table({1, 1}, {1, 2}));
  for (Batch batch : out.batches) {
    batch.columns = batch.columns->SelectColumns({0, 1, 3}).ValueOrDie();
    ASSERT_TRUE(second->process(batch, twice).ok());
    for (int64_t i = 0; i < batch.rows(); ++i) {
      const Batch part{batch.columns->Slice(i, 1), batch.origin, batch.marks->Slice(i, 1)};
      ASSERT_TRUE(second->process(part, slices).ok());
    }
  }
  marks = OrderMarks(twice.batches);
  EXPECT_EQ(marks.size(), 14U);
  EXPECT_EQ(std::set<std::string>(marks.begin(), marks.end()).size(), marks.size());
  EXPECT_EQ(marks, OrderMarks(slices.batches));
}

TEST(Lookup, ComputedRowsHaveNoOrderOfTheirOwn) {
  const auto join = Join("inner");
  join->use(Table({1, 1}, {10, 11}));
  Batch rows = Rows({1});
  rows.origin.partition = -1;
  rows.marks = nullptr;
  Collect out;
  ASSERT_TRUE(join->process(rows, out).ok());
  EXPECT_EQ(out.batches.at(0).rows(), 2);
  EXPECT_EQ(out.batches.at(0).marks, nullptr);
}

TEST(Lookup, RefusesKeysThatCannotBeEqual) {
  json node = {{"how", "inner"},
               {"keys", {"key"}},
               {"dimension_keys", {"n"}},
               {"take", json::array()},
               {"duplicates", "all"},
               {"schema", SchemaText(*arrow::schema({arrow::field("n", arrow::utf8())})).ValueOrDie()},
               {"dimension", {{"name", "t"}, {"max_bytes", 1}}}};
  EXPECT_FALSE(LookupJoin::Make(node, *arrow::schema(kInput), OperatorContext{}).ok());
  node["how"] = "outer";
  EXPECT_FALSE(ParseLookup(node).ok());
  node["how"] = "inner";
  node["keys"] = json::array();
  EXPECT_FALSE(ParseLookup(node).ok());
}

}  // namespace
}  // namespace frazil
