#include "operator/project.h"

#include <arrow/api.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "operator/filter.h"

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

const arrow::FieldVector kFields = {arrow::field("keep", arrow::boolean()), arrow::field("n", arrow::int64()),
                                    arrow::field("__fz_tag", arrow::uint8(), false)};

Batch Rows(const std::vector<int>& keep) {  // 1, 0, or -1 for null
  arrow::BooleanBuilder mask;
  arrow::Int64Builder n;
  arrow::UInt8Builder kind;
  for (size_t i = 0; i < keep.size(); ++i) {
    EXPECT_TRUE((keep[i] < 0 ? mask.AppendNull() : mask.Append(keep[i] == 1)).ok());
    EXPECT_TRUE(n.Append(static_cast<int64_t>(i)).ok());
    EXPECT_TRUE(kind.Append(static_cast<uint8_t>(i)).ok());
  }
  return {arrow::RecordBatch::Make(
              arrow::schema(kFields), static_cast<int64_t>(keep.size()),
              {mask.Finish().ValueOrDie(), n.Finish().ValueOrDie(), kind.Finish().ValueOrDie()}),
          Origin{3, 100, 100 + static_cast<int64_t>(keep.size())}};
}

std::vector<Batch> Filtered(const Batch& batch) {
  Filter filter(BindPredicate({{"col", "keep"}}, arrow::Schema(kFields)).ValueOrDie(),
                arrow::default_memory_pool());
  Collect out;
  EXPECT_EQ(filter.process(batch, out).ValueOrDie(), Progress::kDone);
  return out.batches;
}

std::string Numbers(const Batch& batch) {
  std::string text;
  for (int64_t i = 0; i < batch.rows(); ++i) {
    const auto kind = batch.columns->GetColumnByName("__fz_tag")->GetScalar(i).ValueOrDie()->ToString();
    const auto n = batch.columns->GetColumnByName("n")->GetScalar(i).ValueOrDie()->ToString();
    EXPECT_EQ(kind, n);
    text += n + " ";
  }
  return text;
}

TEST(Filter, KeepsTheRowsThatAreTrueWithHiddenColumnsAndOrigin) {
  const auto out = Filtered(Rows({1, 0, -1, 1, 1}));
  ASSERT_EQ(out.size(), 1u);
  EXPECT_EQ(Numbers(out[0]), "0 3 4 ");
  EXPECT_EQ(out[0].origin.partition, 3);
  EXPECT_EQ(out[0].origin.position_begin, 100);
  EXPECT_EQ(out[0].origin.position_end, 105);
}

TEST(Filter, CopiesNothingWhereItNeedNot) {
  const Batch all = Rows({1, 1, 1});
  EXPECT_EQ(Filtered(all)[0].columns.get(), all.columns.get());
  const Batch piece = Rows({0, 1, 1, -1});
  const auto out = Filtered(piece);
  EXPECT_EQ(Numbers(out[0]), "1 2 ");
  EXPECT_EQ(out[0].columns->column(1)->data()->buffers[1].get(),
            piece.columns->column(1)->data()->buffers[1].get());
}

TEST(Filter, PassesNothingOnIfNothingIsLeft) {
  EXPECT_TRUE(Filtered(Rows({0, -1, 0})).empty());
  EXPECT_TRUE(Filtered(Rows({})).empty());
}

TEST(Filter, WorksOnSlices) {
  Batch batch = Rows({1, 0, 1, 0, -1, 1, 1});
  batch.columns = batch.columns->Slice(1, 5);
  EXPECT_EQ(Numbers(Filtered(batch)[0]), "2 5 ");
}

TEST(Filter, TakesBoolOnly) {
  const auto bound = BindPredicate({{"col", "n"}}, arrow::Schema(kFields));
  EXPECT_EQ(NameOf(bound.status()), "TypeMismatch");
}

TEST(Project, ComputesAndPassesHiddenColumnsThrough) {
  const EdgeSchema input{arrow::schema(kFields), 2};
  const json columns =
      json::parse(R"([["twice", {"fn": "add", "args": [{"col": "n"}, {"col": "n"}]}], ["m", {"col": "n"}]])");
  const Projection projection = BindProjection(columns, input).ValueOrDie();
  EXPECT_EQ(projection.output.visible, 2);
  EXPECT_EQ(projection.output.schema->field_names(), (std::vector<std::string>{"twice", "m", "__fz_tag"}));
  Project project(projection, arrow::default_memory_pool());
  Collect out;
  const Batch batch = Rows({1, 1, 1});
  ASSERT_TRUE(project.process(batch, out).ok());
  ASSERT_EQ(out.batches.size(), 1u);
  EXPECT_TRUE(out.batches[0].columns->ValidateFull().ok());
  EXPECT_EQ(out.batches[0].columns->column(0)->ToString(), "[\n  0,\n  2,\n  4\n]");
  EXPECT_EQ(out.batches[0].columns->column(1).get(), batch.columns->column(1).get());
  EXPECT_EQ(out.batches[0].columns->column(2).get(), batch.columns->column(2).get());
  EXPECT_EQ(out.batches[0].origin.position_end, 103);
}

TEST(Project, RefusesTwoColumnsOfOneNameAndHiddenOnes) {
  const EdgeSchema input{arrow::schema(kFields), 2};
  const json twice = json::parse(R"([["x", {"col": "n"}], ["x", {"col": "n"}]])");
  const json hidden = json::parse(R"([["x", {"col": "__fz_tag"}]])");
  EXPECT_EQ(NameOf(BindProjection(twice, input).status()), "ColumnExists");
  EXPECT_EQ(NameOf(BindProjection(hidden, input).status()), "ColumnNotFound");
}

TEST(Project, SaysWhereARowWas) {
  const EdgeSchema input{arrow::schema(kFields), 2};
  const json columns = json::parse(R"([["x", {"fn": "modulo", "args": [{"col": "n"}, {"col": "n"}]}]])");
  Project project(BindProjection(columns, input).ValueOrDie(), arrow::default_memory_pool());
  Collect out;
  const Status status = project.process(Rows({1, 1}), out).status();
  EXPECT_EQ(NameOf(status), "DataError");
  EXPECT_EQ(status.message().substr(0, status.message().find('\n')),
            "select of positions 100 to 101 in partition 3: evaluating (n % n): divide by zero");
}

}  // namespace
}  // namespace frazil
