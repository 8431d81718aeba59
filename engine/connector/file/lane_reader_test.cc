#include "connector/file/lane_reader.h"

#include <gtest/gtest.h>

#include "connector/file/drained.h"

namespace frazil::file {
namespace {

using nlohmann::json;

Reading Unbounded(const Folder& folder) {
  return {{{"paths", {folder.path("*")}}, {"watch_every_ms", 1}}, false};
}

// Polls until there are so many lines; looks for files go by the clock, the test's time-out ends the loop.
Strings Next(Source& source, size_t lines) {
  Drained drained;
  Strings texts;
  for (int i = 0; i < 100'000 && texts.size() < lines; ++i) {
    drained = Drain(source, {1000, 1 << 20}, 10);
    EXPECT_TRUE(drained.error.ok()) << drained.error.ToString();
    for (const auto& line : drained.lines) texts.push_back(line.text);
  }
  return texts;
}

TEST(LaneReader, AnUnboundedRunHoldsALineThatIsBeingWritten) {
  Folder folder;
  folder.write("a", "{\"a\":1}\n{\"a\":");
  Reading run = Unbounded(folder);
  auto source = Assigned(run).ValueOrDie();
  EXPECT_EQ(Texts(Drain(*source, run.budget)), (Strings{"{\"a\":1}"}));
  EXPECT_EQ(source->condition(), folder.path("a") + ": the last line has no end yet");
  EXPECT_EQ(source->positions()[0].lag, 5);
  run.from = source->positions();
  // Both this run and one that goes on from its position wait for the rest.
  auto restored = Assigned(run).ValueOrDie();
  EXPECT_EQ(Texts(Drain(*restored, run.budget)), Strings{});
  EXPECT_EQ(restored->positions()[0].position, source->positions()[0].position);
  folder.append("a", "2");
  EXPECT_EQ(Texts(Drain(*source, run.budget)), Strings{});
  folder.append("a", "}\n{\"a\":3}");  // a closed object needs no line end
  for (Source* each : {source.get(), restored.get()}) {
    EXPECT_EQ(Next(*each, 2), (Strings{"{\"a\":2}", "{\"a\":3}"}));
    EXPECT_EQ(each->condition(), "");
    EXPECT_EQ(each->positions()[0].lag, 0);
  }
  run.from = source->positions();
  folder.append("a", "\n{\"a\":4}\n");
  EXPECT_EQ(Texts(Drain(*Assigned(run).ValueOrDie(), run.budget)), (Strings{"{\"a\":4}"}));
}

TEST(LaneReader, ABoundedRunTakesALastLineAsItStands) {
  Folder folder;
  folder.write("a", "1\n2");
  Reading run = Unbounded(folder);
  auto source = Assigned(run).ValueOrDie();
  EXPECT_EQ(Texts(Drain(*source, run.budget)), (Strings{"1"}));
  run.from = source->positions();
  run.bounded = true;
  EXPECT_EQ(Texts(ReadAll(run)), (Strings{"2"}));
}

TEST(LaneReader, AFileThatComesBehindEndsAHeldLine) {
  Folder folder;
  folder.write("b", "1\n2");
  Reading run = Unbounded(folder);
  auto source = Assigned(run).ValueOrDie();
  EXPECT_EQ(Texts(Drain(*source, run.budget)), (Strings{"1"}));
  folder.write("a", "3\n");  // not behind: it is read meanwhile
  EXPECT_EQ(Next(*source, 1), (Strings{"3"}));
  EXPECT_EQ(Texts(Drain(*source, run.budget)), Strings{});
  folder.write("c", "4\n5");
  EXPECT_EQ(Next(*source, 2), (Strings{"2", "4"}));
  run.from = source->positions();
  folder.append("c", "5\n");
  EXPECT_EQ(Next(*source, 1), (Strings{"55"}));
  EXPECT_EQ(Next(*Assigned(run).ValueOrDie(), 1), (Strings{"55"}));
}

TEST(LaneReader, RowsOfALaneHaveAnOrder) {
  Folder folder;
  folder.write("b", "1\n22\n");
  Reading run = Unbounded(folder);
  run.budget = {1, 100};
  std::vector<Line> lines;
  const auto read = [&](size_t wanted) {
    auto source = Assigned(run).ValueOrDie();
    while (lines.size() < wanted) {
      const Drained drained = Drain(*source, run.budget, 10);
      ASSERT_TRUE(drained.error.ok()) << drained.error.ToString();
      lines.insert(lines.end(), drained.lines.begin(), drained.lines.end());
    }
    run.from = source->positions();
  };
  read(2);
  folder.write("a", "333\n");  // late for its place
  folder.append("b", "4\n");
  read(4);
  folder.write("c", "5\n");
  read(5);
  ASSERT_EQ(lines.size(), 5U);
  Strings places;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) EXPECT_LT(lines[i - 1].order, lines[i].order);
    places.push_back(lines[i].text + "@" + std::to_string(lines[i].position));
  }
  EXPECT_EQ(places, (Strings{"1@0", "22@2", "333@0", "4@5", "5@0"}));
  EXPECT_EQ(lines[4].order, 11);
}

// What a start says after the files with `names` have gone, and what it reads with on_removed="skip".
struct Restart {
  Status error;
  Drained skipped;
};

Restart Without(Reading run, const Folder& folder, const Strings& names) {
  for (const auto& name : names) std::filesystem::remove_all(folder.path(name));
  Restart restart;
  restart.error = ReadAll(run).error;
  run.options["on_removed"] = "skip";
  restart.skipped = ReadAll(run);
  return restart;
}

TEST(LaneReader, FilesThatGoBeforeTheyAreReadAreMissed) {
  for (const char* lanes : {"by_folder", "each", "one"}) {
    for (const bool begun : {true, false}) {
      Folder folder;
      folder.write("x/1", "1\n2\n");
      Reading run{{{"paths", {folder.path("*/*")}}, {"lanes", lanes}}, true, 1 << 20, {1, 100}, {}};
      auto source = Assigned(run).ValueOrDie();
      if (begun) ASSERT_EQ(source->poll(run.budget)->kind, Poll::Kind::kRows);
      run.from = source->positions();
      folder.write("y/1", "3\n");
      const Restart restart = Without(run, folder, {"x"});
      // A sequence of all files goes on if none of it was begun: nobody can tell which files it had.
      const bool missed = begun || std::string(lanes) != "one";
      EXPECT_EQ(restart.error.ok(), !missed) << lanes << restart.error.ToString();
      if (missed) {
        const std::string what = begun ? "going on in \"" + folder.path("x/1") + "\" at 2: the file"
                                       : ": the rest of it (4 bytes)";
        EXPECT_NE(MessageOf(restart.error).find(what + " is not there any more\n  put it back"),
                  std::string::npos)
            << MessageOf(restart.error);
      }
      EXPECT_EQ(Texts(restart.skipped), (Strings{"3"})) << lanes;
      // A file that is put back is read on.
      run.from = restart.skipped.steps.back().second;
      folder.write("x/1", "1\n2\n");
      EXPECT_EQ(Texts(ReadAll(run)), begun ? (Strings{"2"}) : (Strings{"1", "2"})) << lanes;
    }
  }
}

TEST(LaneReader, AFileOfWhichALineIsLeftIsMissed) {
  Folder folder;
  folder.write("x/1", "1\n22");
  Reading run{{{"paths", {folder.path("*/*")}}, {"lanes", "each"}}};
  auto source = Assigned(run).ValueOrDie();
  folder.append("x/1", "33\n");
  EXPECT_EQ(Texts(Drain(*source, run.budget)), (Strings{"1"}));
  run.from = source->positions();
  EXPECT_EQ(Texts(ReadAll(run)), (Strings{"2233"}));
  folder.write("y/1", "3\n");
  EXPECT_NE(MessageOf(Without(run, folder, {"x"}).error).find("the rest of it (2 bytes) is not there"),
            std::string::npos);
}

TEST(LaneReader, FilesThatWereReadMayGo) {
  for (const char* lanes : {"by_folder", "each", "one"}) {
    Folder folder;
    folder.write("x/1", "1\n2\n");
    Reading run{{{"paths", {folder.path("*/*")}}, {"lanes", lanes}}, true, 1 << 20, {1, 100}, {}};
    run.from = ReadAll(run).steps.back().second;
    folder.write("y/1", "3\n");
    const Drained second = ReadAll(run);
    EXPECT_EQ(Texts(second), (Strings{"3"}));
    run.from = second.steps.back().second;  // known behind the last row, not only at the end
    const Restart restart = Without(run, folder, {"x", "y/1"});
    EXPECT_EQ(KindOf(restart.error), ErrorKind::kConfig) << restart.error.ToString();  // no file at all
    folder.write("z/1", "4\n");
    EXPECT_EQ(Texts(ReadAll(run)), (Strings{"4"})) << lanes;
  }
}

}  // namespace
}  // namespace frazil::file
