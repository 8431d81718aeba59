#include "connector/file/byte_reader.h"

#include <arrow/io/compressed.h>
#include <arrow/io/interfaces.h>
#include <arrow/util/compression.h>
#include <arrow/util/thread_pool.h>

#include <algorithm>
#include <cstring>

#include "connector/source.h"

namespace frazil::file {
namespace {

Status Reading(const std::string& path, const Status& status) {
  if (KindOf(status) != ErrorKind::kInternal) return Prefixed(status, path);
  return Error(ErrorKind::kConnect,
               path + ": " + status.message() + "\n  check that the file is there and can be read", true);
}

}  // namespace

// The open file. Touched by one read at a time.
struct ByteReader::Input {
  ByteReaderOptions options;
  std::shared_ptr<arrow::io::RandomAccessFile> plain;
  std::shared_ptr<arrow::io::InputStream> unpacked;
  int64_t next = 0;  // uncompressed offset

  Status Open() {
    const auto& path = options.path;
    if (options.compression == Compression::kNone) {
      FZ_ASSIGN(plain, options.fs->OpenInputFile(path));
      next = options.offset;
      return Status::OK();
    }
    FZ_ASSIGN(auto raw, options.fs->OpenInputStream(path));
    const auto kind =
        options.compression == Compression::kGzip ? arrow::Compression::GZIP : arrow::Compression::ZSTD;
    FZ_ASSIGN(auto codec, arrow::util::Codec::Create(kind));
    FZ_ASSIGN(unpacked, arrow::io::CompressedInputStream::Make(codec.get(), std::move(raw), options.pool));
    while (next < options.offset) {
      FZ_ASSIGN(auto skipped, unpacked->Read(std::min(options.chunk_bytes, options.offset - next)));
      if (skipped->size() == 0) {
        return Error(ErrorKind::kState,
                     "the position is at byte " + std::to_string(options.offset) +
                         ", but the file unpacks to " + std::to_string(next) +
                         " bytes\n  put the file back as it was, or start the pipeline anew");
      }
      next += skipped->size();
    }
    return Status::OK();
  }

  Result<Chunk> Read() {
    if (plain == nullptr && unpacked == nullptr) FZ_TRY(Open());
    Chunk chunk;
    chunk.offset = next;
    int64_t wanted = options.chunk_bytes;
    if (plain != nullptr) wanted = std::min(wanted, options.size - next);
    FZ_ASSIGN(auto buffer,
              arrow::AllocateResizableBuffer(kChunkHeadroom + wanted + kRawPadding, options.pool));
    uint8_t* data = buffer->mutable_data() + kChunkHeadroom;
    while (chunk.size < wanted) {
      int64_t got;
      if (plain != nullptr) {
        FZ_ASSIGN(got, plain->ReadAt(next, wanted - chunk.size, data + chunk.size));
      } else {
        FZ_ASSIGN(got, unpacked->Read(wanted - chunk.size, data + chunk.size));
      }
      if (got == 0) break;
      chunk.size += got;
      next += got;
    }
    chunk.last = plain != nullptr ? next >= options.size : chunk.size < wanted;
    if (plain != nullptr && chunk.size < wanted) {
      return Error(ErrorKind::kState,
                   "the file has shrunk from " + std::to_string(options.size) + " to " +
                       std::to_string(next) +
                       " bytes while it was read\n  files must not change before they are read");
    }
    std::memset(data + chunk.size, 0, static_cast<size_t>(kRawPadding));
    chunk.buffer = std::move(buffer);
    return chunk;
  }
};

ByteReader::ByteReader(ByteReaderOptions options) : input_(std::make_shared<Input>()) {
  input_->options = std::move(options);
  ReadAhead();
}

ByteReader::~ByteReader() {
  if (ahead_.is_valid()) ahead_.Wait();  // the read writes into memory of a pool that may end with us
}

void ByteReader::ReadAhead() {
  auto* executor = arrow::io::default_io_context().executor();
  auto submitted = executor->Submit([input = input_]() { return input->Read(); });
  ahead_ = submitted.ok() ? std::move(submitted).ValueUnsafe()
                          : arrow::Future<Chunk>::MakeFinished(submitted.status());
  ahead_.AddCallback([wakeup = input_->options.wakeup](const Result<Chunk>&) {
    if (wakeup != nullptr) wakeup->call();
  });
}

Result<Chunk> ByteReader::take() {
  auto result = ahead_.MoveResult();
  if (!result.ok()) return Reading(input_->options.path, result.status());
  if (!result->last) ReadAhead();
  return result;
}

Compression CompressionOf(Compression option, const std::string& path) {
  if (option != Compression::kAuto) return option;
  if (path.ends_with(".gz") || path.ends_with(".gzip")) return Compression::kGzip;
  if (path.ends_with(".zst") || path.ends_with(".zstd")) return Compression::kZstd;
  return Compression::kNone;
}

}  // namespace frazil::file
