#pragma once

#include <memory>
#include <optional>

#include "connector/source.h"

namespace frazil::file {

// What one read of a file gave.
struct Read {
  enum class Kind {
    kRows,  // `raw` or `columns`, maybe without rows
    kWait,  // the bytes are under way; the waker is called when they are there
    kEnd,   // nothing is left
  };
  Kind kind = Kind::kWait;
  std::optional<RawBatch> raw;
  std::shared_ptr<arrow::RecordBatch> columns;
  Origin origin;  // of kRows, without the partition; filled in by the lane
};

// Reads one file from a position to its end. Used by one thread.
class FileReader {
 public:
  virtual ~FileReader() = default;
  // `wait`: wait for bytes that are under way instead of saying kWait.
  virtual Result<Read> read(const Budget& budget, bool wait) = 0;
  // Next to read: uncompressed byte, or row for Parquet.
  virtual int64_t next() const = 0;
  // True after rows behind which nothing is left, as far as that is known without reading: kEnd comes next.
  virtual bool ended() const = 0;
  // After kEnd or ended(): bytes of the file that have been read, in the file's own size.
  virtual int64_t read_bytes() const = 0;
};

}  // namespace frazil::file
