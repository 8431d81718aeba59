#include "connector/iceberg/route_sink.h"

#include <arrow/api.h>
#include <arrow/io/file.h>
#include <arrow/ipc/writer.h>
#include <arrow/util/base64.h>
#include <arrow/util/thread_pool.h>
#include <gtest/gtest.h>
#include <parquet/arrow/reader.h>

#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "connector/iceberg/sink.h"

namespace frazil::iceberg {
namespace {

std::string Schema() {
  const auto field = [](const char* name, const std::shared_ptr<arrow::DataType>& type, int id) {
    return arrow::field(name, type, true,
                        arrow::key_value_metadata({"PARQUET:field_id"}, {std::to_string(id)}));
  };
  const auto schema = arrow::schema({field("table", arrow::utf8(), 1), field("id", arrow::int64(), 2)});
  return arrow::util::base64_encode(std::string_view(*arrow::ipc::SerializeSchema(*schema).ValueOrDie()));
}

class RouteSinkTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("route-" + std::to_string(::getpid()));
    std::filesystem::remove_all(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  nlohmann::json table(const std::string& name, bool keyed = false) const {
    nlohmann::json options = {{"location", "file://" + (folder_ / name).string()},
                              {"schema", Schema()},
                              {"table_uuid", name},
                              {"attempt", 1}};
    if (keyed) options["key"] = {"id"};
    return options;
  }

  std::unique_ptr<Sink> make(std::vector<std::string> known = {}, bool keyed = false, int worker = 0,
                             int workers = 1) {
    nlohmann::json options = {{"route", {{"columns", {"table"}}, {"tables_max", 500}, {"keep", true}}},
                              {"tables", nlohmann::json::object()}};
    if (keyed) options["key"] = {"id"};
    for (const auto& name : known) options["tables"][name] = table(name, keyed);
    SinkContext context;
    context.worker = worker;
    context.workers = workers;
    context.pool = &pool_;
    context.io = io_.get();
    context.want_table = [this](const std::string& name, const nlohmann::json&) { wanted_.push_back(name); };
    auto sink = MakeIcebergSink(options, context);
    EXPECT_TRUE(sink.ok()) << sink.status();
    (*sink)->begin(1);
    return std::move(*sink);
  }

  static Batch rows(const std::vector<std::pair<std::string, int64_t>>& rows) {
    arrow::StringBuilder tables;
    arrow::Int64Builder ids;
    for (const auto& [name, id] : rows) {
      EXPECT_TRUE(tables.Append(name).ok() && ids.Append(id).ok());
    }
    return Batch{arrow::RecordBatch::Make(
        arrow::schema({arrow::field("table", arrow::utf8()), arrow::field("id", arrow::int64())}),
        static_cast<int64_t>(rows.size()), {*tables.Finish(), *ids.Finish()})};
  }

  // Ids of the rows in the files that a token has, by table.
  static std::map<std::string, std::multiset<int64_t>> read(const Token& token) {
    std::map<std::string, std::multiset<int64_t>> found;
    if (token.empty()) return found;
    const auto parsed = nlohmann::json::parse(token);
    for (const auto& [name, text] : parsed.at("tables").items()) {
      const auto own = nlohmann::json::parse(text.get<std::string>());
      EXPECT_EQ(own.at("table"), name);
      for (const auto& file : own.at("files")) {
        const std::string path = file.at("path").get<std::string>().substr(7);
        auto reader = parquet::arrow::OpenFile(arrow::io::ReadableFile::Open(path).ValueOrDie(),
                                               arrow::default_memory_pool())
                          .ValueOrDie();
        std::shared_ptr<arrow::Table> rows;
        EXPECT_TRUE(reader->ReadTable(&rows).ok());
        const auto column = rows->GetColumnByName("id");
        for (int64_t i = 0; i < rows->num_rows(); ++i) {
          const auto value = column->GetScalar(i).ValueOrDie();
          found[name].insert(static_cast<const arrow::Int64Scalar&>(*value).value);
        }
      }
    }
    return found;
  }

  static arrow::RecordBatchVector saved(Sink* sink, bool full) {
    EXPECT_TRUE(sink->freeze(full).ok());
    arrow::RecordBatchVector rows;
    for (bool done = false; !done;) {
      auto last = sink->save(1, &rows);
      EXPECT_TRUE(last.ok()) << last.status();
      done = last.ValueOr(true);
    }
    return rows;
  }

  std::filesystem::path folder_;
  arrow::ProxyMemoryPool pool_{arrow::system_memory_pool()};
  std::shared_ptr<arrow::internal::ThreadPool> io_ = *arrow::internal::ThreadPool::Make(2);
  std::vector<std::string> wanted_;
};

TEST_F(RouteSinkTest, EachTableHasItsRowsAndAnUnknownOneIsAskedFor) {
  auto sink = make({"a"});
  ASSERT_TRUE(sink->write(rows({{"a", 1}, {"b", 2}, {"a", 3}, {"b", 4}})).ok());
  ASSERT_TRUE(sink->write(rows({{"b", 5}})).ok());
  EXPECT_EQ(wanted_, (std::vector<std::string>{"b"}));
  EXPECT_EQ(read(*sink->prepare(1).result()), (std::map<std::string, std::multiset<int64_t>>{{"a", {1, 3}}}));
  sink->begin(2);
  ASSERT_TRUE(sink->write(rows({{"b", 6}})).ok());
  ASSERT_TRUE(sink->open_table("b", table("b")).ok());
  ASSERT_TRUE(sink->write(rows({{"b", 7}})).ok());
  EXPECT_EQ(read(*sink->prepare(2).result()),
            (std::map<std::string, std::multiset<int64_t>>{{"b", {2, 4, 5, 6, 7}}}));
}

TEST_F(RouteSinkTest, WaitingRowsAreStateUntilTheyAreWritten) {
  for (const bool keyed : {false, true}) {
    auto sink = make({}, keyed);
    ASSERT_TRUE(sink->write(rows({{"a", 1}, {"b", 2}, {"a", 3}})).ok());
    auto state = saved(sink.get(), true);
    ASSERT_TRUE(sink->prepare(1).result()->empty());
    sink->begin(2);
    ASSERT_TRUE(sink->write(rows({{"a", 4}})).ok());
    ASSERT_TRUE(sink->open_table("b", table("b", keyed)).ok());
    for (auto& batch : saved(sink.get(), false)) state.push_back(batch);
    ASSERT_FALSE(sink->prepare(2).result()->empty());

    // By three workers, each of which takes what is its own.
    std::multiset<int64_t> found;
    for (int worker = 0; worker < 3; ++worker) {
      wanted_.clear();
      auto restored = make({"b"}, keyed, worker, 3);
      for (const auto& batch : state) {
        if (batch->GetColumnByName("waiting") != nullptr) ASSERT_TRUE(restored->restore(batch).ok());
      }
      ASSERT_TRUE(restored->open_table("a", table("a", keyed)).ok());
      ASSERT_TRUE(restored->open_table("b", table("b", keyed)).ok());
      const auto tables = read(*restored->prepare(1).result());
      EXPECT_FALSE(tables.contains("b"));  // they had been written
      if (tables.contains("a")) found.insert(tables.at("a").begin(), tables.at("a").end());
    }
    EXPECT_EQ(found, (std::multiset<int64_t>{1, 3, 4}));
  }
}

TEST_F(RouteSinkTest, IndexOfATableThatIsNotOpenIsKept) {
  auto sink = make({"a", "b"}, true);
  ASSERT_TRUE(sink->write(rows({{"a", 1}, {"b", 1}, {"b", 2}})).ok());
  const auto state = saved(sink.get(), true);
  ASSERT_FALSE(sink->prepare(1).result()->empty());

  auto restored = make({"a"}, true);  // b cannot be opened
  for (const auto& batch : state) ASSERT_TRUE(restored->restore(batch).ok());
  ASSERT_TRUE(restored->freeze(true).ok());
  ASSERT_TRUE(restored->open_table("b", table("b", true)).ok());  // in the middle of it
  arrow::RecordBatchVector again;
  for (bool done = false; !done;) done = *restored->save(1, &again);

  auto third = make({"a", "b"}, true);
  for (const auto& batch : again) ASSERT_TRUE(third->restore(batch).ok());
  ASSERT_TRUE(third->write(rows({{"a", 1}, {"b", 1}})).ok());
  const auto token = nlohmann::json::parse(*third->prepare(1).result());
  for (const auto& [name, text] : token.at("tables").items()) {
    EXPECT_TRUE(nlohmann::json::parse(text.get<std::string>()).contains("deletes")) << name;
  }
}

TEST_F(RouteSinkTest, RowsThatWaitAreBounded) {
  auto sink = make();
  const std::vector<std::pair<std::string, int64_t>> many(100'000, {"a", 1});
  while (!sink->full()) ASSERT_TRUE(sink->write(rows(many)).ok());
  EXPECT_LT(sink->bytes(), 2 * (kRouteOpeningBytes + kRouteGatherBytes));
  Status status = sink->fail_table("a", "no right to make it");
  EXPECT_FALSE(sink->full());  // it holds up nobody
  int64_t batches = 0;
  for (; status.ok(); ++batches) status = sink->write(rows(many));
  EXPECT_GT(batches, 10);
  EXPECT_EQ(KindOf(status), ErrorKind::kUser);
  EXPECT_EQ(MessageOf(status),
            "more than 64 MB of rows wait for tables that cannot be opened (a): no right to make it");
}

TEST_F(RouteSinkTest, MemoryIsBoundedHoweverManyTables) {
  std::vector<std::string> names;
  for (int i = 0; i < 300; ++i) names.push_back("t" + std::to_string(i));
  auto sink = make(names);
  std::vector<std::pair<std::string, int64_t>> some;
  for (int i = 0; i < 30'000; ++i) some.emplace_back(names[static_cast<size_t>(i) % names.size()], i);
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(sink->write(rows(some)).ok());
    ASSERT_LT(sink->bytes(), kRouteWriterBytes + 2 * kRouteGatherBytes);
  }
  const auto found = read(*sink->prepare(1).result());
  ASSERT_EQ(found.size(), 300);
  for (const auto& [name, ids] : found) EXPECT_EQ(ids.size(), 20'000) << name;
  EXPECT_LT(pool_.max_memory(), kRouteWriterBytes + 8 * kRouteGatherBytes);
}

TEST_F(RouteSinkTest, NamesAreChecked) {
  auto sink = make();
  for (const std::string name : {"", "a/b", "a.b", "ä", "a b"}) {
    const Status status = sink->write(rows({{"ok", 1}, {name, 1}}));
    EXPECT_EQ(KindOf(status), ErrorKind::kUser) << name;
    EXPECT_NE(MessageOf(status).find("column \"table\" is \"" + name + "\""), std::string::npos);
  }
  EXPECT_FALSE(sink->write(rows({{std::string(129, 'x'), 1}})).ok());
  Status status = Status::OK();
  for (int i = 0; status.ok(); ++i) status = sink->write(rows({{"n" + std::to_string(i), 1}}));
  EXPECT_NE(MessageOf(status).find("one more than the 500 tables"), std::string::npos);
}

}  // namespace
}  // namespace frazil::iceberg
