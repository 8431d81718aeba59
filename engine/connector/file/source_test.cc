#include "connector/file/source.h"

#include <arrow/api.h>
#include <arrow/io/compressed.h>
#include <arrow/io/file.h>
#include <arrow/util/compression.h>
#include <gtest/gtest.h>
#include <parquet/arrow/writer.h>

#include <algorithm>
#include <filesystem>
#include <random>

#include "base/limits.h"
#include "connector/file/drained.h"

namespace frazil {
namespace {

using file::Assigned;
using file::Drain;
using file::Drained;
using file::Folder;
using file::Line;
using file::ReadAll;
using file::Reading;
using file::Strings;
using file::Texts;
using nlohmann::json;
namespace fs = std::filesystem;

TEST(FileSource, ReadsLinesOfAllKinds) {
  Folder folder;
  folder.write("a.jsonl", "\xef\xbb\xbf{\"a\":1}\r\n\n  \t\n\r\n{\"a\":2}\n{\"a\":3}");
  folder.write("b.jsonl", "");
  folder.write("c.jsonl", "\n");
  folder.write("d.jsonl", "{\"a\":4}\n");
  folder.write(".hidden.jsonl", "{\"a\":5}\n");
  folder.write("_temporary.jsonl", "{\"a\":6}\n");
  const Drained drained = ReadAll({{{"paths", {folder.path("*.jsonl")}}}});
  EXPECT_EQ(Texts(drained), (Strings{"{\"a\":1}", "{\"a\":2}", "{\"a\":3}", "{\"a\":4}"}));
  EXPECT_EQ(drained.last, Poll::Kind::kEnd);
  EXPECT_EQ(drained.lines[0].position, 3);
  EXPECT_EQ(drained.lines[1].position, 19);
  EXPECT_EQ(drained.lines[3].place, folder.path("d.jsonl"));
  EXPECT_EQ(ReadAll({{{"paths", {"file://" + folder.path("d.jsonl")}}}}).lines.size(), 1U);
}

TEST(FileSource, SaysWhatIsMissing) {
  Folder folder;
  folder.write("a.jsonl", "{}\n");
  const auto message = [](const Drained& drained) { return MessageOf(drained.error); };
  EXPECT_EQ(message(ReadAll({{{"paths", {folder.path("*.json")}}}})),
            "listing files: no file matches \"" + folder.path("*.json") +
                "\"\n  correct the path, or put the files there first");
  EXPECT_EQ(message(ReadAll({{{"paths", {folder.path("b.jsonl")}}}})),
            "listing files: there is no file or folder \"" + folder.path("b.jsonl") +
                "\"\n  correct the path, or put the files there first");
  EXPECT_FALSE(ReadAll({{{"paths", json::array()}}}).error.ok());
  EXPECT_FALSE(ReadAll({{{"paths", {"relative/a.jsonl"}}}}).error.ok());
  EXPECT_FALSE(ReadAll({{{"paths", {folder.path("a.jsonl")}}, {"lanes", "many"}}}).error.ok());
  EXPECT_EQ(KindOf(ReadAll({{{"paths", {folder.path("a.jsonl")}}, {"format", "csv"}}}).error),
            ErrorKind::kConfig);
}

// Lines that are hard on chunks: empty ones, CRLF, long ones.
std::string HardText(uint64_t seed, int lines) {
  std::mt19937_64 random(seed);
  std::string text;
  for (int i = 0; i < lines; ++i) {
    switch (random() % 8) {
      case 0:
        break;
      case 1:
        text += "{}\r";
        break;
      case 2:
        text += "{\"a\":\"" + std::string(random() % 3000, 'x') + "\"}";
        break;
      case 3:
        text += "   ";
        break;
      default:
        text += "{\"a\":" + std::to_string(random() % 100'000) + "}";
        break;
    }
    if (i + 1 < lines || random() % 2 == 0) text += '\n';
  }
  return text;
}

std::string Packed(const std::string& text, arrow::Compression::type kind) {
  auto codec = arrow::util::Codec::Create(kind).ValueOrDie();
  std::string packed(static_cast<size_t>(codec->MaxCompressedLen(static_cast<int64_t>(text.size()), nullptr)),
                     '\0');
  const auto size =
      codec
          ->Compress(static_cast<int64_t>(text.size()), reinterpret_cast<const uint8_t*>(text.data()),
                     static_cast<int64_t>(packed.size()), reinterpret_cast<uint8_t*>(packed.data()))
          .ValueOrDie();
  packed.resize(static_cast<size_t>(size));
  return packed;
}

// More lanes than are open at once, each of which has to wait for all others after each chunk.
TEST(FileSource, LanesThatWaitMakeRoomForOthers) {
  for (const bool packed : {false, true}) {
    Folder folder;
    constexpr int kLanes = 70, kLines = 40;
    for (int i = 0; i < kLanes; ++i) {
      std::string text;
      for (int n = 0; n < kLines; ++n) text += "{\"a\":" + std::to_string(n) + "}\n";
      const std::string name = "f" + std::to_string(100 + i) + (packed ? ".gz" : "");
      folder.write(name, packed ? Packed(text, arrow::Compression::GZIP) : text);
    }
    Reading run{{{"paths", {folder.path("f*")}}, {"ordered", false}}};
    run.chunk_bytes = 100;
    auto source = Assigned(run).ValueOrDie();
    std::vector<int64_t> read(kLanes, 0);
    int64_t rows = 0;
    Poll polled;
    for (int polls = 0; polls < 1'000'000; ++polls) {
      const int64_t least = *std::min_element(read.begin(), read.end());
      std::vector<int32_t> held;
      for (int32_t i = 0; i < kLanes; ++i) {
        if (read[static_cast<size_t>(i)] > least) held.push_back(i);
      }
      Budget budget{1000, 100};
      budget.held = held;
      polled = source->poll(budget).ValueOrDie();
      if (polled.kind == Poll::Kind::kEnd) break;
      if (polled.kind == Poll::Kind::kIdle) continue;
      auto& lane = read[static_cast<size_t>(polled.origin.partition)];
      EXPECT_EQ(lane, least);
      rows += polled.raw->rows();
      lane += polled.raw->rows();
      if (lane == kLines) lane = 1 << 20;
    }
    EXPECT_EQ(polled.kind, Poll::Kind::kEnd);
    EXPECT_EQ(rows, kLanes * kLines);
  }
}

TEST(FileSource, ChunksAndBudgetsChangeNothing) {
  Folder folder;
  for (int i = 0; i < 4; ++i) folder.write("f" + std::to_string(i), HardText(static_cast<uint64_t>(i), 200));
  folder.write("f4.gz", Packed(HardText(10, 200), arrow::Compression::GZIP) +
                            Packed("\n" + HardText(11, 100), arrow::Compression::GZIP));
  folder.write("f5.zst", Packed(HardText(12, 200), arrow::Compression::ZSTD) +
                             Packed("\n" + HardText(13, 100), arrow::Compression::ZSTD));
  Reading run{{{"paths", {folder.path("f*")}}}};
  const Drained whole = ReadAll(run);
  ASSERT_TRUE(whole.error.ok()) << whole.error.ToString();
  ASSERT_GT(whole.lines.size(), 600U);
  std::mt19937_64 random(7);
  for (int round = 0; round < 16; ++round) {
    run.chunk_bytes = 1 + static_cast<int64_t>(random() % (round % 4 == 0 ? 50 : 5000));
    run.budget = {1 + static_cast<int64_t>(random() % 100), 1 + static_cast<int64_t>(random() % 10'000)};
    const Drained again = ReadAll(run);
    ASSERT_TRUE(again.error.ok()) << again.error.ToString();
    ASSERT_TRUE(again.lines == whole.lines) << "chunks of " << run.chunk_bytes;
  }
}

// Reads on from every position of a run and compares with its rest.
void ExpectRestarts(Reading run) {
  const Drained whole = ReadAll(run);
  ASSERT_TRUE(whole.error.ok()) << whole.error.ToString();
  for (size_t i = 1; i < whole.lines.size(); ++i) ASSERT_LT(whole.lines[i - 1].order, whole.lines[i].order);
  for (const auto& [lines, positions] : whole.steps) {
    run.from = positions;
    const Drained rest = ReadAll(run);
    ASSERT_TRUE(rest.error.ok()) << rest.error.ToString();
    const std::vector<Line> wanted(whole.lines.begin() + static_cast<std::ptrdiff_t>(lines),
                                   whole.lines.end());
    ASSERT_TRUE(rest.lines == wanted) << "after " << lines << " of " << whole.lines.size() << " lines, "
                                      << rest.lines.size() << " were left";
  }
}

TEST(FileSource, ReadsOnFromEveryPosition) {
  Folder folder;
  folder.write("a", HardText(1, 60));
  folder.write("b.gz", Packed(HardText(2, 60), arrow::Compression::GZIP));
  folder.write("c.zst", Packed(HardText(3, 60), arrow::Compression::ZSTD));
  folder.write("d", HardText(4, 60));
  for (const bool bounded : {true, false})
    ExpectRestarts({{{"paths", {folder.path("*")}}}, bounded, 700, {7, 2000}, {}});
}

TEST(FileSource, RejectsALineThatIsTooLong) {
  Folder folder;
  std::string text = "{\"a\":1}\n{\"b\":\"";
  const size_t begin = 8;
  text += std::string(static_cast<size_t>(limits::kRowBytesMax), 'x') + "\"}\n{\"a\":2}\n";
  const std::string at_limit =
      "{\"c\":\"" + std::string(static_cast<size_t>(limits::kRowBytesMax) - 8, 'y') + "\"}";
  text += at_limit + "\n{\"a\":3}\n" + std::string(static_cast<size_t>(limits::kRowBytesMax) + 1, 'z');
  folder.write("a", text);
  const Drained drained = ReadAll({{{"paths", {folder.path("a")}}}});
  EXPECT_EQ(Texts(drained), (Strings{"{\"a\":1}", "{\"a\":2}", at_limit, "{\"a\":3}"}));
  ASSERT_EQ(drained.rejected.size(), 2U);
  EXPECT_EQ(drained.rejected[0].position, static_cast<int64_t>(begin));
  EXPECT_EQ(drained.rejected[0].reason, "line longer than 16777216 bytes");
  EXPECT_EQ(drained.rejected[0].raw_bytes, limits::kRowBytesMax + 8);
  EXPECT_EQ(drained.rejected[0].raw.size(), static_cast<size_t>(limits::kRejectedRawBytes));
  EXPECT_EQ(drained.rejected[1].raw_bytes, limits::kRowBytesMax + 1);
}

TEST(FileSource, RefusesNamesThatAreNotUtf8) {
  Folder folder;
  folder.write("a\xff", "1\n");
  const Status error = ReadAll({{{"paths", {folder.path("*")}}}}).error;
  EXPECT_EQ(KindOf(error), ErrorKind::kConfig);
  EXPECT_NE(MessageOf(error).find("is not UTF-8"), std::string::npos) << error.ToString();
}

TEST(FileSource, MakesLanes) {
  Folder folder;
  folder.write("x/1", "x1\n"), folder.write("x/2", "x2\n"), folder.write("y/1", "y1\n"),
      folder.write("y/z/3", "z3\n");
  const auto names = [&](const json& options) {
    Strings found;
    for (const auto& partition : MakeFileEnumerator(options).ValueOrDie()->discover(true).ValueOrDie())
      found.push_back(partition.name);
    return found;
  };
  EXPECT_EQ(names({{"paths", {folder.path("")}}}), (Strings{"files"}));
  EXPECT_EQ(names({{"paths", {folder.path("*/*")}}, {"lanes", "by_folder"}}),
            (Strings{folder.path("x"), folder.path("y")}));
  EXPECT_EQ(names({{"paths", {folder.path("**")}}, {"lanes", "by_folder"}}),
            (Strings{folder.path("x"), folder.path("y"), folder.path("y/z")}));
  EXPECT_EQ(names({{"paths", {folder.path("x")}}, {"ordered", false}}),
            (Strings{folder.path("x/1"), folder.path("x/2")}));
  EXPECT_EQ(names({{"lanes", {{folder.path("x/1")}, {folder.path("y")}}}}), (Strings{"lane-0", "lane-1"}));
  EXPECT_EQ(Texts(ReadAll({{{"lanes", {{folder.path("y/1"), folder.path("x/2"), folder.path("x/*")}}}}})),
            (Strings{"y1", "x2", "x1"}));
  Strings all = Texts(ReadAll({{{"paths", {folder.path("**")}}, {"lanes", "each"}}}));
  std::sort(all.begin(), all.end());
  EXPECT_EQ(all, (Strings{"x1", "x2", "y1", "z3"}));
}

TEST(FileSource, ABoundedRunReadsWhatWasThere) {
  Folder folder;
  folder.write("a", "1\n2\n");
  const Reading run{{{"paths", {folder.path("*")}}}};
  auto source = Assigned(run).ValueOrDie();
  folder.append("a", "3\n");
  folder.write("b", "4\n");
  Drained drained = Drain(*source, run.budget);
  EXPECT_EQ(Texts(drained), (Strings{"1", "2"}));
  // The next run goes on where this one stopped: the grown file's new lines, then the new file.
  Reading next = run;
  next.from = source->positions();
  drained = ReadAll(next);
  std::vector<std::string> texts = Texts(drained);
  std::sort(texts.begin(), texts.end());
  EXPECT_EQ(texts, (Strings{"3", "4"}));
}

TEST(FileSource, LeavesALineThatIsBeingWritten) {
  Folder folder;
  folder.write("a", "1\n22");
  Reading run{{{"paths", {folder.path("*")}}}};
  auto source = Assigned(run).ValueOrDie();
  folder.append("a", "33\n4\n");
  EXPECT_EQ(Texts(Drain(*source, run.budget)), (Strings{"1"}));
  run.from = source->positions();
  EXPECT_EQ(Texts(ReadAll(run)), (Strings{"2233", "4"}));
  // A line that was whole for us may get its line end later.
  for (const char* end : {"\n", "\r\n"}) {
    folder.write("a", "1\n2");
    run.from.clear();
    source = Assigned(run).ValueOrDie();
    EXPECT_EQ(Texts(Drain(*source, run.budget)), (Strings{"1", "2"}));
    run.from = source->positions();
    folder.append("a", end);
    EXPECT_EQ(Texts(ReadAll(run)), Strings{});
    folder.append("a", "3\n");
    EXPECT_EQ(Texts(ReadAll(run)), (Strings{"3"}));
  }
  // But one that is written on later cannot be mended.
  folder.write("a", "1\n2");
  run.from.clear();
  source = Assigned(run).ValueOrDie();
  EXPECT_EQ(Texts(Drain(*source, run.budget)), (Strings{"1", "2"}));
  run.from = source->positions();
  folder.append("a", "3\n");
  EXPECT_NE(MessageOf(ReadAll(run).error).find("not the begin of a line"), std::string::npos);
}

TEST(FileSource, ChangedFilesAreErrors) {
  Folder folder;
  folder.write("a.gz", Packed("1\n", arrow::Compression::GZIP));
  folder.write("b", "22\n33\n");
  Reading run{{{"paths", {folder.path("*")}}}};
  auto source = Assigned(run).ValueOrDie();
  folder.write("b", "22\n");
  Drained drained = Drain(*source, run.budget);
  EXPECT_EQ(KindOf(drained.error), ErrorKind::kState);
  EXPECT_NE(MessageOf(drained.error).find("was 6 bytes long when it was listed and is 3 bytes"),
            std::string::npos)
      << MessageOf(drained.error);
  // A packed file that was read and then replaced.
  run.from = source->positions();
  folder.write("a.gz", Packed("a longer line than before\n", arrow::Compression::GZIP));
  EXPECT_NE(MessageOf(ReadAll(run).error).find("when it was read and is"), std::string::npos);
  // The file being read is gone.
  Folder other;
  other.write("a", "1\n2\n3\n");
  run = Reading{{{"paths", {other.path("*")}}}, true, 1 << 20, {1, 100}, {}};
  source = Assigned(run).ValueOrDie();
  ASSERT_TRUE(source->poll(run.budget).ok());
  run.from = source->positions();
  fs::remove(other.path("a"));
  other.write("b", "4\n");
  EXPECT_NE(MessageOf(ReadAll(run).error).find("is not there any more"), std::string::npos);
  // Files that were read may go.
  run.from = {};
  source = Assigned(run).ValueOrDie();
  EXPECT_EQ(Texts(Drain(*source, run.budget)), (Strings{"4"}));
  run.from = source->positions();
  fs::remove(other.path("b"));
  other.write("c", "5\n");
  EXPECT_EQ(Texts(ReadAll(run)), (Strings{"5"}));
}

TEST(FileSource, BrokenArchivesAreErrors) {
  Folder folder;
  const std::string packed = Packed(std::string(100'000, 'x') + "\n", arrow::Compression::GZIP);
  folder.write("a.gz", packed.substr(0, packed.size() / 2));
  EXPECT_FALSE(ReadAll({{{"paths", {folder.path("a.gz")}}}}).error.ok());
  folder.write("a.gz", "no archive");
  const Status error = ReadAll({{{"paths", {folder.path("a.gz")}}}}).error;
  EXPECT_EQ(MessageOf(error).rfind(folder.path("a.gz") + ": ", 0), 0U) << error.ToString();
  EXPECT_EQ(Texts(ReadAll({{{"paths", {folder.path("a.gz")}}, {"compression", "none"}}})),
            (Strings{"no archive"}));
}

TEST(FileSource, WatchesForNewFiles) {
  Folder folder;
  folder.write("b", "1\n");
  Reading run{{{"paths", {folder.path("*")}}, {"watch_every_ms", 1}}, false};
  auto source = Assigned(run).ValueOrDie();
  Strings texts;
  const auto expect = [&](const Strings& expected) {
    // Looks go by the clock; the loop ends by what is found, or by the test's time-out.
    for (int i = 0; i < 100'000 && texts.size() < expected.size(); ++i) {
      for (const auto& line : Drain(*source, run.budget, 10).lines) texts.push_back(line.text);
    }
    EXPECT_EQ(texts, expected);
  };
  expect({"1"});
  folder.write("c", "2\n");
  expect({"1", "2"});
  folder.write("a", "3\n");  // sorts before: read after all that are there
  expect({"1", "2", "3"});
  folder.append("c", "4\n");
  expect({"1", "2", "3", "4"});
  run.from = source->positions();
  folder.write("aa", "5\n");
  source = Assigned(run).ValueOrDie();
  expect({"1", "2", "3", "4", "5"});
}

TEST(FileSource, GivesMetadata) {
  Folder folder;
  folder.write("a", "1\n22\n");
  const Reading run{{{"paths", {folder.path("a")}}, {"metadata", {"path", "offset"}}}};
  auto source = Assigned(run).ValueOrDie();
  const auto poll = source->poll(run.budget).ValueOrDie();
  const auto& metadata = *poll.raw->metadata;
  ASSERT_EQ(metadata.num_rows(), 2);
  EXPECT_EQ(static_cast<const arrow::StringArray&>(*metadata.GetColumnByName("_path")).GetString(1),
            folder.path("a"));
  EXPECT_EQ(static_cast<const arrow::Int64Array&>(*metadata.GetColumnByName("_offset")).Value(1), 2);
  EXPECT_EQ(poll.origin.position_begin, 0);
  EXPECT_EQ(poll.origin.position_end, 5);
}

TEST(FileSource, KeepsPositionsOfManyFilesShort) {
  Folder folder;
  for (int i = 0; i < 700; ++i) {
    char name[16];
    std::snprintf(name, sizeof(name), "f%04d", i);
    folder.write(name, std::to_string(i) + "\n");
  }
  Reading run{{{"paths", {folder.path("*")}}}};
  auto source = Assigned(run).ValueOrDie();
  EXPECT_EQ(Drain(*source, run.budget).lines.size(), 700U);
  run.from = source->positions();
  EXPECT_LE(json::parse(run.from[0].position)["done"].size(), 512U);
  folder.write("f0650a", "late\n");
  folder.write("f0700", "new\n");
  EXPECT_EQ(Texts(ReadAll(run)), (Strings{"new", "late"}));
}

// What assign() or the first poll says of files that are not as they were.
Status Refused(Reading& run) {
  auto source = Assigned(run);
  return source.ok() ? (*source)->poll(run.budget).status() : source.status();
}

TEST(FileSource, RefusesFilesThatComeUnderTheFloor) {
  Folder folder;
  for (int i = 0; i < 700; ++i) {
    char name[16];
    std::snprintf(name, sizeof(name), "f%04d", i);
    folder.write(name, std::to_string(i) + "\n");
  }
  Reading run{{{"paths", {folder.path("*")}}}};
  auto source = Assigned(run).ValueOrDie();
  EXPECT_EQ(Drain(*source, run.budget).lines.size(), 700U);
  run.from = source->positions();
  EXPECT_TRUE(Refused(run).ok());
  folder.write("f0001a", "late\n");
  EXPECT_NE(Refused(run).message().find("1 files came at or before"), std::string::npos);
  fs::remove(folder.path("f0001a"));
  folder.append("f0001", "more\n");
  EXPECT_NE(Refused(run).message().find("a file came or changed"), std::string::npos);
  fs::remove(folder.path("f0001"));  // read files may go
  EXPECT_TRUE(Refused(run).ok());
}

TEST(FileSource, KeepsPositionsOfLongNamesShort) {
  Folder folder;
  const std::string long_folder = std::string(200, 'x') + "/" + std::string(200, 'y') + "/";
  for (int i = 0; i < 300; ++i)
    folder.write(long_folder + std::to_string(1000 + i), std::to_string(i) + "\n");
  Reading run{{{"paths", {folder.path("")}}}};
  auto source = Assigned(run).ValueOrDie();
  EXPECT_EQ(Drain(*source, run.budget).lines.size(), 300U);
  EXPECT_LT(source->positions()[0].position.size(), 60U << 10);  // a manifest takes 64 KiB
  folder.write(long_folder + "2000", "new\n");
  run.from = source->positions();
  EXPECT_EQ(Texts(ReadAll(run)), (Strings{"new"}));
}

TEST(FileSource, LeavesOutFilesInHiddenFolders) {
  Folder folder;
  folder.write("a", "1\n");
  folder.write("_frazil/staging/b", "2\n");
  folder.write(".tmp/b", "3\n");
  folder.write("_day=1/c", "4\n");
  Reading run{{{"paths", {folder.path("")}}}};
  EXPECT_EQ(Texts(ReadAll(run)), (Strings{"4", "1"}));
  Reading pattern{{{"paths", {folder.path("**")}}}};
  EXPECT_EQ(Texts(ReadAll(pattern)), (Strings{"4", "1"}));
  Reading asked{{{"paths", {folder.path("_frazil/*/*")}}}};
  EXPECT_EQ(Texts(ReadAll(asked)), (Strings{"2"}));
}

std::shared_ptr<arrow::RecordBatch> Table(int64_t begin, int64_t rows) {
  arrow::Int32Builder a;
  arrow::StringBuilder b;
  arrow::DoubleBuilder unused;
  for (int64_t i = begin; i < begin + rows; ++i) {
    EXPECT_TRUE(a.Append(static_cast<int32_t>(i)).ok() && b.Append("row " + std::to_string(i)).ok() &&
                unused.Append(0.5).ok());
  }
  return arrow::RecordBatch::Make(
      arrow::schema({arrow::field("unused", arrow::float64()), arrow::field("b", arrow::utf8()),
                     arrow::field("a", arrow::int32())}),
      rows, {*unused.Finish(), *b.Finish(), *a.Finish()});
}

void WriteParquet(const std::string& path, int64_t begin, int64_t rows, int64_t group_rows) {
  auto table = arrow::Table::FromRecordBatches({Table(begin, rows)}).ValueOrDie();
  auto out = arrow::io::FileOutputStream::Open(path).ValueOrDie();
  ASSERT_TRUE(parquet::arrow::WriteTable(*table, arrow::default_memory_pool(), out, group_rows).ok());
  ASSERT_TRUE(out->Close().ok());
}

TEST(FileSource, ReadsParquetFromEveryPosition) {
  Folder folder;
  folder.write("x", "");
  WriteParquet(folder.path("a.parquet"), 0, 50, 20);
  WriteParquet(folder.path("b.parquet"), 50, 35, 10);
  const json options = {
      {"paths", {folder.path("*.parquet")}}, {"format", "parquet"}, {"metadata", {"offset"}}};
  const auto schema =
      arrow::schema({arrow::field("a", arrow::int64()), arrow::field("_offset", arrow::int64(), false),
                     arrow::field("b", arrow::utf8()), arrow::field("c", arrow::date32())});
  const auto partition = MakeFileEnumerator(options).ValueOrDie()->discover(true).ValueOrDie().at(0);
  std::vector<std::pair<int64_t, std::string>> steps = {{0, partition.start}};
  for (size_t step = 0; step < steps.size(); ++step) {
    auto source = MakeFileSource(options, schema, arrow::default_memory_pool()).ValueOrDie();
    auto [row, position] = steps[step];
    ASSERT_TRUE(source->assign({{0, partition.name, position, partition.end}}, [] {}).ok());
    for (;;) {
      const auto poll = source->poll({7, 1 << 20}).ValueOrDie();
      if (poll.kind == Poll::Kind::kEnd) break;
      ASSERT_EQ(poll.kind, Poll::Kind::kRows);
      ASSERT_TRUE(poll.columns->ValidateFull().ok());
      ASSERT_EQ(poll.origin.position_base + poll.origin.position_begin, row);
      ASSERT_EQ(poll.origin.position_base + poll.origin.position_end, row + poll.columns->num_rows());
      for (int64_t i = 0; i < poll.columns->num_rows(); ++i, ++row) {
        ASSERT_EQ(static_cast<const arrow::Int64Array&>(*poll.columns->column(0)).Value(i), row);
        ASSERT_EQ(static_cast<const arrow::Int64Array&>(*poll.columns->column(1)).Value(i),
                  row < 50 ? row : row - 50);
        ASSERT_EQ(static_cast<const arrow::StringArray&>(*poll.columns->column(2)).GetString(i),
                  "row " + std::to_string(row));
        ASSERT_TRUE(poll.columns->column(3)->IsNull(i));
      }
      if (step == 0) steps.emplace_back(row, source->positions().at(0).position);
    }
    ASSERT_EQ(row, 85);
  }
  ASSERT_GT(steps.size(), 10U);
}

TEST(FileSource, ChecksParquetTypes) {
  Folder folder;
  folder.write("x", "");
  WriteParquet(folder.path("a.parquet"), 0, 5, 5);
  const json options = {{"paths", {folder.path("a.parquet")}}, {"format", "parquet"}};
  const auto error = [&](const std::shared_ptr<arrow::Field>& field) {
    const auto partition = MakeFileEnumerator(options).ValueOrDie()->discover(true).ValueOrDie().at(0);
    auto source = MakeFileSource(options, arrow::schema({field}), arrow::default_memory_pool()).ValueOrDie();
    EXPECT_TRUE(source->assign({{0, partition.name, partition.start, partition.end}}, [] {}).ok());
    return MessageOf(source->poll({7, 100}).status());
  };
  EXPECT_EQ(error(arrow::field("a", arrow::utf8())),
            folder.path("a.parquet") +
                ": column \"a\": expected string, got int32\n  declare the type of the file and cast in the "
                "pipeline");
  EXPECT_EQ(error(arrow::field("z", arrow::utf8(), false)),
            folder.path("a.parquet") + ": there is no column \"z\", which is not nullable");
  EXPECT_EQ(error(arrow::field("a", arrow::int16())).find("expected int16") != std::string::npos, true);
  folder.write("a.parquet", "PAR1 and so on");
  EXPECT_NE(error(arrow::field("a", arrow::int32())).find("check that it is a whole Parquet file"),
            std::string::npos);
}

}  // namespace
}  // namespace frazil
