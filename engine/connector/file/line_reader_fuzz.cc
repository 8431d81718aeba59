// Any bytes as a file of lines: the rows and their positions are those of the plain definition, whatever the
// size of the chunks and wherever reading begins anew; as gzip or zstd they are an error or rows. The input
// is a byte for the size of the chunks, a byte for the compression, then the file; a byte 1 stands for a long
// run of letters.
#include "connector/file/line_reader.h"

#include <arrow/filesystem/mockfs.h>

#include <cstdlib>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using frazil::file::Compression;
using Rows = std::vector<std::pair<int64_t, std::string>>;  // position, bytes

constexpr size_t kRun = (64 << 10) + 100;  // letters; more than the room in front of a chunk

void Require(bool condition) {
  if (!condition) std::abort();
}

Rows Expected(std::string_view file) {
  Rows rows;
  size_t begin = file.starts_with("\xef\xbb\xbf") ? 3 : 0;
  while (begin < file.size()) {
    const size_t found = file.find('\n', begin);
    const size_t end = found == std::string_view::npos ? file.size() : found;
    std::string_view line = file.substr(begin, end - begin);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.find_first_not_of(" \t\r") != std::string_view::npos) rows.emplace_back(begin, line);
    begin = end + 1;
  }
  return rows;
}

// The rows from `offset` on, at most `most` of them; `next` gets where to go on.
frazil::Result<Rows> Read(const std::shared_ptr<arrow::fs::FileSystem>& fs, Compression compression,
                          int64_t size, int64_t chunk_bytes, int64_t offset, size_t most, int64_t* next) {
  frazil::file::LineReader reader({{.fs = fs,
                                    .path = "file",
                                    .compression = compression,
                                    .offset = offset,
                                    .size = size,
                                    .chunk_bytes = chunk_bytes,
                                    .pool = arrow::default_memory_pool()}});
  Rows rows;
  while (rows.size() < most) {
    FZ_ASSIGN(auto read, reader.read({.rows = 3, .bytes = 100}, true));
    if (read.kind == frazil::file::Read::Kind::kEnd) break;
    Require(read.kind == frazil::file::Read::Kind::kRows && read.raw.has_value() &&
            read.raw->rejected.empty());
    for (int64_t i = 0; i < read.raw->rows(); ++i) {
      Require(read.raw->offset[static_cast<size_t>(i)] + read.raw->length[static_cast<size_t>(i)] +
                  frazil::kRawPadding <=
              read.raw->data->size());
      rows.emplace_back(read.raw->position[static_cast<size_t>(i)], read.raw->row(i));
    }
  }
  *next = reader.next();
  return rows;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  std::string file;
  for (size_t i = 2; i < size; ++i) {
    data[i] == 1 ? file.append(kRun, 'x') : file.append(1, static_cast<char>(data[i]));
  }
  auto fs = std::make_shared<arrow::fs::internal::MockFileSystem>(arrow::fs::TimePoint{});
  Require(fs->CreateFile("file", file).ok());
  const auto bytes = static_cast<int64_t>(file.size());
  // Real chunks are far larger than a byte order mark.
  const int64_t chunk_bytes = file.size() > kRun ? 4096 * (1 + data[0]) : 3 + data[0];
  int64_t next = 0;
  if (data[1] % 4 != 0) {
    const auto compression = data[1] % 4 == 1 ? Compression::kGzip : Compression::kZstd;
    (void)Read(fs, compression, bytes, chunk_bytes, 0, SIZE_MAX, &next);
    return 0;
  }
  const Rows expected = Expected(file);
  Require(Read(fs, Compression::kNone, bytes, chunk_bytes, 0, SIZE_MAX, &next).ValueOrDie() == expected);
  Require(next == bytes || file.empty());
  Rows parts = Read(fs, Compression::kNone, bytes, chunk_bytes, 0, 1 + data[1] / 4, &next).ValueOrDie();
  const Rows rest = Read(fs, Compression::kNone, bytes, chunk_bytes, next, SIZE_MAX, &next).ValueOrDie();
  parts.insert(parts.end(), rest.begin(), rest.end());
  Require(parts == expected);
  return 0;
}
