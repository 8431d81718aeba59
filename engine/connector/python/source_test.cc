#include "connector/python/source.h"

#include <arrow/api.h>
#include <arrow/util/key_value_metadata.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/limits.h"
#include "connector/python/readers.h"

namespace frazil {
namespace {

const auto kSchema = arrow::schema({arrow::field("id", arrow::int64(), false)});
const auto kRead = arrow::schema({arrow::field("note", arrow::utf8()), kSchema->field(0)});

std::shared_ptr<arrow::RecordBatch> Rows(int64_t first, int64_t count) {
  arrow::Int64Builder ids;
  arrow::StringBuilder notes;
  for (int64_t i = 0; i < count; ++i) {
    EXPECT_TRUE(ids.Append(first + i).ok());
    EXPECT_TRUE(notes.Append(std::string(100, 'x')).ok());
  }
  return arrow::RecordBatch::Make(kRead, count, {*notes.Finish(), *ids.Finish()});
}

// Notes who is to be read where; the test puts what was read.
class FakeReaders : public PartitionReaders {
 public:
  Result<std::vector<Listed>> partitions() override { return listed; }
  Status open(const std::string& partition, const std::string& position, bool until_now,
              std::shared_ptr<ReadQueue> queue) override {
    opened[partition] = {position, until_now};
    queues[partition] = std::move(queue);
    return Status::OK();
  }

  std::vector<Listed> listed;
  std::map<std::string, std::pair<std::string, bool>> opened;
  std::map<std::string, std::shared_ptr<ReadQueue>> queues;
};

class PythonSourceTest : public testing::Test {
 protected:
  PythonSourceTest() : readers(std::make_shared<FakeReaders>()), handle(AddReaders(readers)) {}
  ~PythonSourceTest() override { RemoveReaders(handle); }

  std::unique_ptr<Source> make() {
    return *MakePythonSource({{"handle", handle}}, kSchema, arrow::default_memory_pool());
  }
  std::vector<Partition> discover(bool bounded) {
    return *(*MakePythonEnumerator({{"handle", handle}}))->discover(bounded);
  }

  std::shared_ptr<FakeReaders> readers;
  int64_t handle;
  Budget budget{100, 1 << 20};
  int wakes = 0;
};

TEST_F(PythonSourceTest, PositionsAreThoseBehindWhatWasTaken) {
  readers->listed = {{"b", "null", false}, {"a", R"({"x":1})", false}};
  const auto found = discover(false);
  ASSERT_EQ(found.size(), 2);
  EXPECT_EQ(found[0].name, "a");
  EXPECT_EQ(found[0].end, "");
  auto source = make();
  ASSERT_TRUE(
      source->assign({{0, "a", found[0].start, ""}, {1, "b", found[1].start, ""}}, [this] { ++wakes; }).ok());
  EXPECT_EQ(readers->opened["a"], (std::pair<std::string, bool>(R"({"x":1})", false)));
  EXPECT_EQ(source->poll(budget)->kind, Poll::Kind::kIdle);
  EXPECT_TRUE(source->behind(0));
  ASSERT_TRUE(readers->queues["a"]->put({Rows(0, 3), R"({"x":4})"}));
  ASSERT_TRUE(readers->queues["a"]->put({Rows(3, 2), R"({"x":6})"}));
  EXPECT_EQ(wakes, 2);
  const auto first = *source->poll(budget);
  EXPECT_EQ(first.columns->num_columns(), 1);
  EXPECT_EQ(first.origin.position_end, 3);
  const auto second = *source->poll(budget);
  EXPECT_EQ(second.origin.position_begin, 3);
  EXPECT_EQ(second.origin.position_end, 5);
  EXPECT_TRUE(source->behind(0));  // the last read gave rows
  readers->queues["a"]->catch_up();
  EXPECT_FALSE(source->behind(0));
  const auto at = source->positions();
  EXPECT_EQ(nlohmann::json::parse(at[0].position),
            (nlohmann::json{{"v", 1}, {"row", 5}, {"at", R"({"x":6})"}}));
  ASSERT_TRUE(source->committed({{"a", at[0].position}, {"other", "?"}}).ok());
  EXPECT_EQ(readers->queues["a"]->take_committed(), R"({"x":6})");
  EXPECT_EQ(readers->queues["a"]->take_committed(), std::nullopt);

  auto again = make();
  ASSERT_TRUE(again->assign({{0, "a", at[0].position, ""}}, [] {}).ok());
  EXPECT_EQ(readers->opened["a"].first, R"({"x":6})");
  ASSERT_TRUE(readers->queues["a"]->put({Rows(5, 1), "7"}));
  EXPECT_EQ(again->poll(budget)->origin.position_begin, 5);
}

std::shared_ptr<arrow::RecordBatch> Bytes(const std::vector<std::string>& rows, int64_t at,
                                          const std::string& reason) {
  arrow::BinaryBuilder raw;
  arrow::Int64Builder places;
  arrow::StringBuilder reasons, paths;
  for (const std::string& row : rows) {
    EXPECT_TRUE(raw.Append(row).ok());
    EXPECT_TRUE(places.Append(at++).ok());
    EXPECT_TRUE((reason.empty() ? reasons.AppendNull() : reasons.Append(reason)).ok());
    EXPECT_TRUE(paths.Append("p").ok());
  }
  const auto schema =
      arrow::schema({arrow::field("raw", arrow::binary()), arrow::field("at", arrow::int64()),
                     arrow::field("reason", arrow::utf8()), arrow::field("_path", arrow::utf8())},
                    arrow::key_value_metadata({"frazil.place", "frazil.base"}, {"s3://b/k", "70"}));
  return arrow::RecordBatch::Make(schema, static_cast<int64_t>(rows.size()),
                                  {*raw.Finish(), *places.Finish(), *reasons.Finish(), *paths.Finish()});
}

TEST_F(PythonSourceTest, BytesAreLeftToTheDecoder) {
  auto source = make();
  ASSERT_TRUE(source->assign({{0, "a", R"({"v":1,"row":5,"at":"null"})", ""}}, [] {}).ok());
  ASSERT_TRUE(readers->queues["a"]->put({Bytes({"one", "", "three"}, 8, ""), "1"}));
  ASSERT_TRUE(readers->queues["a"]->put({Bytes({std::string(100'000, 'x')}, 12, "too long"), "2"}));
  ASSERT_TRUE(readers->queues["a"]->put({Bytes({}, 0, ""), "3"}));
  const auto good = *source->poll(budget);
  ASSERT_TRUE(good.raw.has_value());
  EXPECT_EQ(good.columns, nullptr);
  EXPECT_EQ(good.raw->rows(), 3);
  EXPECT_EQ(good.raw->row(0), "one");
  EXPECT_EQ(good.raw->row(1), "");
  EXPECT_EQ(good.raw->row(2), "three");
  EXPECT_GE(good.raw->data->size(), good.raw->offset[2] + 5 + kRawPadding);
  EXPECT_EQ(good.raw->position, (std::vector<int64_t>{8, 9, 10}));
  EXPECT_EQ(good.raw->place, "s3://b/k");
  EXPECT_EQ(good.raw->metadata->schema()->field_names(), std::vector<std::string>{"_path"});
  EXPECT_EQ(good.origin.position_begin, 8);
  EXPECT_EQ(good.origin.position_end, 11);
  EXPECT_EQ(good.origin.position_base, 70);
  const auto bad = *source->poll(budget);
  ASSERT_EQ(bad.raw->rejected.size(), 1);
  EXPECT_EQ(bad.raw->rows(), 0);
  EXPECT_EQ(bad.raw->rejected[0].position, 12);
  EXPECT_EQ(bad.raw->rejected[0].reason, "too long");
  EXPECT_EQ(bad.raw->rejected[0].raw_bytes, 100'000);
  EXPECT_EQ(bad.raw->rejected[0].raw.size(), static_cast<size_t>(limits::kRejectedRawBytes));
  EXPECT_EQ((*source->poll(budget)).raw->rows(), 0);
  EXPECT_EQ(nlohmann::json::parse(source->positions()[0].position),
            (nlohmann::json{{"v", 1}, {"row", 9}, {"at", "3"}}));
}

TEST_F(PythonSourceTest, EndsWhenAllPartitionsHave) {
  readers->listed = {{"a", "null", false}, {"b", "null", true}};
  const auto found = discover(true);
  auto source = make();
  ASSERT_TRUE(
      source->assign({{0, "a", found[0].start, found[0].end}, {1, "b", found[1].start, found[1].end}}, [] {})
          .ok());
  EXPECT_TRUE(readers->opened["a"].second);
  EXPECT_FALSE(readers->opened["b"].second);  // it has an end of its own
  ASSERT_TRUE(readers->queues["a"]->put({Rows(0, 1), "1"}));
  readers->queues["a"]->end();
  EXPECT_EQ(source->poll(budget)->kind, Poll::Kind::kRows);
  EXPECT_EQ(source->poll(budget)->kind, Poll::Kind::kIdle);
  readers->queues["b"]->end();
  EXPECT_EQ(source->poll(budget)->kind, Poll::Kind::kEnd);
}

TEST_F(PythonSourceTest, HeldPartitionsAreLeft) {
  auto source = make();
  const std::string start = R"({"v":1,"row":0,"at":"null"})";
  ASSERT_TRUE(source->assign({{0, "a", start, ""}, {1, "b", start, ""}}, [] {}).ok());
  ASSERT_TRUE(readers->queues["a"]->put({Rows(0, 1), "1"}));
  ASSERT_TRUE(readers->queues["b"]->put({Rows(0, 1), "1"}));
  const std::vector<int32_t> held = {0};
  Budget some = budget;
  some.held = held;
  EXPECT_EQ(source->poll(some)->origin.partition, 1);
  EXPECT_EQ(source->poll(some)->kind, Poll::Kind::kIdle);
  EXPECT_EQ(source->poll(budget)->origin.partition, 0);
}

TEST_F(PythonSourceTest, AnErrorComesBehindTheRowsBeforeIt) {
  auto source = make();
  ASSERT_TRUE(source->assign({{0, "a", R"({"v":1,"row":0,"at":"null"})", ""}}, [] {}).ok());
  readers->queues["a"]->note("away");
  EXPECT_EQ(source->condition(), "a: away");
  ASSERT_TRUE(readers->queues["a"]->put({Rows(0, 1), "1"}));
  readers->queues["a"]->fail(NamedError("SourceError", "boom"));
  EXPECT_EQ(source->poll(budget)->kind, Poll::Kind::kRows);
  const auto error = source->poll(budget).status();
  EXPECT_EQ(NameOf(error), "SourceError");
  EXPECT_EQ(MessageOf(error), "boom");
}

TEST_F(PythonSourceTest, WhoeverReadsWaitsForRoomAndIsSentAway) {
  auto source = make();
  ASSERT_TRUE(source->assign({{0, "a", R"({"v":1,"row":0,"at":"null"})", ""}}, [] {}).ok());
  auto queue = readers->queues["a"];
  int put = 0;
  std::thread reader([&] {
    while (queue->put({Rows(0, 1'000), "1"})) ++put;
  });
  int taken = 0;
  while (taken < 100) taken += source->poll(budget)->kind == Poll::Kind::kRows ? 1 : 0;
  source.reset();
  reader.join();
  EXPECT_GE(put, taken);
  EXPECT_LE(put, taken + 11);  // a MiB, and one more
  EXPECT_FALSE(queue->pause(1'000));
}

TEST_F(PythonSourceTest, WhoeverIsLeftBehindWakesNobody) {
  auto source = make();
  ASSERT_TRUE(source->assign({{0, "a", R"({"v":1,"row":0,"at":"null"})", ""}}, [this] { ++wakes; }).ok());
  auto queue = readers->queues["a"];
  queue->note("away");
  EXPECT_EQ(wakes, 1);
  source.reset();
  EXPECT_FALSE(queue->put({Rows(0, 1), "1"}));
  queue->note("");
  queue->end();
  queue->fail(NamedError("SourceError", "boom"));
  EXPECT_EQ(wakes, 1);
}

TEST_F(PythonSourceTest, PositionsOfOthersAreRefused) {
  auto source = make();
  for (const char* text : {"", "{}", "7", R"({"v":2,"row":0,"at":"null"})", R"({"v":1,"row":-1,"at":"null"})",
                           R"({"v":1,"row":0,"at":null})"}) {
    const Status status = source->assign({{0, "a", text, ""}}, [] {});
    EXPECT_EQ(KindOf(status), ErrorKind::kState) << text;
  }
  readers->listed = {{"a", "null", false}, {"a", "null", false}};
  EXPECT_FALSE((*MakePythonEnumerator({{"handle", handle}}))->discover(false).ok());
  EXPECT_FALSE(MakePythonEnumerator({{"handle", 0}}).ok());
}

}  // namespace
}  // namespace frazil
