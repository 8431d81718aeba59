#pragma once

#include <string>
#include <string_view>

#include "connector/file/byte_reader.h"
#include "connector/file/file_reader.h"

namespace frazil::file {

struct LineReaderOptions {
  ByteReaderOptions bytes;
  bool with_path = false;
  bool with_offset = false;
  bool hold_last = false;  // a last line without a line end may still be written on
};

// Gives the lines of a text file as rows, positions = byte offsets of their begins. Lines end with LF or
// CRLF, the last one may end with the file. Blank lines (spaces and tabs count as blank) and a byte order
// mark at the file's begin are left out. A line over limits::kRowBytesMax becomes a rejected row; of it no
// more than that is ever held.
//
// If the file, when read to `bytes.size`, is found to have grown and no line end is there, the last line is
// left unread: its writer has not finished it. With `hold_last` so is a last line that is not a closed
// object. read_bytes() is then where it begins.
class LineReader : public FileReader {
 public:
  explicit LineReader(LineReaderOptions options);

  Result<Read> read(const Budget& budget, bool wait) override;
  int64_t next() const override { return next_; }
  int64_t read_bytes() const override;
  bool ended() const override { return !left_ && (ended_ || (chunk_.last && at_ == end_ && !gathering_)); }

 private:
  Status Take(Chunk chunk);
  void Split(const Budget& budget, RawBatch* raw);
  // Ends the line that has been gathered over chunks; `rest` is its last part.
  Status CloseLong(std::string_view rest, RawBatch* raw);
  void GatherLong(std::string_view part);
  Result<bool> LastLine(RawBatch* raw);
  void AddRow(int64_t begin, int64_t end, RawBatch* raw);
  Status Finish(RawBatch* raw) const;

  LineReaderOptions options_;
  ByteReader bytes_;
  Chunk chunk_;
  const char* data_ = nullptr;  // of chunk_.buffer
  int64_t base_ = 0;            // file offset of data_[0]
  int64_t at_ = 0;              // index in data_ of the next line's begin
  int64_t end_ = 0;             // index behind the chunk's bytes
  int64_t next_ = 0;            // file offset of the next row
  size_t rows_before_ = 0;      // of the last batch, and some more: room for the next one
  bool ended_ = false;
  bool left_ = false;       // the last line is left unread
  bool gathering_ = false;  // a line longer than the headroom is being gathered in long_
  std::string long_;
  int64_t long_begin_ = 0;  // file offset of the gathered line
  int64_t long_bytes_ = 0;  // of the gathered line, also what has not been kept
};

// True if the line is blank or a JSON object to its last bracket. No begin of an object is: such a line is
// whole, whether or not a line end follows.
bool IsClosed(std::string_view line);

}  // namespace frazil::file
