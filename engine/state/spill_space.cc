#include "state/spill_space.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/check.h"

namespace frazil {
namespace {

constexpr int64_t kPage = 4096;               // bytes; larger pages of a machine are several of these
constexpr int64_t kStepBytes = 16 << 20;      // bytes by which the file grows
constexpr int64_t kFreeBytesMax = 256 << 20;  // bytes of the file that are kept on the disk without use
constexpr int64_t kDiskBytesMin = 1LL << 30;  // bytes that others find free on the disk at least
constexpr int64_t kTrimBytes = 4 << 20;       // bytes of the file that are let go at once

std::string Reason() { return std::strerror(errno); }

int64_t Pages(int64_t bytes) { return (bytes + kPage - 1) / kPage; }

}  // namespace

int64_t SpillSpace::PageBytes(int64_t bytes) { return Pages(bytes) * kPage; }

SpillSpace::~SpillSpace() {
  if (uint8_t* begin = begin_.load()) munmap(begin, static_cast<size_t>(options_.bytes_max));
  if (file_ >= 0) close(file_);
  if (statm_ >= 0) close(statm_);
}

// The whole of what the file may become is mapped once: it grows below.
Status SpillSpace::open() {
  if (begin_.load() != nullptr) return Status::OK();
  const auto refuse = [this](const std::string& reason) {
    return Error(ErrorKind::kUser, "spilling state to " + options_.folder + ": " + reason);
  };
  struct statfs system {};
  if (statfs(options_.folder.c_str(), &system) != 0) return refuse(Reason() + "; set spill_folder=");
  if (system.f_type == TMPFS_MAGIC || system.f_type == RAMFS_MAGIC) {
    return refuse("this folder is in memory itself; set spill_folder= to one on a disk");
  }
  file_ = ::open(options_.folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (file_ < 0) {  // a file system without files that have no name
    std::string name = options_.folder + "/frazil-spill-XXXXXX";
    file_ = mkostemp(name.data(), O_CLOEXEC);
    if (file_ < 0) return refuse(Reason() + "; set spill_folder= to one that can be written to");
    unlink(name.c_str());
  }
  void* mapped = mmap(nullptr, static_cast<size_t>(options_.bytes_max), PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_NORESERVE, file_, 0);
  if (mapped == MAP_FAILED) {
    close(file_);
    file_ = -1;
    return refuse("mapping " + std::to_string(options_.bytes_max) + " bytes: " + Reason() +
                  "; lower spill_limit=");
  }
  // Children of fork have no business here, and dumps no room; a page is touched for a row of it.
  madvise(mapped, static_cast<size_t>(options_.bytes_max), MADV_DONTFORK);
  madvise(mapped, static_cast<size_t>(options_.bytes_max), MADV_DONTDUMP);
  madvise(mapped, static_cast<size_t>(options_.bytes_max), MADV_RANDOM);
  statm_ = ::open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  shared_ = resident();
  begin_.store(static_cast<uint8_t*>(mapped), std::memory_order_release);
  return Status::OK();
}

// Has the disk set room aside for pages.
Status SpillSpace::back(int64_t page, int64_t pages) {
  const auto refuse = [&](const std::string& reason) {
    return Error(ErrorKind::kUser, "spilling state to " + options_.folder + ", " + std::to_string(bytes()) +
                                       " bytes so far: " + reason +
                                       "; free room there, set spill_folder= to " +
                                       "another disk, or raise memory_limit=");
  };
  struct statvfs disk {};
  if (fstatvfs(file_, &disk) == 0 && static_cast<int64_t>(disk.f_bavail * disk.f_frsize) < kDiskBytesMin) {
    return refuse("the disk has less than " + std::to_string(kDiskBytesMin) + " bytes free");
  }
  const int failed = posix_fallocate(file_, page * kPage, pages * kPage);
  if (failed != 0) return refuse(std::strerror(failed));
  return Status::OK();
}

Status SpillSpace::extend(int64_t pages) {
  const int64_t all = options_.bytes_max / kPage;
  const int64_t more = std::min(std::max(pages, kStepBytes / kPage), all - end_);
  if (more < pages) {
    return Error(ErrorKind::kUser, "spilling state to " + options_.folder + ": spill_limit= of " +
                                       std::to_string(options_.bytes_max) +
                                       " bytes is reached; raise it, use fewer keys or shorter windows");
  }
  FZ_TRY(back(end_, more));
  free_.add({end_, more});
  end_ += more;
  return Status::OK();
}

Result<uint8_t*> SpillSpace::allocate(int64_t bytes) {
  const int64_t pages = Pages(bytes);
  std::lock_guard lock(mutex_);
  FZ_TRY(open());
  auto page = free_.take(pages);
  if (!page) {
    if (page = holes_.take(pages); page) {
      if (Status status = back(*page, pages); !status.ok()) {
        holes_.add({*page, pages});
        return status;
      }
    } else {
      FZ_TRY(extend(pages));
      page = free_.take(pages);
      FZ_CHECK(page.has_value());
    }
  }
  bytes_.fetch_add(pages * kPage, std::memory_order_relaxed);
  return begin_.load() + *page * kPage;
}

void SpillSpace::free(uint8_t* memory, int64_t bytes) {
  const int64_t pages = Pages(bytes);
  std::lock_guard lock(mutex_);
  free_.add({(memory - begin_.load()) / kPage, pages});
  bytes_.fetch_sub(pages * kPage, std::memory_order_relaxed);
  give_back_room();
}

// Room that is not used is kept for what comes next, up to a bound.
void SpillSpace::give_back_room() {
  while (free_.pages() * kPage > kFreeBytesMax) {
    const auto run = free_.take_largest();
    // A file system that cannot do it keeps the room, and the run is one like others.
    fallocate(file_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, run->page * kPage, run->pages * kPage);
    holes_.add(*run);
  }
}

// Pages of files in the memory of the process. The kernel's page is at least as large as ours.
int64_t SpillSpace::resident() const {
  char text[128];
  const ssize_t size = statm_ < 0 ? -1 : pread(statm_, text, sizeof text - 1, 0);
  if (size <= 0) return 0;
  text[size] = 0;
  long total = 0, all = 0, shared = 0;
  if (std::sscanf(text, "%ld %ld %ld", &total, &all, &shared) != 3) return 0;
  return int64_t{shared} * (sysconf(_SC_PAGESIZE) / kPage);
}

void SpillSpace::trim() {
  if (bytes() == 0) return;
  std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock.owns_lock()) return;  // another worker is at it
  const int64_t pages_max = shared_ + options_.resident_bytes / kPage;
  for (int64_t looked = 0; looked < end_ && resident() > pages_max; looked += kTrimBytes / kPage) {
    if (hand_ >= end_) hand_ = 0;
    const int64_t pages = std::min(kTrimBytes / kPage, end_ - hand_);
    madvise(begin_.load() + hand_ * kPage, static_cast<size_t>(pages * kPage), MADV_DONTNEED);
    hand_ += pages;
  }
}

}  // namespace frazil
