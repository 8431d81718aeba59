// Files in a folder of the test, and what a source of files gives of them. For tests.
#pragma once

#include <arrow/api.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "connector/file/source.h"

namespace frazil::file {

// A folder that goes with the test.
class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "frazil-file-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  std::string path(const std::string& name) const { return (path_ / name).string(); }
  std::string write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((path_ / name).parent_path());
    std::ofstream(path(name), std::ios::binary) << text;
    return path(name);
  }
  void append(const std::string& name, const std::string& text) const {
    std::ofstream(path(name), std::ios::binary | std::ios::app) << text;
  }

 private:
  std::filesystem::path path_;
};

struct Line {
  std::string place;
  int64_t position;
  std::string text;
  int64_t order = 0;  // with the base of its file: rises over all files of a lane
  bool operator==(const Line&) const = default;
  auto operator<=>(const Line&) const = default;
};

// What polls gave until idle or end, and the positions after each of them.
struct Drained {
  std::vector<Line> lines;
  std::vector<RejectedRow> rejected;
  std::vector<std::pair<size_t, std::vector<PartitionPosition>>> steps;  // lines so far, positions
  Poll::Kind last = Poll::Kind::kIdle;
  Status error;
};

struct Reading {
  nlohmann::json options;
  bool bounded = true;
  int64_t chunk_bytes = 1 << 20;
  Budget budget{1000, 1 << 20};
  std::vector<PartitionPosition> from;  // empty = the start
};

inline std::shared_ptr<arrow::Schema> TextSchema() {
  return arrow::schema({arrow::field("a", arrow::int64())});
}

inline Drained Drain(Source& source, const Budget& budget, int idle_max = 2000) {
  Drained drained;
  int idle = 0;
  for (;;) {
    auto polled = source.poll(budget);
    if (!polled.ok()) {
      drained.error = polled.status();
      return drained;
    }
    drained.last = polled->kind;
    if (polled->kind == Poll::Kind::kEnd) return drained;
    if (polled->kind == Poll::Kind::kIdle) {
      if (++idle > idle_max) return drained;
      continue;
    }
    if (polled->raw.has_value()) {
      const RawBatch& raw = *polled->raw;
      for (int64_t i = 0; i < raw.rows(); ++i)
        drained.lines.push_back({raw.place, raw.position[static_cast<size_t>(i)], std::string(raw.row(i)),
                                 polled->origin.position_base + raw.position[static_cast<size_t>(i)]});
      drained.rejected.insert(drained.rejected.end(), raw.rejected.begin(), raw.rejected.end());
    }
    drained.steps.emplace_back(drained.lines.size(), source.positions());
  }
}

inline Result<std::unique_ptr<Source>> Assigned(const Reading& run) {
  FZ_ASSIGN(auto enumerator, MakeFileEnumerator(run.options));
  FZ_TRY(enumerator->known(run.from));
  FZ_ASSIGN(auto partitions, enumerator->discover(run.bounded));
  FZ_ASSIGN(auto source,
            MakeSourceOfChunks(run.options, TextSchema(), arrow::default_memory_pool(), run.chunk_bytes));
  std::vector<Assignment> assignments;
  for (const auto& partition : partitions) {
    std::string position = partition.start;
    for (const auto& from : run.from) {
      if (from.name == partition.name) position = from.position;
    }
    assignments.push_back(
        {static_cast<int32_t>(assignments.size()), partition.name, position, partition.end});
  }
  FZ_TRY(source->assign(assignments, [] {}));
  return source;
}

inline Drained ReadAll(const Reading& run) {
  auto source = Assigned(run);
  if (!source.ok()) {
    Drained drained;
    drained.error = source.status();
    return drained;
  }
  return Drain(**source, run.budget, run.bounded ? 1 << 30 : 2000);
}

inline std::vector<std::string> Texts(const Drained& drained) {
  EXPECT_TRUE(drained.error.ok()) << drained.error.ToString();
  std::vector<std::string> texts;
  for (const auto& line : drained.lines) texts.push_back(line.text);
  return texts;
}

using Strings = std::vector<std::string>;

}  // namespace frazil::file
