#include "connector/iceberg/upsert_sink.h"

#include <arrow/api.h>
#include <arrow/io/file.h>
#include <arrow/io/memory.h>
#include <arrow/ipc/reader.h>
#include <arrow/ipc/writer.h>
#include <arrow/util/base64.h>
#include <arrow/util/thread_pool.h>
#include <gtest/gtest.h>
#include <parquet/arrow/reader.h>

#include <filesystem>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/truncate.h"
#include "connector/iceberg/sink.h"
#include "state/key.h"
#include "state/key_codec.h"
#include "state/snapshot_file.h"

namespace frazil::iceberg {
namespace {

struct Row {
  int64_t id = 0, value = 0, part = 0;
  auto operator<=>(const Row&) const = default;
};
struct Change {
  RowKind kind = RowKind::kInsert;
  Row row;
};

std::shared_ptr<arrow::Schema> TableSchema() {
  const auto field = [](const char* name, int id, bool nullable) {
    return arrow::field(name, arrow::int64(), nullable,
                        arrow::key_value_metadata({"PARQUET:field_id"}, {std::to_string(id)}));
  };
  return arrow::schema({field("id", 1, false), field("value", 2, false), field("part", 3, true)});
}

nlohmann::json Options(const std::string& folder, bool partitioned) {
  const auto schema = arrow::ipc::SerializeSchema(*TableSchema()).ValueOrDie();
  nlohmann::json options = {{"location", "file://" + folder},
                            {"schema", arrow::util::base64_encode(std::string_view(*schema))},
                            {"table_uuid", "t"},
                            {"key", {"id"}},
                            {"spec_id", 3},
                            {"attempt", 1}};
  if (partitioned) {
    options["partition"] = {{{"source", "part"}, {"name", "part"}, {"transform", "identity"}, {"param", 0}}};
  }
  return options;
}

Batch BatchOf(const std::vector<Change>& changes, bool kinds, bool values = false) {
  arrow::Int64Builder id, value, part;
  arrow::UInt8Builder kind;
  for (const Change& change : changes) {
    EXPECT_TRUE(id.Append(change.row.id).ok());
    // Of a row that goes only the key need be known.
    const bool gone = change.kind == RowKind::kDelete && !values;
    EXPECT_TRUE((gone ? value.AppendNull() : value.Append(change.row.value)).ok());
    EXPECT_TRUE(part.Append(change.row.part).ok());
    EXPECT_TRUE(kind.Append(static_cast<uint8_t>(change.kind)).ok());
  }
  arrow::FieldVector fields = {arrow::field("id", arrow::int64()), arrow::field("value", arrow::int64()),
                               arrow::field("part", arrow::int64())};
  arrow::ArrayVector columns = {*id.Finish(), *value.Finish(), *part.Finish()};
  if (kinds) {
    fields.push_back(arrow::field(std::string(kKindColumn), arrow::uint8(), false));
    columns.push_back(*kind.Finish());
  }
  return Batch{
      arrow::RecordBatch::Make(arrow::schema(fields), static_cast<int64_t>(changes.size()), columns)};
}

int WorkerOfId(int64_t id, int workers) {
  arrow::Int64Builder builder;
  EXPECT_TRUE(builder.Append(id).ok());
  return WorkerOf(GroupOf(HashKeys({*builder.Finish()}, 1).ValueOrDie().front()), workers);
}

std::string EncodedId(int64_t id) {
  arrow::Int64Builder builder;
  EXPECT_TRUE(builder.Append(id).ok());
  EncodedKeys keys;
  EXPECT_TRUE(KeyCodec::Make({arrow::int64()}).ValueOrDie().encode({*builder.Finish()}, 1, &keys).ok());
  return std::string(keys.key(0));
}

// What a committer makes of tokens: the files of a table, and which of their rows are deleted.
class Table {
 public:
  void commit(const std::string& token) {
    const auto parsed = nlohmann::json::parse(token);
    ASSERT_EQ(parsed.at("v"), 2);
    for (const auto& file : parsed.at("files")) add(file);
    unknown += parsed.at("unknown").get<int64_t>();
    if (parsed.contains("deletes")) take_away(parsed["deletes"]);
  }

  std::vector<Row> rows() const {
    std::vector<Row> left;
    for (const auto& [path, file] : files_) {
      for (size_t i = 0; i < file.rows.size(); ++i) {
        if (!file.deleted.contains(i)) left.push_back(file.rows[i]);
      }
    }
    std::sort(left.begin(), left.end());
    return left;
  }

  int64_t unknown = 0, deletes = 0, files = 0, spilled = 0;

 private:
  struct File {
    std::vector<Row> rows;
    std::set<size_t> deleted;
    nlohmann::json partition;
  };

  void add(const nlohmann::json& entry) {
    const auto path = entry.at("path").get<std::string>();
    ASSERT_FALSE(files_.contains(path));
    const auto input = arrow::io::ReadableFile::Open(path.substr(7)).ValueOrDie();
    auto reader = parquet::arrow::OpenFile(input, arrow::default_memory_pool()).ValueOrDie();
    std::shared_ptr<arrow::Table> table;
    ASSERT_TRUE(reader->ReadTable(&table).ok());
    File& file = files_[path];
    ++files;
    file.partition = entry.at("partition");
    table = table->CombineChunks().ValueOrDie();
    const auto column = [&](int i) {
      return std::static_pointer_cast<arrow::Int64Array>(table->column(i)->chunk(0));
    };
    for (int64_t i = 0; i < table->num_rows(); ++i) {
      file.rows.push_back({column(0)->Value(i), column(1)->Value(i), column(2)->Value(i)});
    }
    ASSERT_EQ(entry.at("rows"), table->num_rows());
  }

  void take_away(const nlohmann::json& deletes) {
    std::shared_ptr<arrow::io::InputStream> input;
    if (deletes.contains("rows_path")) {
      const auto path = deletes["rows_path"].get<std::string>().substr(7);
      input = arrow::io::ReadableFile::Open(path).ValueOrDie();
      ++spilled;
    } else {
      const auto bytes = arrow::util::base64_decode(deletes.at("rows").get<std::string>()).ValueOrDie();
      input = std::make_shared<arrow::io::BufferReader>(arrow::Buffer::FromString(bytes));
    }
    const auto reader = arrow::ipc::RecordBatchStreamReader::Open(input).ValueOrDie();
    const auto table = reader->ToTable().ValueOrDie()->CombineChunks().ValueOrDie();
    const auto& file = static_cast<const arrow::UInt32Array&>(*table->column(0)->chunk(0));
    const auto& row = static_cast<const arrow::UInt32Array&>(*table->column(1)->chunk(0));
    const auto& key = static_cast<const arrow::BinaryArray&>(*table->column(2)->chunk(0));
    for (int64_t i = 0; i < table->num_rows(); ++i) {
      const auto& named = deletes.at("files").at(file.Value(i));
      const auto found = files_.find(named.at("path").get<std::string>());
      ASSERT_NE(found, files_.end());
      ASSERT_EQ(named.at("partition"), found->second.partition);
      ASSERT_EQ(named.at("spec_id"), 3);
      ASSERT_LT(row.Value(i), found->second.rows.size());
      ASSERT_EQ(key.GetString(i), EncodedId(found->second.rows[row.Value(i)].id));
      ASSERT_TRUE(found->second.deleted.insert(row.Value(i)).second) << "deleted twice";
      if (i > 0) {
        ASSERT_LT(std::pair(file.Value(i - 1), row.Value(i - 1)), std::pair(file.Value(i), row.Value(i)));
      }
    }
    this->deletes += table->num_rows();
  }

  std::map<std::string, File> files_;
};

class UpsertSinkTest : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() /
              ("frazil-upsert-" + std::to_string(::getpid()) + "-" + std::to_string(GetParam()));
    std::filesystem::create_directories(folder_);
    random_.seed(static_cast<uint64_t>(GetParam()));
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  uint64_t draw(uint64_t below) { return random_() % below; }

  // Workers anew, with what the checkpoint has.
  void start(int workers) {
    sinks_.clear();
    for (int worker = 0; worker < workers; ++worker) {
      auto sink = MakeIcebergSink(options_, SinkContext{.worker = worker, .io = io_});
      ASSERT_TRUE(sink.ok()) << sink.status();
      sinks_.push_back(std::move(*sink));
      sinks_.back()->begin(epoch_);
      const auto [first, last] = GroupsOf(worker, workers);
      for (const auto& rows : state_) {
        const auto own = RowsOfGroups(rows, first, last, arrow::default_memory_pool()).ValueOrDie();
        if (own->num_rows() == 0) continue;
        ASSERT_TRUE(sinks_.back()->restore(own).ok());
      }
    }
    full_ = true;
  }

  // Some slices of what was frozen.
  void save_some(bool all) {
    for (size_t i = 0; i < saving_.size(); ++i) {
      while (saving_[i] && (all || draw(3) == 0)) {
        const auto done = sinks_[i]->save(1 + static_cast<int64_t>(draw(9)), &saved_);
        ASSERT_TRUE(done.ok());
        saving_[i] = !*done;
      }
    }
  }

  // A truncate is given to every worker.
  void write(const std::vector<Change>& changes, bool kinds, bool values = false) {
    std::vector<std::vector<Change>> parts(sinks_.size());
    for (const Change& change : changes) {
      if (change.kind == kTruncateKind) {
        for (auto& part : parts) part.push_back(change);
        continue;
      }
      parts[static_cast<size_t>(WorkerOfId(change.row.id, static_cast<int>(sinks_.size())))].push_back(
          change);
    }
    for (size_t i = 0; i < parts.size(); ++i) {
      if (parts[i].empty()) continue;
      const auto status = sinks_[i]->write(BatchOf(parts[i], kinds, values));
      ASSERT_TRUE(status.ok()) << status;
    }
  }

  // A barrier: what the epoch before froze is whole now, and is the checkpoint.
  void cut() {
    end_saving();
    saving_.assign(sinks_.size(), true);
    tokens_.clear();
    for (auto& sink : sinks_) {
      ASSERT_TRUE(sink->freeze(full_).ok());
      tokens_.push_back(sink->prepare(epoch_));
      sink->begin(epoch_ + 1);
    }
    saving_full_ = std::exchange(full_, false);
    ++epoch_;
  }

  void end_saving() {
    save_some(/*all=*/true);
    if (saving_full_) state_.clear();
    saving_full_ = false;
    state_.insert(state_.end(), saved_.begin(), saved_.end());
    saved_.clear();
    saving_.clear();
  }

  void commit(Table* table) {
    for (auto& token : tokens_) {
      const auto& text = token.result();
      ASSERT_TRUE(text.ok()) << text.status();
      if (!text->empty()) table->commit(*text);
    }
    tokens_.clear();
  }

  std::filesystem::path folder_;
  nlohmann::json options_;
  arrow::internal::Executor* io_ = nullptr;
  std::mt19937_64 random_;
  std::vector<std::unique_ptr<Sink>> sinks_;
  std::vector<bool> saving_;
  bool full_ = true, saving_full_ = false;
  arrow::RecordBatchVector saved_, state_;
  std::vector<arrow::Future<Token>> tokens_;
  Epoch epoch_ = 5;
};

// After each epoch the table has what the last change of each key says; whatever the workers, batches,
// restarts, and slices in which the index is saved.
TEST_P(UpsertSinkTest, TableIsWhatTheChangesSay) {
  const bool partitioned = GetParam() % 2 == 1;
  const bool kinds = GetParam() % 3 != 0;
  options_ = Options(folder_.string(), partitioned);
  std::shared_ptr<arrow::internal::ThreadPool> io;
  if (GetParam() % 5 == 0) {
    io = arrow::internal::ThreadPool::Make(2).ValueOrDie();
    io_ = io.get();
  }
  if (GetParam() % 4 == 0) options_["target_file_bytes"] = 1;  // a file for every few rows
  Table table;
  std::map<int64_t, Row> model;
  int64_t unknown = 0, value = 0;
  const uint64_t ids = 1 + draw(60);
  const size_t counts[] = {1, 2, 4};
  start(static_cast<int>(counts[draw(3)]));
  for (int epoch = 0; epoch < 14; ++epoch) {
    for (uint64_t batches = draw(4); batches > 0; --batches) {
      std::vector<Change> changes(1 + draw(GetParam() % 7 == 0 ? 6000 : 30));
      std::map<int64_t, bool> known, came;
      for (Change& change : changes) {
        change.row = {static_cast<int64_t>(draw(ids)), ++value, static_cast<int64_t>(draw(3))};
        change.kind = kinds ? static_cast<RowKind>(draw(4)) : RowKind::kInsert;
        const bool gone = change.kind == RowKind::kDelete || change.kind == RowKind::kUpdateBefore;
        known.try_emplace(change.row.id, model.contains(change.row.id));
        came[change.row.id] |= !gone;
        gone ? static_cast<void>(model.erase(change.row.id))
             : static_cast<void>(model[change.row.id] = change.row);
      }
      for (const auto& [id, was] : known) unknown += !was && !came[id];
      write(changes, kinds);
      save_some(/*all=*/false);
    }
    cut();
    commit(&table);
    std::vector<Row> expected;
    for (const auto& [id, row] : model) expected.push_back(row);
    ASSERT_EQ(table.rows(), expected) << "epoch " << epoch;
    if (draw(4) == 0) {
      end_saving();
      start(static_cast<int>(counts[draw(3)]));
    }
  }
  EXPECT_LE(table.unknown, unknown);  // those since the last token are not told yet
  EXPECT_GT(table.files, 0);
  EXPECT_TRUE(ids >= 20 || table.deletes > 0);
  sinks_.clear();
}

// Changes and truncates in any order, some of them twice: what counts is where they stand in the log. After
// each epoch the table has the newest row of each key that is behind all truncates that came.
TEST_P(UpsertSinkTest, TruncatesGoByOrder) {
  options_ = Options(folder_.string(), GetParam() % 2 == 1);
  options_["order_by"] = "value";
  std::vector<Change> log;
  for (int64_t place = 1; place <= 400; ++place) {
    const bool truncate = draw(40) == 0;
    const auto kind = truncate ? kTruncateKind : static_cast<RowKind>(draw(4));
    const auto id = truncate ? 0 : static_cast<int64_t>(draw(30));
    log.push_back({kind, {id, place, static_cast<int64_t>(draw(3))}});
    if (draw(10) == 0) log.push_back(log[draw(log.size())]);
  }
  for (size_t i = 0; i < log.size(); ++i) std::swap(log[i], log[std::min(log.size() - 1, i + draw(60))]);
  Table table;
  std::map<int64_t, Change> newest;
  int64_t floor = 0;
  const size_t counts[] = {1, 2, 4};
  start(static_cast<int>(counts[draw(3)]));
  for (size_t at = 0; at < log.size();) {
    const size_t end = std::min(log.size(), at + 1 + draw(40));
    const std::vector<Change> some(log.begin() + static_cast<int64_t>(at),
                                   log.begin() + static_cast<int64_t>(end));
    at = end;
    for (const Change& change : some) {
      if (change.kind == kTruncateKind) {
        floor = std::max(floor, change.row.value);
        continue;
      }
      const auto [found, is_new] = newest.try_emplace(change.row.id, change);
      if (!is_new && found->second.row.value < change.row.value) found->second = change;
    }
    write(some, /*kinds=*/true, /*values=*/true);
    save_some(/*all=*/false);
    if (draw(3) > 0 && at < log.size()) continue;
    cut();
    commit(&table);
    std::vector<Row> expected;
    for (const auto& [id, change] : newest) {
      const bool gone = change.kind == RowKind::kDelete || change.kind == RowKind::kUpdateBefore;
      if (!gone && change.row.value > floor) expected.push_back(change.row);
    }
    ASSERT_EQ(table.rows(), expected) << "before change " << at;
    if (draw(4) == 0) {
      end_saving();
      start(static_cast<int>(counts[draw(3)]));
    }
  }
  EXPECT_GT(floor, 0);
  sinks_.clear();
}

// Changes in any order, of which each has one: with restarts, the newest of each key counts.
TEST_P(UpsertSinkTest, OlderRowsDoNothing) {
  options_ = Options(folder_.string(), false);
  options_["order_by"] = "part";
  std::vector<Change> changes;
  std::map<int64_t, Change> newest;
  for (int64_t order = -40; order < 160; ++order) {
    const auto id = static_cast<int64_t>(draw(12));
    const RowKind kind = draw(3) == 0 ? RowKind::kDelete : RowKind::kInsert;
    changes.push_back({kind, {id, static_cast<int64_t>(draw(100)), order}});
    newest[id] = changes.back();
  }
  std::shuffle(changes.begin(), changes.end(), random_);
  Table table;
  size_t next = 0;
  while (next < changes.size()) {
    start(1 + static_cast<int>(draw(4)));
    for (uint64_t epoch = 1 + draw(3); epoch > 0; --epoch) {
      const size_t end = std::min(changes.size(), next + draw(40));
      write({changes.begin() + static_cast<std::ptrdiff_t>(next),
             changes.begin() + static_cast<std::ptrdiff_t>(end)},
            true);
      next = end;
      cut();
      save_some(/*all=*/false);
      commit(&table);
    }
    end_saving();
  }
  std::vector<Row> expected;
  for (const auto& [id, change] : newest) {
    if (change.kind == RowKind::kInsert) expected.push_back(change.row);
  }
  EXPECT_EQ(table.rows(), expected);
}

INSTANTIATE_TEST_SUITE_P(Seeds, UpsertSinkTest, ::testing::Range(0, 16));

using OneUpsertSinkTest = UpsertSinkTest;

TEST_P(OneUpsertSinkTest, KeyWithoutValueIsRefused) {
  options_ = Options(folder_.string(), false);
  start(1);
  arrow::Int64Builder id;
  ASSERT_TRUE(id.AppendNull().ok());
  const auto batch = BatchOf({{}}, false);
  const auto status =
      sinks_[0]->write(Batch{*batch.columns->SetColumn(0, batch.columns->schema()->field(0), *id.Finish())});
  EXPECT_EQ(KindOf(status), ErrorKind::kUser);
  EXPECT_NE(MessageOf(status).find("key column \"id\""), std::string::npos) << status;
}

TEST_P(OneUpsertSinkTest, DeletesOfUnknownKeysAreCounted) {
  options_ = Options(folder_.string(), false);
  start(1);
  write({{RowKind::kDelete, {1, 0, 0}}, {RowKind::kInsert, {2, 0, 0}}, {RowKind::kDelete, {3, 0, 0}}}, true);
  cut();
  Table table;
  commit(&table);
  EXPECT_EQ(table.unknown, 2);
  EXPECT_EQ(table.rows(), (std::vector<Row>{{2, 0, 0}}));
}

// What came and went within a batch was never there; what went and came is one row.
TEST_P(OneUpsertSinkTest, NetEffectWithinABatch) {
  options_ = Options(folder_.string(), false);
  start(1);
  write({{RowKind::kInsert, {1, 1, 0}},
         {RowKind::kDelete, {1, 1, 0}},
         {RowKind::kInsert, {2, 1, 0}},
         {RowKind::kUpdateBefore, {2, 1, 0}},
         {RowKind::kUpdateAfter, {2, 2, 0}}},
        true);
  cut();
  Table table;
  commit(&table);
  EXPECT_EQ(table.rows(), (std::vector<Row>{{2, 2, 0}}));
  EXPECT_EQ(table.deletes, 0);
  EXPECT_EQ(table.unknown, 0);
  write({{RowKind::kDelete, {2, 2, 0}}}, true);
  cut();
  commit(&table);
  EXPECT_TRUE(table.rows().empty());
  EXPECT_EQ(table.files, 1);
  EXPECT_EQ(table.deletes, 1);
}

// Many rows replaced in one epoch do not make a large token.
TEST_P(OneUpsertSinkTest, ManyDeletesAreAFile) {
  options_ = Options(folder_.string(), false);
  start(1);
  Table table;
  std::map<int64_t, Row> model;
  for (int round = 0; round < 2; ++round) {
    for (int batch = 0; batch < 12; ++batch) {
      std::vector<Change> changes;
      for (int64_t i = 0; i < 10'000; ++i) {
        const int64_t id = (batch * 10'000 + i) * 7919 % 1'000'003;
        changes.push_back({RowKind::kInsert, {id, static_cast<int64_t>(draw(1 << 20)), 0}});
        model[id] = changes.back().row;
      }
      write(changes, false);
    }
    cut();
    EXPECT_LT(tokens_.front().result()->size(), 10'000U);
    commit(&table);
  }
  std::vector<Row> expected;
  for (const auto& [id, row] : model) expected.push_back(row);
  EXPECT_EQ(table.rows(), expected);
  EXPECT_EQ(table.spilled, 1);
}

TEST_P(OneUpsertSinkTest, DamagedStateIsRefused) {
  options_ = Options(folder_.string(), false);
  start(1);
  write({{RowKind::kInsert, {1, 1, 0}}}, true);
  cut();
  end_saving();
  tokens_.clear();
  arrow::RecordBatchVector keys;
  for (const auto& rows : state_) {
    if (!rows->column(1)->IsNull(0)) keys.push_back(rows);
  }
  ASSERT_EQ(keys.size(), 1U);
  state_ = keys;  // not what their file is
  start(1);
  const auto status = sinks_[0]->write(BatchOf({{}}, true));
  EXPECT_EQ(KindOf(status), ErrorKind::kState) << status;
}

INSTANTIATE_TEST_SUITE_P(One, OneUpsertSinkTest, ::testing::Values(1000));

}  // namespace
}  // namespace frazil::iceberg
