#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>

namespace frazil {

// Free runs of pages of a space, found by size: the smallest that is large enough, of those the first. Runs
// that touch are one. One thread.
class PageRuns {
 public:
  struct Run {
    int64_t page = 0;
    int64_t pages = 0;
  };

  // None of these pages may be free already.
  void add(Run run) {
    const auto next = by_page_.lower_bound(run.page);
    if (next != by_page_.end() && run.page + run.pages == next->first) {
      run.pages += next->second;
      remove({next->first, next->second});
    }
    if (const auto after = by_page_.lower_bound(run.page); after != by_page_.begin()) {
      const auto [page, pages] = *std::prev(after);
      if (page + pages == run.page) {
        remove({page, pages});
        run = {page, pages + run.pages};
      }
    }
    by_page_.emplace(run.page, run.pages);
    by_size_.emplace(run.pages, run.page);
    pages_ += run.pages;
  }

  // The first of `pages` pages, which are free no more.
  std::optional<int64_t> take(int64_t pages) {
    const auto found = by_size_.lower_bound({pages, 0});
    if (found == by_size_.end()) return std::nullopt;
    const Run run{found->second, found->first};
    remove(run);
    if (run.pages > pages) add({run.page + pages, run.pages - pages});
    return run.page;
  }

  std::optional<Run> take_largest() {
    if (by_size_.empty()) return std::nullopt;
    const Run run{by_size_.rbegin()->second, by_size_.rbegin()->first};
    remove(run);
    return run;
  }

  int64_t pages() const { return pages_; }

 private:
  void remove(Run run) {
    by_page_.erase(run.page);
    by_size_.erase({run.pages, run.page});
    pages_ -= run.pages;
  }

  std::map<int64_t, int64_t> by_page_;             // pages of the run that begins there
  std::set<std::pair<int64_t, int64_t>> by_size_;  // pages, first page
  int64_t pages_ = 0;
};

}  // namespace frazil
