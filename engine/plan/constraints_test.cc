#include "plan/constraints.h"

#include <arrow/api.h>
#include <arrow/ipc/writer.h>
#include <arrow/util/base64.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "operator/changes/kinds.h"
#include "plan/plan.h"

namespace frazil {
namespace {

class Collect : public Output {
 public:
  Status push(Batch batch) override {
    batches.push_back(std::move(batch));
    return Status::OK();
  }
  bool full() const override { return false; }
  std::vector<Batch> batches;
};

struct Row {
  RowKind kind = RowKind::kInsert;
  std::optional<int64_t> key, value;
  int64_t seconds = 0;  // of a time
  auto operator<=>(const Row&) const = default;
};

nlohmann::json Options(bool by_key) {
  const auto field = [](const char* name, const std::shared_ptr<arrow::DataType>& type, int id) {
    return arrow::field(name, type, false,
                        arrow::key_value_metadata({"PARQUET:field_id"}, {std::to_string(id)}));
  };
  const auto schema = arrow::ipc::SerializeSchema(
                          *arrow::schema({field("key", arrow::int64(), 1), field("value", arrow::int64(), 2),
                                          field("at", arrow::timestamp(arrow::TimeUnit::MICRO), 3)}))
                          .ValueOrDie();
  nlohmann::json options = {{"location", "file:///nowhere"},
                            {"schema", arrow::util::base64_encode(std::string_view(*schema))},
                            {"name", "shop.orders"}};
  if (by_key) options["key"] = {"key"};
  return options;
}

Batch BatchOf(const std::vector<Row>& rows, bool kinds) {
  arrow::Int64Builder key, value;
  arrow::TimestampBuilder at(arrow::timestamp(arrow::TimeUnit::SECOND), arrow::default_memory_pool());
  arrow::UInt8Builder kind;
  for (const Row& row : rows) {
    EXPECT_TRUE(key.AppendOrNull(row.key).ok());
    EXPECT_TRUE(value.AppendOrNull(row.value).ok());
    EXPECT_TRUE(at.Append(row.seconds).ok());
    EXPECT_TRUE(kind.Append(static_cast<uint8_t>(row.kind)).ok());
  }
  arrow::FieldVector fields = {arrow::field("key", arrow::int64()), arrow::field("value", arrow::int64()),
                               arrow::field("at", arrow::timestamp(arrow::TimeUnit::SECOND))};
  arrow::ArrayVector columns = {*key.Finish(), *value.Finish(), *at.Finish()};
  if (kinds) {
    fields.push_back(KindField());
    columns.push_back(*kind.Finish());
  }
  const auto count = static_cast<int64_t>(rows.size());
  return Batch{arrow::RecordBatch::Make(arrow::schema(fields), count, columns), {}, nullptr};
}

std::vector<Row> RowsOf(const std::vector<Batch>& batches) {
  std::vector<Row> rows;
  for (const Batch& batch : batches) {
    const auto kinds = KindsOf(batch).ValueOrDie();
    const auto number = [&](int column, int64_t i) -> std::optional<int64_t> {
      const auto& array = static_cast<const arrow::Int64Array&>(*batch.columns->column(column));
      return array.IsNull(i) ? std::nullopt : std::optional(array.Value(i));
    };
    for (int64_t i = 0; i < batch.rows(); ++i) {
      const auto kind = kinds == nullptr ? RowKind::kInsert : static_cast<RowKind>(kinds->Value(i));
      rows.push_back({kind, number(0, i), number(1, i), *number(2, i)});
    }
  }
  return rows;
}

struct Judged {
  std::vector<Row> rows;
  std::vector<std::tuple<std::string, std::string>> letters;  // column and reason
  FailedRows::Counts counts;
};

Judged Judge(const nlohmann::json& options, const std::vector<Row>& rows, bool kinds, bool whole,
             size_t batch_rows) {
  FailedRows::Spec spec;
  spec.kind = "constraint";
  spec.schema = RejectedSchema();
  spec.given = {"key", "value", "at"};
  auto op = MakeConstraints(options, whole, std::make_unique<FailedRows>(std::move(spec)), {}).ValueOrDie();
  Collect out, aside;
  op->set_aside(&aside);
  for (size_t at = 0; at < rows.size(); at += batch_rows) {
    const auto end = std::min(rows.size(), at + batch_rows);
    const std::vector<Row> some(rows.begin() + static_cast<int64_t>(at),
                                rows.begin() + static_cast<int64_t>(end));
    EXPECT_TRUE(op->process(BatchOf(some, kinds), out).ok());
  }
  Judged judged{RowsOf(out.batches), {}, static_cast<FailingStep*>(op.get())->failed()->counts()};
  for (const Batch& letters : aside.batches) {
    const auto& column = static_cast<const arrow::StringArray&>(*letters.columns->column(4));
    const auto& reason = static_cast<const arrow::StringArray&>(*letters.columns->column(3));
    for (int64_t i = 0; i < letters.rows(); ++i) {
      judged.letters.emplace_back(column.IsNull(i) ? "" : column.GetString(i), reason.GetString(i));
    }
  }
  return judged;
}

constexpr int64_t kFar = int64_t{1} << 60;  // seconds

TEST(Constraints, RowsThatATableRefusesAreSetAside) {
  const std::vector<Row> rows = {{RowKind::kInsert, 1, 1, 0},
                                 {RowKind::kInsert, 2, std::nullopt, 0},
                                 {RowKind::kInsert, std::nullopt, 3, 0},
                                 {RowKind::kInsert, 4, 4, kFar},
                                 {RowKind::kInsert, 5, 5, 5}};
  for (const size_t batch_rows : {size_t{1}, size_t{2}, rows.size()}) {
    const Judged judged = Judge(Options(false), rows, false, true, batch_rows);
    EXPECT_EQ(judged.rows, (std::vector<Row>{rows[0], rows[4]}));
    ASSERT_EQ(judged.letters.size(), 3u);
    EXPECT_EQ(judged.letters[0], std::tuple("value", "shop.orders: null, and the table requires a value"));
    EXPECT_EQ(std::get<0>(judged.letters[1]), "key");
    EXPECT_NE(std::get<1>(judged.letters[2]).find("out of bounds"), std::string::npos)
        << std::get<1>(judged.letters[2]);
    EXPECT_EQ(judged.counts.given, 5);
    EXPECT_EQ(judged.counts.good, 2);
    EXPECT_EQ(judged.counts.failed, 3);
  }
}

TEST(Constraints, ValuesThatTheTableHasNoPlaceForAreSetAside) {
  nlohmann::json options = Options(false);
  options["left_out"] = {"more"};
  options["set_aside"] = {{"more"}};
  auto op = MakeConstraints(options, true, std::make_unique<FailedRows>(FailedRows::Spec{}), {}).ValueOrDie();
  Batch batch = BatchOf({{RowKind::kInsert, 1, 1, 0}, {RowKind::kInsert, 2, 2, 0}}, false);
  arrow::StringBuilder more;
  ASSERT_TRUE(more.AppendNull().ok());
  ASSERT_TRUE(more.Append("x").ok());
  batch.columns =
      batch.columns->AddColumn(3, arrow::field("more", arrow::utf8()), *more.Finish()).ValueOrDie();
  Collect out;
  ASSERT_TRUE(op->process(batch, out).ok());
  EXPECT_EQ(RowsOf(out.batches), (std::vector<Row>{{RowKind::kInsert, 1, 1, 0}}));
}

TEST(Constraints, ValuesThatANarrowerTypeDoesNotHaveAreSetAside) {
  nlohmann::json options = Options(false);
  const auto narrow =
      arrow::schema({arrow::field("key", arrow::int64()), arrow::field("value", arrow::int32()),
                     arrow::field("at", arrow::timestamp(arrow::TimeUnit::MICRO))});
  options["schema"] =
      arrow::util::base64_encode(std::string_view(*arrow::ipc::SerializeSchema(*narrow).ValueOrDie()));
  options["narrowed"] = {"value"};
  const std::vector<Row> rows = {{RowKind::kInsert, 1, int64_t{1} << 31, 0},
                                 {RowKind::kInsert, 2, (int64_t{1} << 31) - 1, 0},
                                 {RowKind::kInsert, 3, std::nullopt, 0}};
  for (const size_t batch_rows : {size_t{1}, rows.size()}) {
    const Judged judged = Judge(options, rows, false, true, batch_rows);
    EXPECT_EQ(judged.rows, (std::vector<Row>{rows[1], rows[2]}));
    ASSERT_EQ(judged.letters.size(), 1u);
    EXPECT_EQ(std::get<0>(judged.letters[0]), "value");
    EXPECT_NE(std::get<1>(judged.letters[0]).find("2147483648"), std::string::npos);
  }
}

TEST(Constraints, AChangeThatATableRefusesTakesTheRowBeforeAway) {
  const std::vector<Row> rows = {{RowKind::kInsert, 1, 1, 0},
                                 {RowKind::kUpdateBefore, 1, 1, 0},
                                 {RowKind::kUpdateAfter, 1, std::nullopt, 0},
                                 {RowKind::kInsert, std::nullopt, 1, 0},
                                 {RowKind::kDelete, std::nullopt, 1, 0},
                                 {RowKind::kDelete, 2, std::nullopt, 0}};
  const Judged whole = Judge(Options(true), rows, true, true, rows.size());
  EXPECT_EQ(whole.rows, (std::vector<Row>{rows[0], {RowKind::kDelete, 1, 1, 0}, rows[5]}));
  ASSERT_EQ(whole.letters.size(), 2u);
  EXPECT_EQ(std::get<0>(whole.letters[0]), "value");
  EXPECT_EQ(whole.letters[1],
            std::tuple("key", "shop.orders: no value, and the table knows rows by that column"));
  EXPECT_EQ(whole.counts.given, 3);
  EXPECT_EQ(whole.counts.failed, 2);
  // Without the row before, the row itself becomes a delete of its key.
  const std::vector<Row> alone = {{RowKind::kUpdateAfter, 7, std::nullopt, 0},
                                  {RowKind::kUpdateAfter, 8, 8, 0}};
  const Judged judged = Judge(Options(true), alone, true, false, alone.size());
  EXPECT_EQ(judged.rows, (std::vector<Row>{{RowKind::kDelete, 7, std::nullopt, 0}, alone[1]}));
}

TEST(Constraints, NoRowIsToBlameForAColumnThatTheTableHasNot) {
  auto op = MakeConstraints(Options(false), true, std::make_unique<FailedRows>(FailedRows::Spec{}), {})
                .ValueOrDie();
  Batch batch = BatchOf({{RowKind::kInsert, 1, 1, 0}}, false);
  batch.columns = batch.columns->RenameColumns({"key", "value", "when"}).ValueOrDie();
  Collect out;
  const auto status = op->process(batch, out).status();
  EXPECT_EQ(KindOf(status), ErrorKind::kUser);
  EXPECT_NE(status.message().find("when"), std::string::npos) << status.message();
}

TEST(Constraints, OfManyTablesNamesAreChecked) {
  nlohmann::json options = {
      {"name", "many"}, {"route", {{"columns", {"key"}}, {"tables_max", 10}}}, {"order_by", "value"}};
  const std::vector<Row> rows = {{RowKind::kInsert, 1, 1, 0},
                                 {RowKind::kInsert, std::nullopt, 1, 0},
                                 {RowKind::kInsert, 3, std::nullopt, 0}};
  auto op = MakeConstraints(options, true, std::make_unique<FailedRows>(FailedRows::Spec{}), {});
  ASSERT_TRUE(op.ok()) << op.status();
  Collect out;
  ASSERT_TRUE((*op)->process(BatchOf(rows, false), out).ok());
  EXPECT_EQ(RowsOf(out.batches), (std::vector<Row>{rows[0]}));
}

}  // namespace
}  // namespace frazil
