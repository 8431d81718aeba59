#include "state/spill_space.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <unistd.h>
#include <cstring>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "state/page_runs.h"

namespace frazil {
namespace {

constexpr int64_t kPage = 4096;

SpillOptions Options(int64_t bytes_max) {
  return {std::filesystem::temp_directory_path().string(), bytes_max, /*resident_bytes=*/0};
}

// Against a map of pages: which are free, and that a run is the smallest that fits.
TEST(PageRuns, IsASetOfPages) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    std::mt19937_64 random(seed);
    constexpr int64_t kPages = 300;
    std::vector<bool> is_free(kPages, false);
    PageRuns runs;
    std::vector<PageRuns::Run> taken{{0, 100}, {100, 200}};
    for (int step = 0; step < 500; ++step) {
      if (random() % 2 == 0 && !taken.empty()) {
        std::swap(taken[random() % taken.size()], taken.back());
        const auto run = taken.back();
        taken.pop_back();
        runs.add(run);
        std::fill_n(is_free.begin() + run.page, run.pages, true);
      } else {
        const auto pages = static_cast<int64_t>(1 + random() % 40);
        int64_t best = kPages + 1;
        for (int64_t from = 0; from < kPages;) {
          int64_t to = from;
          while (to < kPages && is_free[static_cast<size_t>(to)]) ++to;
          if (to - from >= pages) best = std::min(best, to - from);
          from = std::max(to, from + 1);
        }
        const auto page = runs.take(pages);
        ASSERT_EQ(page.has_value(), best <= kPages);
        if (!page) continue;
        int64_t length = 0;
        for (int64_t i = *page; i < kPages && is_free[static_cast<size_t>(i)]; ++i) ++length;
        ASSERT_EQ(length, best);
        std::fill_n(is_free.begin() + *page, pages, false);
        taken.push_back({*page, pages});
      }
      ASSERT_EQ(runs.pages(), std::count(is_free.begin(), is_free.end(), true));
    }
    int64_t left = 0;
    while (const auto run = runs.take_largest()) left += run->pages;
    EXPECT_EQ(left, std::count(is_free.begin(), is_free.end(), true));
  }
}

TEST(SpillSpace, KeepsWhatIsWrittenAcrossTrim) {
  SpillSpace space(Options(64 << 20));
  std::mt19937_64 random(7);
  std::map<uint8_t*, std::pair<int64_t, uint8_t>> held;  // bytes, and what they are filled with
  int64_t bytes = 0;
  for (int step = 0; step < 2000; ++step) {
    if (held.size() < 20 || random() % 2 == 0) {
      const auto size = static_cast<int64_t>(1 + random() % (300 << 10));
      auto room = space.allocate(size);
      ASSERT_TRUE(room.ok()) << room.status().ToString();
      ASSERT_EQ(reinterpret_cast<uintptr_t>(*room) % kPage, 0u);
      ASSERT_TRUE(space.owns(*room));
      const auto fill = static_cast<uint8_t>(random());
      std::memset(*room, fill, static_cast<size_t>(size));
      held[*room] = {size, fill};
      bytes += SpillSpace::PageBytes(size);
    }
    if (held.size() > 100) {
      const auto it = std::next(held.begin(), static_cast<int64_t>(random() % held.size()));
      const auto [size, fill] = it->second;
      ASSERT_EQ(it->first[0], fill);
      ASSERT_EQ(it->first[size - 1], fill);
      space.free(it->first, size);
      bytes -= SpillSpace::PageBytes(size);
      held.erase(it);
    }
    ASSERT_EQ(space.bytes(), bytes);
    if (step % 50 == 0) space.trim();
  }
  for (const auto& [room, what] : held) {
    for (int64_t i = 0; i < what.first; ++i) ASSERT_EQ(room[i], what.second);
  }
}

TEST(SpillSpace, TrimTakesPagesOutOfTheProcess) {
  SpillSpace space(Options(256 << 20));
  const auto resident_kb = [] {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);) {
      if (line.starts_with("RssFile:")) return std::stol(line.substr(8));
    }
    return -1L;
  };
  const long before = resident_kb();
  auto room = space.allocate(128 << 20);
  ASSERT_TRUE(room.ok()) << room.status().ToString();
  std::memset(*room, 1, 128 << 20);
  EXPECT_GT(resident_kb(), before + (100 << 10));
  space.trim();
  EXPECT_LT(resident_kb(), before + (20 << 10));
  EXPECT_EQ((*room)[100 << 20], 1);
}

TEST(SpillSpace, IsGoneFromTheFolder) {
  const auto folder = std::filesystem::temp_directory_path() / ("spill-" + std::to_string(getpid()));
  std::filesystem::create_directory(folder);
  {
    SpillSpace space({folder.string(), 1 << 20, 0});
    ASSERT_TRUE(space.allocate(1).ok());
    EXPECT_TRUE(std::filesystem::is_empty(folder));
  }
  std::filesystem::remove(folder);
}

TEST(SpillSpace, SaysWhyThereIsNoRoom) {
  SpillSpace small(Options(1 << 20));
  ASSERT_TRUE(small.allocate(1000 << 10).ok());
  const auto full = small.allocate(100 << 10);
  ASSERT_FALSE(full.ok());
  EXPECT_NE(full.status().message().find("spill_limit= of 1048576 bytes is reached"), std::string::npos);
  EXPECT_EQ(KindOf(full.status()), ErrorKind::kUser);

  SpillSpace missing({"/nowhere/at/all", 1 << 20, 0});
  EXPECT_NE(missing.allocate(1).status().message().find("set spill_folder="), std::string::npos);
}

TEST(SpillSpace, RefusesAFolderInMemory) {
  if (!std::filesystem::is_directory("/dev/shm")) GTEST_SKIP() << "no folder in memory here";
  SpillSpace space({"/dev/shm", 1 << 20, 0});
  EXPECT_NE(space.allocate(1).status().message().find("is in memory itself"), std::string::npos);
}

TEST(SpillSpace, AnyThread) {
  SpillSpace space(Options(256 << 20));
  std::vector<std::thread> threads;
  for (uint64_t number = 0; number < 4; ++number) {
    threads.emplace_back([&space, number] {
      std::mt19937_64 random(number);
      for (int step = 0; step < 300; ++step) {
        const auto size = static_cast<int64_t>(1 + random() % (64 << 10));
        auto room = space.allocate(size);
        ASSERT_TRUE(room.ok());
        std::memset(*room, static_cast<int>(number), static_cast<size_t>(size));
        space.trim();
        for (int64_t i = 0; i < size; i += 100) ASSERT_EQ((*room)[i], number);
        space.free(*room, size);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(space.bytes(), 0);
}

}  // namespace
}  // namespace frazil
