#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "connector/file/byte_reader.h"
#include "connector/file/file_reader.h"
#include "connector/file/listing.h"
#include "connector/file/position.h"

namespace frazil::file {

// What the readers of all lanes of a source share.
struct LaneContext {
  std::shared_ptr<arrow::fs::FileSystem> fs;
  Options options;
  std::shared_ptr<arrow::Schema> schema;  // of the source: with metadata columns
  arrow::MemoryPool* pool = nullptr;
  std::shared_ptr<Wakeup> wakeup;
  int64_t chunk_bytes = 0;
};

// Reads a lane's files one after the other. Which files are left follows from the position and the files
// there are: first the one being read, then those behind every file read before, by key, then those that came
// too late for their place, by key. A plain text file that has grown since it was read is read on from there,
// after a line end only; any other change of a file already read is an error. So is a file that comes or
// grows under the position's floor, where single files are not known any more.
//
// A last line without a line end is read as it stands, except of a local text file, not bounded, behind which
// no file stands in the order of keys: there it is held until it is a closed object, or ends, or a file comes
// behind. Used by one thread.
class LaneReader {
 public:
  LaneReader(std::string name, Position position, bool bounded, LaneContext context);

  const std::string& name() const { return name_; }
  // Tells which files there are now. Errors name a file that changed or went while it was needed.
  Status Update(const std::vector<Entry>& files);
  Result<Read> read(const Budget& budget, bool wait);
  // True if files are open; a lane that has nothing to read holds none.
  bool open() const { return reader_ != nullptr; }
  // Closes the file that is open; read() opens it again, and goes on where it was.
  void close() { reader_ = nullptr; }
  // True if the file that is open is read from its begin again when it is opened again.
  bool packed() const { return current_.has_value() && IsPacked(current_->path); }
  bool left() const { return (current_.has_value() && !held_) || !waiting_.empty(); }
  // Path of the file whose last line is not read because it has no end; empty if there is none.
  std::string held() const { return held_ ? current_->path : std::string(); }
  std::string position() const;
  // Bytes not yet read, as far as known (compressed files count as they lie there).
  int64_t lag() const;

 private:
  Status Open();
  Status CheckBegin() const;
  void Finish();
  bool IsText(const std::string& path) const;
  bool IsPacked(const std::string& path) const {
    return context_.options.format == Format::kJson && !IsText(path);
  }
  // True if a file that is left to read stands behind the one being read, by key.
  bool HasNewer() const;
  int64_t WaitingBytes() const;
  Status CheckRemoved(const std::string& what);
  Status CheckBelow(const Position::Below& now);
  Status CheckDone(const Entry& file, int64_t read, std::vector<Entry>* late) const;

  std::string name_;
  Position position_;
  const bool bounded_;
  LaneContext context_;
  std::vector<Entry> waiting_;  // in reading order, the first one next; the one being read is not in it
  std::optional<Entry> current_;
  std::unique_ptr<FileReader> reader_;
  bool holds_ = false;  // the file was opened to hold its last line
  bool held_ = false;   // ... and there is nothing else to read; reader_ is null
};

}  // namespace frazil::file
