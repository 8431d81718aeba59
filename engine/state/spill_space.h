#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>

#include "base/status.h"
#include "state/page_runs.h"

namespace frazil {

struct SpillOptions {
  std::string folder;          // on a disk
  int64_t bytes_max = 0;       // of the file; 0: nothing is spilled
  int64_t resident_bytes = 0;  // of it that trim() leaves in the memory of the process
};

// Room for state that is more than memory: a file without a name in `folder`, mapped into memory. What lies
// in it has an address and stays there, so that nobody who uses it knows; the kernel writes pages that are
// not used to the disk when it wants their memory for something else, and reads them again when they are
// touched. The file is made when room is first asked for, and is gone with the process, however that ends.
//
// Every page is allocated on the disk before it is given out, so that a full disk is an error of allocate()
// and not a signal later. A disk that breaks while a page is read or written ends the process (SIGBUS), like
// a crash. Any thread; the room that is given belongs to who asked.
class SpillSpace {
 public:
  explicit SpillSpace(SpillOptions options) : options_(std::move(options)) {}
  ~SpillSpace();
  SpillSpace(const SpillSpace&) = delete;
  SpillSpace& operator=(const SpillSpace&) = delete;

  // `bytes` in whole pages; what is in them is anything. Errors, of kind kUser: bytes_max is reached, the
  // folder is in memory or cannot be written to, the disk has too little room left.
  Result<uint8_t*> allocate(int64_t bytes);
  void free(uint8_t* memory, int64_t bytes);
  bool owns(const uint8_t* memory) const {
    const uint8_t* begin = begin_.load(std::memory_order_acquire);
    return begin != nullptr && memory >= begin && memory < begin + options_.bytes_max;
  }

  // Takes pages of the file out of the memory of the process until no more than resident_bytes are left; the
  // kernel still has them as long as it likes. They are those that were longest not taken out. Called between
  // pieces of work, during which there may be more: the kernel maps up to 16 pages for one that is read.
  // Cheap if there is nothing to do.
  void trim();

  // That are given out.
  int64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

  // Whole pages of so many bytes.
  static int64_t PageBytes(int64_t bytes);

 private:
  Status open();
  Status extend(int64_t pages);
  Status back(int64_t page, int64_t pages);
  void give_back_room();
  int64_t resident() const;

  const SpillOptions options_;
  std::mutex mutex_;
  std::atomic<uint8_t*> begin_{nullptr};
  std::atomic<int64_t> bytes_{0};
  int file_ = -1;
  int statm_ = -1;         // /proc/self/statm
  int64_t shared_ = 0;     // pages of files that were resident before
  int64_t end_ = 0;        // pages of the file
  PageRuns free_, holes_;  // with room on the disk, and without
  int64_t hand_ = 0;       // the page at which trim() goes on
};

}  // namespace frazil
