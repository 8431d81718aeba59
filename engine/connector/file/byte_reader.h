#pragma once

#include <arrow/filesystem/filesystem.h>
#include <arrow/memory_pool.h>
#include <arrow/util/future.h>

#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "base/status.h"
#include "connector/file/options.h"

namespace frazil::file {

// Calls the worker's waker, until the source goes. Thread-safe.
class Wakeup {
 public:
  explicit Wakeup(std::function<void()> waker) : waker_(std::move(waker)) {}
  void call() {
    std::lock_guard lock(mutex_);
    if (waker_) waker_();
  }
  void stop() {
    std::lock_guard lock(mutex_);
    waker_ = nullptr;
  }

 private:
  std::mutex mutex_;
  std::function<void()> waker_;
};

// Room kept free in front of a chunk's bytes: the begin of a line that ends in the chunk is copied there.
constexpr int64_t kChunkHeadroom = 64 << 10;  // bytes

// Bytes of a file. The buffer holds kChunkHeadroom free bytes, the data, and kRawPadding bytes more.
struct Chunk {
  std::shared_ptr<arrow::ResizableBuffer> buffer;
  int64_t offset = 0;  // in the uncompressed file, of the first byte
  int64_t size = 0;    // bytes of data
  bool last = false;   // the file ends behind it
};

struct ByteReaderOptions {
  std::shared_ptr<arrow::fs::FileSystem> fs;
  std::string path;
  Compression compression = Compression::kNone;  // not kAuto
  int64_t offset = 0;                            // uncompressed bytes to begin at
  int64_t size = 0;  // bytes of the file to read up to (compressed ones, if it is)
  int64_t chunk_bytes = 0;
  arrow::MemoryPool* pool = nullptr;
  std::shared_ptr<Wakeup> wakeup;
};

// Reads a file in chunks and one chunk ahead, on Arrow's I/O threads. Used by one thread. A compressed file
// has to be read from its begin to get to an offset; gzip members and zstd frames may follow one another.
class ByteReader {
 public:
  explicit ByteReader(ByteReaderOptions options);
  ~ByteReader();

  // True if take() would not wait; else the waker is called when it would not any more.
  bool ready() const { return ahead_.is_finished(); }
  // Gives the next chunk, waiting if it is not ready. Not after the last one. Errors name the file.
  Result<Chunk> take();

 private:
  struct Input;
  void ReadAhead();

  std::shared_ptr<Input> input_;  // shared with the read that is under way
  arrow::Future<Chunk> ahead_;
};

// What "auto" means for a path: .gz and .zst by their endings.
Compression CompressionOf(Compression option, const std::string& path);

}  // namespace frazil::file
